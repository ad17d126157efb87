"""Remote lanes: nodes of other instances as lanes of this worker.

A remote node stands in a row of our catalog like any other, with the instance that it is connected
to.  While the link to that instance is open, its row has a lane here, whose connection is a number
that no real one has: what is sent there leaves on the link, and what the link brings is handled as
if the node had said it.  Our ledger counts what we hold there, the home's ledger decides.  The
epoch of a node's registration is read from its row, as no page is published for it alone.
"""

from collections.abc import Iterable, Mapping

from pointsman_shm.memory.catalog_layout import ROWS_PER_NODE_PAGE
from pointsman_shm.memory.rows import STATE_MASK, STATE_SHIFT, NodeState
from pointsman_shm.snapshot.records import NodeRecord
from pointsman_wire.coordination.instance_messages import ForNode, GuestFence, NodeGone
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    LanePing,
    LanePong,
    LaneReport,
    NodeResultAck,
    TurnGranted,
)
from pointsman_wire.link import Close, Connection, Send
from pointsman_workers.core.events import SendInstance
from pointsman_workers.core.shard import MILLISECOND_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Lane
from pointsman_workers.desks.lane_watch import OUT_OF_REACH_NS
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.sharing.nodes.nouns import Link

MEND_NS = SECOND_NS
LEFT_MAX = 64  # nodes of a home that are no more, whose numbers are kept
GONE_NS = 3 * SECOND_NS  # so long our catalog may still show a node that its home gave up


class RemoteLanes:
    """The rows of other instances' nodes, and their lanes."""

    def __init__(self, shard: Shard, lanes: LaneDesk) -> None:
        self._shard = shard
        self._lanes = lanes
        self._pages: list[object] = []  # of the snapshot as it was followed last
        self._remote: dict[int, NodeRecord] = {}  # by row
        self._rows: dict[str, dict[str, int]] = {}  # instance -> node id -> row
        self._virtual: dict[Connection, Lane] = {}
        self._connections = 0
        self._gone_until_ns: dict[str, int] = {}
        self._mend_at_ns = 0

    @property
    def has_rows(self) -> bool:
        """Is any node of another instance known?"""
        return bool(self._remote)

    # -- rows ----------------------------------------------------------------------------------

    def follow(self, links: Mapping[str, Link]) -> None:
        """Look at the pages of the snapshot that have changed."""
        pages = self._shard.fleet.snapshot.node_pages
        if len(self._pages) != len(pages):
            self._pages = [()] * len(pages)
        for number, page in enumerate(pages):
            if page is not self._pages[number]:
                self._pages[number] = page
                self._follow_page(number * ROWS_PER_NODE_PAGE, page, links)

    def _follow_page(
        self, first_row: int, page: tuple[NodeRecord | None, ...], links: Mapping[str, Link]
    ) -> None:
        for row, record in enumerate(page, first_row):
            before = self._remote.get(row)
            if before is None and (record is None or not record.instance):
                continue
            if before is not None and before != record:
                self._leave(before)
            if record is not None and record.instance and before != record:
                self._enter(record, links.get(record.instance))

    def _leave(self, record: NodeRecord) -> None:
        del self._remote[record.row]
        rows = self._rows[record.instance]
        if rows.get(record.node_id) == record.row:
            del rows[record.node_id]

    def _enter(self, record: NodeRecord, link: Link | None) -> None:
        self._remote[record.row] = record
        self._rows.setdefault(record.instance, {})[record.node_id] = record.row
        lane = self._shard.lanes.get(record.row)
        if lane is not None and lane.link is not None and lane.generation == record.generation:
            return
        if link is not None and link.is_open and record.node_id not in link.strangers:
            self.reported(link, record.node_id, [], [])

    def knows_any(self, node_ids: Iterable[str]) -> bool:
        """Has one of these nodes a row by now?"""
        return any(node_id in rows for rows in self._rows.values() for node_id in node_ids)

    def nodes_of(self, instance: str, but: Iterable[str]) -> list[str]:
        """All nodes of an instance but these."""
        left_out = set(but)
        return [node_id for node_id in self._rows.get(instance, ()) if node_id not in left_out]

    def expected(self, link: Link, also: Iterable[str]) -> list[str]:
        """The nodes that may run or hold something of ours; of `also` those that are the home's."""
        rows = self._rows.get(link.instance, {})
        found = {lane.node_id: None for lane in link.lanes.values() if lane.holds}
        found.update((node_id, None) for node_id in also if node_id in rows)
        return [*found]

    # -- lanes ---------------------------------------------------------------------------------

    def reported(
        self, link: Link, node_id: str, running: list[GuestFence], held: list[GuestFence]
    ) -> None:
        """The home has told what a node runs and holds for us: its lane is up."""
        lane = self._lane(link, node_id)
        if lane is None:
            if running or held:
                link.strangers.add(node_id)
            return
        if lane.connection is None:
            self._connections += 1
            lane.connection = Connection(-self._connections)
            last = link.assigned.get(node_id, link.assigned_before)
            link.assigned[node_id] = link.offered[node_id] = last  # nothing is under way any more
            lane.next_assignment = last + 1
            self._virtual[lane.connection] = lane
            self._lanes.watch.connected(lane)
        take_over = self._lanes.reports.take_over
        if running or held or lane.holds or node_id in take_over.expected_nodes():
            report = LaneReport(running=_job_fences(running), held=_job_fences(held))
            self._lanes.reports.report(lane, report)
        else:
            lane.is_up = True
            self._lanes.watch.came_up(lane)
        if lane.full_until_ns == OUT_OF_REACH_NS and not link.is_congested:
            self.has_room(lane)  # the way was stopped when the lane was up last

    def _lane(self, link: Link, node_id: str) -> Lane | None:
        """The lane of a node, new if need be; None when we know no such node, or it is gone."""
        lane = link.lanes.get(node_id)
        if lane is not None:
            return lane
        row = self._rows.get(link.instance, {}).get(node_id)
        if row is None or self._is_down(row):
            return None
        record = self._remote[row]
        shard = self._shard
        former = shard.lanes.get(row)
        if former is not None:
            self._lanes.lose(former, "another node has its place")
        lane = Lane(
            node_id=node_id,
            row=row,
            generation=record.generation,
            epoch=record.epoch,
            connection=None,
            link=link,
        )
        link.lanes[node_id] = lane
        shard.distant_count += 1
        self._lanes.enter(lane)
        return lane

    def _is_down(self, row: int) -> bool:
        state = self._shard.fleet.standing[row] >> STATE_SHIFT & STATE_MASK
        return state in (NodeState.FREE, NodeState.OFFLINE)

    def cut(self, link: Link) -> None:
        """Nothing goes over the link any more: its lanes have the grace period."""
        for lane in link.lanes.values():
            if lane.connection is not None:
                del self._virtual[lane.connection]
                self._lanes.cut(lane)

    def congested(self, link: Link, *, is_congested: bool) -> None:
        """What is sent over the link waits, or leaves again: its nodes are full for us, or not."""
        for lane in link.lanes.values():
            if is_congested:
                self._lanes.watch.is_out_of_reach(lane)
            else:
                self._lanes.watch.has_room(lane)

    def has_room(self, lane: Lane) -> None:
        """Its home says that there is a slot for us."""
        self._lanes.watch.has_room(lane)

    def show_once(self, lane: Lane) -> None:
        """Its home has a slot for one of us, full as it is."""
        if not lane.is_stuck:
            lane.is_offered = True
            self._shard.fleet.set_lane(lane.row, lane.generation)

    def show_again(self, lane: Lane, *, is_wanted: bool) -> None:
        """That one has it: the others see the lane as before, and newcomers may try."""
        lane.is_offered = False
        if is_wanted:
            self._lanes.watch.show(lane)
        else:
            self._lanes.watch.has_room(lane)

    def gone(self, link: Link, message: NodeGone) -> None:
        """The home gave a node up, and what we have on it."""
        lane = link.lanes.get(message.node_id)
        if lane is None:
            return
        self._gone_until_ns[lane.node_id] = self._shard.now_ns + GONE_NS
        lane.is_leaving |= message.is_leaving
        self._lanes.lose(lane, message.reason or "its instance gave it up")

    def heard(self, lanes: Iterable[Lane]) -> None:
        """The home is there, and answers for its nodes."""
        for lane in lanes:
            pong = LanePong(number=lane.ping_number, last_read=lane.last_read)
            self._lanes.watch.ponged(lane, pong)

    def look(self, links: Mapping[str, Link]) -> None:
        """Make lanes that are missing: of nodes that their home had given up, and that are back."""
        now_ns = self._shard.now_ns
        self._lanes.watch.ask_again()
        if now_ns < self._mend_at_ns or not self._remote:
            return
        self._mend_at_ns = now_ns + MEND_NS
        gone = self._gone_until_ns
        self._gone_until_ns = {name: at for name, at in gone.items() if at > now_ns}
        self._virtual = {c: lane for c, lane in self._virtual.items() if lane.connection == c}
        for instance, rows in self._rows.items():
            link = links.get(instance)
            if link is None or not link.is_open:
                continue
            if len(link.assigned) > len(rows) + LEFT_MAX:
                _forget_left(link, rows)
            for node_id in rows:
                if node_id not in link.lanes and not self._is_awaited(link, node_id):
                    self.reported(link, node_id, [], [])

    def _is_awaited(self, link: Link, node_id: str) -> bool:
        return (
            node_id in self._gone_until_ns or node_id in link.strangers or node_id in link.pending
        )

    # -- frames --------------------------------------------------------------------------------

    def translate(self, commands: list[object]) -> list[object]:
        """Put what was sent on virtual connections on the links."""
        return [told for command in commands if (told := self._translated(command)) is not None]

    def _translated(self, command: object) -> object | None:
        if type(command) is Close and command.connection < 0:
            return None
        if type(command) is not Send or command.connection >= 0:
            return command
        lane = self._virtual.get(command.connection)
        if lane is None or lane.link is None or lane.connection != command.connection:
            return None  # it was cut in this very step
        link, frame = lane.link, command.message
        if isinstance(frame, LanePing):
            link.asking[lane] = None
            return None
        assert isinstance(frame, Assign | CancelJob | NodeResultAck | TurnGranted), frame
        if type(frame) is Assign:
            link.assigned[lane.node_id] = frame.number
        message = ForNode(
            link=link.number,
            node_id=lane.node_id,
            frame=frame,
            node_epoch=self._shard.setup.memory.rows.epoch[lane.row],
            waited_ms=self._waited_ms(lane, frame) if type(frame) is Assign else 0,
        )
        return SendInstance(link.instance, link.shard, message, command.payload)

    def _waited_ms(self, lane: Lane, assign: Assign) -> int:
        """How long ago the job was accepted: an age, as hosts have clocks of their own."""
        hold = lane.holds.get((self._shard.setup.epoch, assign.dispatch))
        if hold is None or hold.job is None:
            return 0  # it was given up in this very step
        return max(0, self._shard.now_ns - hold.job.accepted_at_ns) // MILLISECOND_NS


def _forget_left(link: Link, rows: Mapping[str, int]) -> None:
    """Forget the numbers of nodes that are no more, and let those that come count on from them."""
    for node_id in [n for n in link.assigned if n not in rows and n not in link.lanes]:
        link.assigned_before = max(link.assigned_before, link.assigned.pop(node_id))
        link.offered.pop(node_id, None)


def _job_fences(fences: list[GuestFence]) -> list[JobFence]:
    return [
        JobFence(f.job_id, f.epoch, f.dispatch, f.tenant, f.session_id, f.request_id)
        for f in fences
    ]
