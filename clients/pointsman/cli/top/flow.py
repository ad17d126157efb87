"""How much work flows: what workers have counted between two looks, a second.

Counters only grow; a worker with another pid began anew, and what it had counted before it was
first seen happened at no known time.  Pure.
"""

from collections.abc import Mapping

import msgspec

from pointsman_wire.admin_messages import Status

SECOND_NS = 1_000_000_000
ACCEPTED = ("jobs_accepted",)
DONE = ("jobs_completed",)
FAILED = ("jobs_failed", "jobs_expired", "jobs_poison")
REFUSED = ("no_available_node", "queue_refusals", "rate_refusals", "jobs_shed")


class Rates(msgspec.Struct, frozen=True):
    """Jobs a second."""

    accepted: float = 0.0
    done: float = 0.0
    failed: float = 0.0
    refused: float = 0.0


def rates_between(before: Status | None, after: Status, elapsed_ns: int) -> Rates:
    """Return the rates of one worker; zeros for one that was not there before."""
    if before is None or before.pid != after.pid or elapsed_ns <= 0:
        return Rates()
    seconds = elapsed_ns / SECOND_NS

    def rate(names: tuple[str, ...]) -> float:
        old, new = before.counters, after.counters
        grown = sum(max(0, new.get(name, 0) - old.get(name, 0)) for name in names)
        return round(grown / seconds, 1)

    return Rates(rate(ACCEPTED), rate(DONE), rate(FAILED), rate(REFUSED))


def sum_of(rates: Mapping[str, Rates]) -> Rates:
    """Return the rates of all workers together."""
    each = rates.values()
    return Rates(
        round(sum(one.accepted for one in each), 1),
        round(sum(one.done for one in each), 1),
        round(sum(one.failed for one in each), 1),
        round(sum(one.refused for one in each), 1),
    )
