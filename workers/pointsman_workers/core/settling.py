"""Settling: when a worker that was born knows what its nodes still run from before.

All nodes have reported, or had time enough to.  Until then a repeated request waits, since a node
that was not heard of may be at work on it.
"""

from pointsman_shm.memory.rows import GENERATION_SHIFT, STATE_MASK, STATE_SHIFT, NodeState
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.desks.jobs import JobDesk
from pointsman_workers.desks.take_over import TakeOverDesk

GONE = (NodeState.FREE, NodeState.OFFLINE)


class SettlingDesk:
    """Ends the time after a birth."""

    def __init__(self, shard: Shard, take_over: TakeOverDesk, jobs: JobDesk) -> None:
        self.shard = shard
        self._take_over = take_over
        self._jobs = jobs
        self._grace_ns = int(shard.config.jobs.lane_grace_s * SECOND_NS)

    def settle_if_time(self, age_ns: int) -> None:
        """Settle a worker of this age, if nothing more is to be waited for."""
        shard = self.shard
        is_over = age_ns >= self._grace_ns
        if not (shard.setup.epoch == 1 or is_over or self._has_all_lanes()):
            return
        shard.is_settled = True
        if shard.setup.epoch > 1 and not self._has_all_lanes(GONE[:1]):
            self._take_over.serial.doubt_predecessor(shard.now_ns - age_ns)
        # What a predecessor held and nobody reported is held no more: one store a cell.
        held = {
            row: sum(hold.has_slot for hold in lane.holds.values())
            for row, lane in shard.lanes.items()
        }
        shard.fleet.own.settle(held)
        self._take_over.settle()
        self._jobs.reports.guests.settle()
        self._jobs.settle()

    def _has_all_lanes(self, but: tuple[NodeState, ...] = GONE) -> bool:
        """Has every node that may run something reported it?

        One that registers anew, because the manager died as well, may, and so may one that is
        Suspect or drains.  A young catalog does not know the fleet: our host has started anew, and
        nodes are on their way.
        """
        fleet = self.shard.fleet
        if not fleet.version or fleet.is_catalog_younger_than(self._grace_ns):
            return False
        return all(
            fleet.lane_generations[row] == word >> GENERATION_SHIFT
            for row, word in enumerate(fleet.standing)
            if word >> STATE_SHIFT & STATE_MASK not in but
        )
