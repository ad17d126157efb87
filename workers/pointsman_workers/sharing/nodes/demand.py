"""Demand: who waits here for nodes of other instances that had no slot for us.

Only jobs that stand first here ask for such a node, and one tenant may have all of those for as
long as it likes.  Whose turn it is at the node is its home's to say, so the home is told of all
tenants and priorities that have something waiting which the node can do: while its lane is full for
us, once a second, and at the next look of those who come.
"""

from itertools import islice

from pointsman_wire.coordination.instance_messages import WAITERS_MAX, Waiter, Waits
from pointsman_workers.core.events import SendInstance
from pointsman_workers.core.shard import MILLISECOND_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Lane
from pointsman_workers.desks.lane_watch import LaneWatch

TELL_NS = SECOND_NS  # a home forgets after twice this
HEADS_MAX = 256  # waiting kinds that are looked at

Instants = dict[tuple[str, str], int]  # by tenant and priority


class Demand:
    """What homes were told, and when."""

    def __init__(self, shard: Shard, watch: LaneWatch) -> None:
        self._shard = shard
        self._watch = watch
        self._told: dict[Lane, Instants] = {}  # when, for lanes that are full

    def look(self) -> None:
        """Several times a second: tell homes what they were not told lately."""
        told, self._told = self._told, {}
        if not self._shard.waiting.count:
            return
        by_class: dict[int, Instants] = {}
        for lane in self._watch.full_lanes():
            number = self._shard.fleet.class_number(lane.row)
            heads = by_class.get(number)
            if heads is None:
                heads = by_class[number] = self._heads(number)
            if len(heads) > 1:  # one alone asks for itself
                self._told[lane] = self._tell(lane, heads, told.get(lane, {}))

    def _heads(self, class_number: int) -> Instants:
        """Who has what waiting for a class, with the instant at which the first of it came."""
        heads: Instants = {}
        for job in islice(self._shard.waiting.candidates(class_number), HEADS_MAX):
            heads.setdefault((job.key[0], job.submit.priority), job.accepted_at_ns)
            if len(heads) == WAITERS_MAX:
                break
        return heads

    def _tell(self, lane: Lane, heads: Instants, told: Instants) -> Instants:
        """Tell those of whom it is time to; return who was told of when."""
        link, now_ns = lane.link, self._shard.now_ns
        due = [key for key in heads if key not in told or now_ns - told[key] >= TELL_NS]
        if due and link is not None and link.is_open and not link.is_congested:
            waiters = [Waiter(*key, (now_ns - heads[key]) // MILLISECOND_NS) for key in due]
            message = Waits(link=link.number, node_id=lane.node_id, waiters=waiters)
            command = SendInstance(link.instance, link.shard, message)
            self._shard.outbox.commands.append(command)
        return {key: now_ns if key in due else told[key] for key in heads}
