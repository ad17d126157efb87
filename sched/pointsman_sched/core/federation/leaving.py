"""The end of an instance among the others: a last word, where the whole service ends.

    StopWished ──► workers gone? ── yes ─► what is under way is answered ─► FleetLeave ─► Stopped
                        └─ no, for 0.2 s ─► Stopped: only the manager ends, another one follows

A service ends its workers before its manager, so a manager that has none left goes with all.
Whoever reads the last word takes the nodes for Offline at once, and the name is free.  If it cannot
be said within a second, the presence lapses by time.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

from pointsman_sched.core.events import TellWorkers
from pointsman_sched.core.federation.followed import Followed
from pointsman_sched.core.state import ManagementState
from pointsman_shm.uplink import Alternatives

# The end of the last worker, and the order to stop that follows it, come by different ways.
WORKERS_NS = 200_000_000
LEAVE_NS = 1_000_000_000
# Of other instances, named to those who are at a worker that stops.
ALTERNATIVES_MAX = 8


class Leaving:
    """What is left to do of a manager that was told to stop at `begun_at_ns` (core's clock)."""

    def __init__(self, begun_at_ns: int) -> None:
        self._begun_at_ns = begun_at_ns
        self.is_said = False  # the last word, with or without success

    def next_deadline_ns(self, state: ManagementState) -> int:
        """Return when to look again (core's clock)."""
        return self._begun_at_ns + (WORKERS_NS if _has_workers(state) else LEAVE_NS)

    def is_due(self, state: ManagementState) -> bool:
        """Is the last word to be said as soon as nothing else is under way?"""
        return not self.is_said and not _has_workers(state)

    def is_over(self, state: ManagementState) -> bool:
        """Is there nothing to be said, or no more time for it?"""
        return self.is_said or state.clock_ns >= self.next_deadline_ns(state)


def _has_workers(state: ManagementState) -> bool:
    return state.workers.connected_count > 0


class Elsewhere:
    """Where clients and nodes are let in while this service is away, as workers were told it.

    One address of each living instance before a second of any, and not the same one first from all.
    """

    def __init__(self) -> None:
        self.message = Alternatives()

    def heard(self, state: ManagementState, living: Sequence[Followed]) -> None:
        """The presences of the others were read: tell workers what is new in them."""
        setup = state.setup
        after = [other for other in living if other.name > setup.instance]
        before = [other for other in living if other.name < setup.instance]
        others = [other for other in (*after, *before) if not other.is_aged]
        own_tls = setup.authority.advertised if setup.authority else ""
        message = Alternatives(
            plain=_spread([other.addresses for other in others], setup.advertised),
            tls=_spread([other.tls_addresses for other in others], own_tls),
        )
        if message != self.message:
            self.message = message
            state.outbox.wish(TellWorkers(message))


def _spread(addresses: Sequence[Sequence[str]], own: str) -> tuple[str, ...]:
    """Return the first of each instance, then the second: each address once, and not our own."""
    found = dict.fromkeys(chain.from_iterable(zip_longest(*addresses, fillvalue=own)))
    found.pop(own, None)
    return tuple(found)[:ALTERNATIVES_MAX]
