"""Two machines with one id and one key: they push each other out, so both are kept out for a time.

The newer of two connections wins, with a higher epoch; that is right when a machine comes back
before its old connection was missed.  But a copied disk makes a second machine that does the same,
and each one's jobs die with each turn.  Three takeovers within a minute are no coincidence.
"""

from pointsman_sched.core.fleet.intervals import NANOSECONDS

WINDOW_NS = 60 * NANOSECONDS


class Quarantine:
    """Takeovers by node id, and until when an id is kept out; the oldest entries make room."""

    def __init__(self, *, takeovers_max: int, lasts_ns: int, known_max: int) -> None:
        self._takeovers_max = takeovers_max
        self._lasts_ns = lasts_ns
        self._known_max = known_max
        self._takeovers: dict[str, tuple[int, ...]] = {}
        self._until: dict[str, int] = {}

    def left_ns(self, node_id: str, clock_ns: int) -> int:
        """Return for how long an id is kept out still; 0: it is not."""
        until_ns = self._until.get(node_id, 0)
        if until_ns and until_ns <= clock_ns:
            del self._until[node_id]
        return max(0, until_ns - clock_ns)

    def note_takeover(self, node_id: str, clock_ns: int) -> bool:
        """A newer connection pushes a living one out; True when that is once too often."""
        before = self._takeovers.pop(node_id, ())
        recent = (*(at for at in before if clock_ns - at < WINDOW_NS), clock_ns)
        if len(recent) < self._takeovers_max:
            self._takeovers[node_id] = recent
            _bound(self._takeovers, self._known_max)
            return False
        self._until.pop(node_id, None)
        self._until[node_id] = clock_ns + self._lasts_ns
        _bound(self._until, self._known_max)
        return True


def _bound(table: dict[str, tuple[int, ...]] | dict[str, int], count_max: int) -> None:
    if len(table) > count_max:
        del table[next(iter(table))]
