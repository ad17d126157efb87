"""Links: how this worker reaches the nodes of other instances, one link to each of them.

    opened     whenever either end has begun a new life, and when it has fallen silent
    report     what the home's nodes run and hold for us, brought together with what we hold, as on
               any lane: known and reported is kept, known and not reported goes elsewhere
    pings      each second while jobs are on it, else now and then
    silent     its lanes break: they have the grace period to come back, then their jobs fail over

A node of another instance is a lane like any other (remote_lanes.py); attempts, failover, cancel,
hedging and orders do not know the difference.
"""

from collections.abc import Callable

from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.snapshot.records import InstanceRecord
from pointsman_wire.coordination.instance_messages import (
    FromNode,
    GuestFence,
    LinkAccepted,
    LinkClosed,
    LinkMessage,
    LinkOpen,
    LinkPing,
    LinkPong,
    LinkReport,
    NodeGone,
    Offer,
    OfferDeclined,
)
from pointsman_wire.lane_messages import AssignAck
from pointsman_wire.messages import Message
from pointsman_workers.core.events import SendInstance
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Lane
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.sharing.nodes.nouns import Link
from pointsman_workers.sharing.nodes.remote_lanes import RemoteLanes

OPEN_AGAIN_NS = SECOND_NS
PING_NS = SECOND_NS
IDLE_PING_NS = 5 * SECOND_NS
SILENT_NS = 3 * SECOND_NS
OPENINGS_PER_LIFE = 1 << 32
OFFERED_TO_MAX = 32  # jobs that are asked for one slot
EXPECTED_MAX = 5_000  # nodes that a link_open may name

FrameHandlers = dict[type, Callable[..., None]]


class LinkDesk:
    """All links of this worker, by instance."""

    def __init__(self, shard: Shard, lanes: LaneDesk) -> None:
        self._shard = shard
        self._reports = lanes.reports
        self.remote = RemoteLanes(shard, lanes)
        self.links: dict[str, Link] = {}
        self._from_nodes = lanes.handlers()
        self._instances: tuple[InstanceRecord, ...] = ()
        self._openings = shard.setup.epoch * OPENINGS_PER_LIFE
        self._is_deaf = False
        self._placing = lanes.attempts.placing
        self.handlers: FrameHandlers = {
            LinkAccepted: self._accepted,
            LinkReport: self._reported,
            LinkClosed: self._closed,
            LinkPong: self._ponged,
            FromNode: self._from_node,
            NodeGone: self._node_gone,
            Offer: self._offered,
        }

    # -- who is there --------------------------------------------------------------------------

    def follow(self) -> None:
        """A new snapshot is pinned: other instances and their nodes may have come and gone."""
        instances = self._shard.fleet.snapshot.policy.instances
        if instances is not self._instances:
            self._instances = instances
            self._follow_instances()
        if self.links or self.remote.has_rows:
            self.remote.follow(self.links)
            for link in self.links.values():
                if link.is_open and link.strangers and self.remote.knows_any(link.strangers):
                    self._open(link)

    def _follow_instances(self) -> None:
        living = {record.name: record for record in self._instances if record.alive}
        for name in [name for name in self.links if name not in living]:
            self._cut(self.links.pop(name))
        for name, record in living.items():
            link = self.links.get(name)
            shard_index = self._shard.worker_index % record.worker_count
            if link is None or (link.uid, link.shard) != (record.uid, shard_index):
                if link is not None:
                    self._cut(link)
                link = self.links[name] = Link(instance=name, uid=record.uid, shard=shard_index)
                self._open(link)

    # -- opening -------------------------------------------------------------------------------

    def _open(self, link: Link) -> None:
        """Open it, for the first time or anew; until the home has reported, nothing is sent."""
        shard = self._shard
        self.remote.cut(link)
        self._openings += 1
        link.number = self._openings
        link.is_open = False
        link.tried_at_ns = shard.now_ns
        link.strangers.clear()
        link.pending.clear()
        link.assigned.clear()
        link.assigned_before = 0
        link.offered.clear()
        link.running, link.held = [], []
        link.ping_number = link.pong_number = 0
        link.asking.clear()
        expected = self.remote.expected(link, self._reports.take_over.expected_nodes())
        message = LinkOpen(
            link=link.number,
            uid=shard.setup.instance_uid,
            epoch=shard.setup.epoch,
            expected=expected[:EXPECTED_MAX],
        )
        self._send(link, message)

    def _cut(self, link: Link) -> None:
        """It does not carry anything any more; its lanes have their grace."""
        link.is_open = False
        link.number = 0
        self.remote.cut(link)

    def _send(self, link: Link, message: Message, payload: bytes = b"") -> None:
        command = SendInstance(link.instance, link.shard, message, payload)
        self._shard.outbox.commands.append(command)

    # -- what homes say ------------------------------------------------------------------------

    def said(self, instance: str, shard_index: int, message: LinkMessage, payload: bytes) -> None:
        """A home says something on a link; what is of an older opening is dropped."""
        link = self.links.get(instance)
        if link is None or link.number != message.link or link.shard != shard_index:
            return
        self.handlers[type(message)](link, message, payload)

    def _accepted(self, link: Link, message: LinkAccepted, _: bytes) -> None:
        if message.uid != link.uid:  # its name has another owner than we know of: wait to be told
            self._cut(link)

    def _reported(self, link: Link, message: LinkReport, _: bytes) -> None:
        link.running += message.running
        link.held += message.held
        if message.more:
            return
        running, link.running = link.running, []
        held, link.held = link.held, []
        if message.nodes is None:
            link.is_open = True
            link.pinged_at_ns = self._shard.now_ns
            link.pending = set(message.pending)
            nodes = self.remote.nodes_of(link.instance, but=message.pending)
        else:
            nodes = message.nodes
            link.pending.difference_update(nodes)
        told = by_node(running, held)
        for node_id in nodes:
            self.remote.reported(link, node_id, *told.pop(node_id, ([], [])))
        link.strangers.update(told)

    def _closed(self, link: Link, _message: LinkClosed, _: bytes) -> None:
        """The home does not know it, or not any more: its worker has begun a new life."""
        self._open(link)

    def _ponged(self, link: Link, message: LinkPong, _: bytes) -> None:
        link.pong_number = max(link.pong_number, min(message.number, link.ping_number))
        if link.pong_number == link.ping_number:
            asking, link.asking = link.asking, {}
            self.remote.heard(asking)

    def _from_node(self, link: Link, message: FromNode, payload: bytes) -> None:
        lane = link.lanes.get(message.node_id)
        if lane is None or lane.connection is None:
            link.strangers.add(message.node_id)
            return
        frame = message.frame
        if type(frame) is AssignAck and not lane.full_until_ns:
            lane.full_count = 0
        self._from_nodes[type(frame)](lane, frame, payload)

    def _node_gone(self, link: Link, message: NodeGone, _: bytes) -> None:
        link.pending.discard(message.node_id)
        self.remote.gone(link, message)

    def _offered(self, link: Link, message: Offer, _: bytes) -> None:
        """A slot there is ours for a moment: for whoever is next here."""
        node_id, tenant = message.node_id, message.tenant
        lane = link.lanes.get(node_id)
        last = max(link.offered.get(node_id, 0), message.read)
        if lane is not None and last + 1 < lane.next_assignment:
            link.offered[node_id] = last + 1  # one that is under way takes it
        elif lane is not None and lane.is_up and not link.is_congested and self._use(lane, tenant):
            link.offered[node_id] = lane.next_assignment - 1
        else:
            self._send(link, OfferDeclined(link=link.number, node_id=node_id, tenant=tenant))

    def _use(self, lane: Lane, tenant: str) -> bool:
        """Give the slot to the next of this tenant's jobs that may have it.

        For all others the node stays as full as it was, while some wait: they stand in their turn
        there.
        """
        shard = self._shard
        self.remote.show_once(lane)
        number = shard.fleet.class_number(lane.row)
        is_oldest = shard.waiting.next_turn_is_oldest()
        jobs = [
            job
            for job in shard.waiting.candidates(number, oldest_first=is_oldest)
            if job.key[0] == tenant
        ]
        is_used = any(self._placing.place_on(job, lane.row) for job in jobs[:OFFERED_TO_MAX])
        self.remote.show_again(lane, is_wanted=shard.waiting.count > 0)
        return is_used

    # -- time ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask links that are due for a sign of life, and open those anew that gave none."""
        now_ns = self._shard.now_ns
        for link in self.links.values():
            if not link.is_open:
                if now_ns - link.tried_at_ns >= OPEN_AGAIN_NS and not self._is_deaf:
                    self._open(link)
            elif link.pong_number < link.ping_number and self._is_silent(link):
                self._shard.count(Counter.LINKS_CUT)
                self._cut(link)
                self._open(link)
            elif self._is_deaf:
                continue
            elif now_ns - link.pinged_at_ns >= (PING_NS if link.asking else IDLE_PING_NS):
                self._ping(link)
        self.remote.look(self.links)

    def way_changed(self, instance: str, shard_index: int, state: str) -> None:
        """What we send over a link leaves again, or waits, or is lost."""
        link = self.links.get(instance)
        if link is None or link.shard != shard_index:
            return
        link.is_congested = state != "open"
        link.is_full = state == "full"
        if state == "lost":
            self._open(link)
        elif link.is_open:
            self.remote.congested(link, is_congested=link.is_congested or self._is_deaf)

    def missed(self, instance: str, shard_index: int) -> None:
        """Something that a home told us is lost: it reports anew, and tells results again."""
        link = self.links.get(instance)
        if link is not None and link.is_open and link.shard == shard_index:
            self._open(link)

    def hearing_changed(self, *, can_hear: bool) -> None:
        """While we hear nobody, silence says nothing of anybody, and nothing new is sent."""
        self._is_deaf = not can_hear
        for link in self.links.values():
            link.asked_at_ns = link.pinged_at_ns = self._shard.now_ns
            if link.is_open:
                self.remote.congested(link, is_congested=link.is_congested or self._is_deaf)

    def _is_silent(self, link: Link) -> bool:
        return not self._is_deaf and self._shard.now_ns - link.asked_at_ns >= SILENT_NS

    def _ping(self, link: Link) -> None:
        now_ns = self._shard.now_ns
        if link.pong_number == link.ping_number:
            link.asked_at_ns = now_ns
        link.ping_number += 1
        link.pinged_at_ns = now_ns
        self._send(link, LinkPing(link=link.number, number=link.ping_number))

    # -- what is sent on lanes -----------------------------------------------------------------

    def translate(self, commands: list[object]) -> list[object]:
        """Put what was sent on the lanes of other instances' nodes on their links."""
        return self.remote.translate(commands)


def by_node(
    running: list[GuestFence], held: list[GuestFence]
) -> dict[str, tuple[list[GuestFence], list[GuestFence]]]:
    """The fences of a report, sorted by node."""
    found: dict[str, tuple[list[GuestFence], list[GuestFence]]] = {}
    for place, fences in enumerate((running, held)):
        for fence in fences:
            found.setdefault(fence.node_id, ([], []))[place].append(fence)
    return found
