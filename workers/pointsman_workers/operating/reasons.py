"""For what reasons jobs were refused, or made to wait, minute by minute.

Noting one costs a lookup and an addition, however many there are: what is kept is a count for each
(outcome, code, reason, fix) of a minute, for so many minutes, and of so many kinds.
"""

from collections import deque

from pointsman_wire.messages import ErrorInfo
from pointsman_wire.queries.work_messages import ReasonLine, Reasons

MINUTE_NS = 60_000_000_000
MINUTES_MAX = 60
KINDS_MAX = 256  # of one minute; what comes above them is counted together, as one of them
REFUSED = "refused"
WAITED = "waited"
ELSE = "other reasons"

Kind = tuple[str, str, str, str]  # outcome, code, reason, fix


class ReasonCounts:
    """What one worker counts; instants are those of its core."""

    def __init__(self) -> None:
        # (number of the minute, kind -> [jobs, the request id of one of them]), oldest first.
        self._minutes: deque[tuple[int, dict[Kind, tuple[int, str]]]] = deque(maxlen=MINUTES_MAX)

    def note_refused(self, now_ns: int, error: ErrorInfo, request_id: str) -> None:
        """A request came to nothing."""
        breakdown = error.breakdown
        if breakdown is None:
            kind = (REFUSED, error.code, error.code.lower(), error.hint)
        else:
            kind = (REFUSED, error.code, breakdown.best_reason, breakdown.fix)
        self._note(now_ns, kind, request_id)

    def note_waits(self, now_ns: int, request_id: str, *, is_busy: bool) -> None:
        """A job was queued: all that can do it are busy, or nobody can just now."""
        self._note(now_ns, (WAITED, "", "all_busy" if is_busy else "none_can", ""), request_id)

    def _note(self, now_ns: int, kind: Kind, request_id: str) -> None:
        minute = now_ns // MINUTE_NS
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append((minute, {}))
        kinds = self._minutes[-1][1]
        if kind not in kinds and len(kinds) >= KINDS_MAX - 1:
            kind = (kind[0], "", ELSE, "")
        jobs, _ = kinds.get(kind, (0, ""))
        kinds[kind] = (jobs + 1, request_id)

    def tell(self, now_ns: int, minutes: int) -> Reasons:
        """What was counted in the last minutes, this one included; the most frequent first."""
        first = now_ns // MINUTE_NS - minutes + 1
        sums: dict[Kind, tuple[int, str]] = {}
        for minute, kinds in self._minutes:
            for kind, (jobs, example) in kinds.items() if minute >= first else ():
                sums[kind] = (sums.get(kind, (0, ""))[0] + jobs, example)
        lines = [
            ReasonLine(
                outcome=outcome, code=code, reason=reason, fix=fix, jobs=jobs, example=example
            )
            for (outcome, code, reason, fix), (jobs, example) in sums.items()
        ]
        lines.sort(key=lambda line: (-line.jobs, line.outcome, line.code, line.reason))
        return Reasons(
            reasons=lines[:KINDS_MAX],
            minutes=minutes,
            refused=sum(line.jobs for line in lines if line.outcome == REFUSED),
            waited=sum(line.jobs for line in lines if line.outcome == WAITED),
        )
