"""Results that their node still keeps for us, because our journal does not have them.

A body over the journal's bound, or for which the disk has no room, stays at the node: its result
is read and delivered but not acknowledged.  Should this worker die, its successor gets it from the
node again.  It is let go once the client has it, or nobody can ask for it any more.
"""

import msgspec

from pointsman_workers.core.outbox import Outbox
from pointsman_workers.core.state import Hold, Job, Lane

Place = tuple[int, int]  # epoch, dispatch
Whose = int | Place  # a job, by its arrival; or a guest, by its dispatch


class Withheld(msgspec.Struct, eq=False):
    """One such result, and under which number its lane has read it."""

    whose: Whose
    place: Place
    lane: Lane
    number: int


class WithheldResults:
    """All of a shard, by job and by dispatch; as many as nodes hold."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._by_owner: dict[Whose, Withheld] = {}
        self._by_place: dict[Place, Withheld] = {}

    def __len__(self) -> int:
        return len(self._by_owner)

    def keep(self, job: Job, hold: Hold, number: int) -> None:
        """Do not acknowledge this result of a job that has just ended."""
        self._keep(job.arrival, hold, number)

    def keep_for_guest(self, hold: Hold, number: int) -> None:
        """The same for a result that its borrower has yet to acknowledge."""
        self._keep((hold.epoch, hold.dispatch), hold, number)

    def _keep(self, whose: Whose, hold: Hold, number: int) -> None:
        withheld = Withheld(whose, (hold.epoch, hold.dispatch), hold.lane, number)
        self._by_owner[whose] = self._by_place[withheld.place] = withheld
        hold.lane.withheld[number] = None

    def is_kept(self, place: Place) -> bool:
        """Does a node keep the result of this dispatch for us?"""
        return place in self._by_place

    def came_again(self, lane: Lane, place: Place, number: int) -> bool:
        """The node has a new lane and sends the result anew; False when we want it no more."""
        withheld = self._by_place.get(place)
        if withheld is None:
            return False
        withheld.lane, withheld.number = lane, number
        lane.withheld[number] = None
        return True

    def release(self, job: Job) -> bool:
        """The node may forget the result of this job; False when it was not withheld."""
        withheld = self._by_owner.pop(job.arrival, None)
        if withheld is None:
            return False
        if self._release(withheld):
            self._outbox.acknowledge_now(withheld.lane)
        return True

    def release_guest(self, place: Place, now_ns: int) -> None:
        """The borrower has the result of this dispatch: its node hears of it soon."""
        withheld = self._by_owner.pop(place, None)
        if withheld is not None and self._release(withheld):
            lane = withheld.lane
            self._outbox.acknowledge(lane, lane.last_result, 0, now_ns)

    def _release(self, withheld: Withheld) -> bool:
        """Forget it; True when its lane stands, and its node can be told."""
        del self._by_place[withheld.place]
        lane = withheld.lane
        if withheld.number not in lane.withheld:
            return False
        del lane.withheld[withheld.number]
        return True
