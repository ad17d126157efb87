"""Reasons of several workers as one list: each answers for its own, whoever asks adds them up."""

from collections.abc import Sequence

from msgspec.structs import replace

from pointsman_wire.queries.work_messages import ReasonLine


def add_up(lines: Sequence[ReasonLine]) -> list[ReasonLine]:
    """Return one line for each reason, the most frequent first."""
    sums: dict[tuple[str, str, str, str], ReasonLine] = {}
    for line in lines:
        kind = (line.outcome, line.code, line.reason, line.fix)
        known = sums.get(kind)
        sums[kind] = line if known is None else replace(known, jobs=known.jobs + line.jobs)
    return sorted(sums.values(), key=lambda line: (-line.jobs, line.outcome, line.reason))


def best_change(lines: Sequence[ReasonLine]) -> tuple[str, int]:
    """Return the one thing to do that most refusals name, and how many did; ("", 0) for none."""
    jobs_by_fix: dict[str, int] = {}
    for line in lines:
        if line.fix:
            jobs_by_fix[line.fix] = jobs_by_fix.get(line.fix, 0) + line.jobs
    best = max(jobs_by_fix, key=lambda fix: jobs_by_fix[fix], default="")
    return best, jobs_by_fix.get(best, 0)
