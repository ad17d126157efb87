"""Which lanes may carry jobs now: whose node reads, and, without a manager, answers at all.

Three ways in which a lane that stands is no use, each told by what the node last did:

  it does not answer pings        half-open, or the node hangs
  assignments are not taken       a zombie: it answers, but reads or acknowledges none
  nobody knows if its node lives  the manager has been silent for snapshot_refuse_s; then every lane
                                  is pinged, so that the first of these tells

It takes ZOMBIE_NS; then the lane gets no more jobs and the manager is told, again and
again, as it may have been away.  A lane that moves again is taken at its word.

When most lanes break at once, the network is at fault rather than the nodes: none of them is given
up until fewer are gone or the hold is over (mass_loss.py).
"""

from pointsman_shm.mass_loss import MassLossGuard
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.uplink import NodeZombie
from pointsman_wire.lane_messages import LanePing, LanePong
from pointsman_workers.core.events import TellManager
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Lane
from pointsman_workers.placement.checks import NO_ROOM_FOR_US

ZOMBIE_NS = 3 * SECOND_NS
# While the manager is silent, idle lanes are asked this often: no answer is older than 5 s then.
ASK_NS = 2 * SECOND_NS
SPREAD = 20
# A node of another instance that had no room for us is asked again after this, then twice as long.
NO_ROOM_NS = 20_000_000
NO_ROOM_MAX_NS = SECOND_NS
NO_ROOM_DOUBLINGS = 6
OUT_OF_REACH_NS = 1 << 62  # until somebody says otherwise


class LaneWatch:
    """Told of what happens on lanes; decides which of them are shown to placing."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        nodes, limits = shard.config.nodes, shard.config.limits
        self._stale_ns = int(limits.snapshot_stale_s * SECOND_NS)
        self._blind_ns = int(limits.snapshot_refuse_s * SECOND_NS)
        self._guard = MassLossGuard(
            percent=nodes.mass_loss_percent,
            nodes_min=nodes.mass_loss_nodes_min,
            hold_ns=int(nodes.mass_loss_hold_s * SECOND_NS),
        )
        self._lost: set[int] = set()  # rows of lanes without a connection
        self._doubts_until_ns = 0
        # From this instant of the host's clock on the last known sign of life is too old.
        self.stale_at_ns = 0
        self._full: dict[Lane, None] = {}  # nodes of other instances that had no room

    # -- the manager's silence ---------------------------------------------------------------

    def was_late(self) -> None:
        """We did not run, and perhaps nobody on this host did: let the manager beat first."""
        self._doubts_until_ns = self._shard.now_ns + SECOND_NS

    def look_at_age(self) -> int:
        """Is the manager's last sign of life too old to go by its loads?  Return its age in ns."""
        fleet = self._shard.fleet
        age_ns = fleet.age_ns()
        fleet.is_stale = age_ns > self._stale_ns
        self.stale_at_ns = fleet.clock_ns - age_ns + self._stale_ns
        return age_ns

    def look(self) -> None:
        """How old is the manager's last sign of life, and what follows from that?"""
        shard = self._shard
        fleet = shard.fleet
        age_ns = self.look_at_age()
        is_blind = age_ns > self._blind_ns
        if is_blind is fleet.is_blind or (is_blind and shard.now_ns < self._doubts_until_ns):
            return
        fleet.is_blind = is_blind
        for lane in shard.lanes.values():
            if is_blind:
                self._ask_soon(lane)

    def _ask_soon(self, lane: Lane) -> None:
        shard = self._shard
        shard.file(lane, shard.now_ns + (lane.row % SPREAD + 1) * ASK_NS // SPREAD)

    # -- lanes come and go -------------------------------------------------------------------

    def came_up(self, lane: Lane) -> None:
        """The node has reported on this lane."""
        shard = self._shard
        self.show(lane)
        if lane.holds:
            shard.watch(lane)
        elif shard.fleet.is_blind:
            self._ask_soon(lane)

    def connected(self, lane: Lane) -> None:
        """It has a connection, again."""
        self._lost.discard(lane.row)
        self._count_lost()

    def lost(self, lane: Lane) -> None:
        """Its connection broke."""
        if lane.link is None:  # the nodes of one instance come and go together: that says nothing
            self._lost.add(lane.row)
            self._count_lost()

    def given_up(self, lane: Lane) -> None:
        """The lane is no more."""
        self._full.pop(lane, None)
        self._lost.discard(lane.row)
        self._count_lost()

    def may_give_up(self, lane: Lane) -> bool:
        """May a node whose lane did not come back be taken for dead?"""
        return lane.link is not None or self._guard.may_declare(self._shard.now_ns)

    def _count_lost(self) -> None:
        shard = self._shard
        own_count = len(shard.lanes) - shard.distant_count
        if self._guard.observe(shard.now_ns, len(self._lost), own_count):
            shard.count(Counter.MASS_LOSSES)

    # -- a lane that stands ------------------------------------------------------------------

    def timed(self, lane: Lane) -> None:
        """Judge a lane that has a connection, and ask it again while there is reason to."""
        shard = self._shard
        assert lane.connection is not None
        self._judge(lane)
        if not (lane.holds or lane.is_stuck or shard.fleet.is_blind):
            return
        if lane.pong_number == lane.ping_number:
            lane.asked_at_ns = shard.now_ns
        lane.ping_number += 1
        ping = LanePing(number=lane.ping_number, last_assigned=lane.next_assignment - 1)
        shard.outbox.send(lane.connection, ping)
        if lane.holds or lane.is_stuck or lane.pong_number < lane.ping_number - 1:
            shard.watch(lane)
        else:
            shard.file(lane, shard.now_ns + ASK_NS)

    def _judge(self, lane: Lane) -> None:
        shard = self._shard
        stuck_ns = self._stuck_ns(lane)
        if stuck_ns >= ZOMBIE_NS and lane.link is None:  # of others, their instance judges
            zombie = NodeZombie(
                row=lane.row,
                generation=lane.generation,
                epoch=lane.epoch,
                reason=f"its lane was not read for {stuck_ns / SECOND_NS:.1f} s",
            )
            shard.outbox.commands.append(TellManager(zombie))
        lane.is_stuck = stuck_ns >= ZOMBIE_NS
        self.show(lane)

    def _stuck_ns(self, lane: Lane) -> int:
        """For how long has something that the node owes us been due?"""
        now_ns = self._shard.now_ns
        stuck_ns = 0
        if lane.pong_number < lane.ping_number:
            stuck_ns = now_ns - lane.asked_at_ns
        while lane.unacknowledged and lane.unacknowledged[0].is_started:
            lane.unacknowledged.popleft()  # its result or progress said as much
        if lane.unacknowledged:
            # A busy lane is never without unread assignments; it must move.
            since_ns = max(lane.unacknowledged[0].sent_at_ns, lane.read_at_ns)
            stuck_ns = max(stuck_ns, now_ns - since_ns)
        return stuck_ns

    def ponged(self, lane: Lane, message: LanePong) -> None:
        """The node reads its lane."""
        now_ns = self._shard.now_ns
        if message.number > lane.pong_number:
            lane.pong_number = min(message.number, lane.ping_number)
            lane.asked_at_ns = now_ns
        if message.last_read > lane.last_read:
            lane.last_read = message.last_read
            lane.read_at_ns = now_ns
        if self._is_hidden(lane):
            lane.is_stuck = self._stuck_ns(lane) >= ZOMBIE_NS
            self.show(lane)

    def has_no_room(self, lane: Lane) -> None:
        """The home of the node had no slot for us: look elsewhere for a moment, the longer the
        oftener that was so."""
        pause_ns = min(NO_ROOM_NS << lane.full_count, NO_ROOM_MAX_NS)
        lane.full_count = min(lane.full_count + 1, NO_ROOM_DOUBLINGS)
        lane.full_until_ns = self._shard.now_ns + pause_ns
        self._full[lane] = None
        self.show(lane)

    def is_out_of_reach(self, lane: Lane) -> None:
        """Nothing that is sent to it arrives, until somebody says that it does."""
        self._full.pop(lane, None)
        lane.full_until_ns = OUT_OF_REACH_NS
        self.show(lane)

    def has_room(self, lane: Lane) -> None:
        """It may be asked again."""
        self._full.pop(lane, None)
        lane.full_until_ns = 0
        self.show(lane)

    def full_lanes(self) -> tuple[Lane, ...]:
        """Those of nodes of other instances that had no room for us lately."""
        return tuple(self._full)

    def ask_again(self) -> None:
        """Nodes of other instances that were full may not be any more."""
        now_ns = self._shard.now_ns
        for lane in [lane for lane in self._full if lane.full_until_ns <= now_ns]:
            self.has_room(lane)

    def _is_hidden(self, lane: Lane) -> bool:
        return self._shard.fleet.lane_generations[lane.row] != lane.generation

    def show(self, lane: Lane) -> None:
        """Let placing see the lane, or not."""
        shard = self._shard
        fleet = shard.fleet
        is_shown = lane.is_up and not lane.is_stuck
        if is_shown and lane.full_until_ns:
            fleet.set_lane(lane.row, NO_ROOM_FOR_US)
            return
        if is_shown and self._is_hidden(lane):
            for kind in shard.waiting.kinds:
                kind.look_anew()
        fleet.set_lane(lane.row, lane.generation if is_shown else 0)
