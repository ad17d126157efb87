"""Lanes: nodes dial in, take jobs, give results, and are watched while jobs are on them.

A lane outlives its connection by the grace period: its jobs go on, and when the node is back it
reports what it runs and holds (reports.py).
"""

from collections.abc import Callable

from pointsman_shm.logs.events import Event
from pointsman_shm.memory.rows import GENERATION_SHIFT, STATE_MASK, STATE_SHIFT, NodeState
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.uplink import ModelUnavailable
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import (
    AssignAck,
    JobRefused,
    LaneAccepted,
    LaneOpen,
    LanePong,
    LaneReport,
    NodePartial,
    NodeProgress,
    NodeResult,
    TurnAsk,
)
from pointsman_wire.link import Connection
from pointsman_wire.messages import error_answer
from pointsman_wire.preamble import Secured
from pointsman_wire.session_messages import Partial, Progress
from pointsman_workers.core.events import Say, TellManager
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Cause, Failure, Job, Lane, listening
from pointsman_workers.desks.attempts import AttemptDesk, lost_with
from pointsman_workers.desks.entrance.lane_proofs import lane_fault
from pointsman_workers.desks.reports import ReportDesk
from pointsman_workers.sharing.nodes.guests import GuestDesk

GENERATIONS = 1 << 16
_CHUNK_BYTES = 8 * 256  # of standing words that are compared at a time


class LaneDesk:
    """Everything that happens on lanes."""

    def __init__(self, shard: Shard, attempts: AttemptDesk, reports: ReportDesk) -> None:
        self.shard = shard
        self.attempts = attempts
        self.reports = reports
        self.guests: GuestDesk = reports.guests
        self.watch = reports.watch
        self._grace_ns = int(shard.config.jobs.lane_grace_s * SECOND_NS)
        self._words = b""  # the standing words as they were at the last check of rows
        self._unchecked: set[int] = set()  # rows whose lane was opened since
        self.secured: dict[Connection, Secured] = {}  # of the connections that came over TLS

    def handlers(self) -> dict[type, Callable[..., None]]:
        """What a node says on its lane -> who handles (lane, message, payload)."""
        return {
            NodeResult: self.ended,
            LaneOpen: lambda of, message, _: self.renew(of, message),
            AssignAck: self.acknowledged,
            LaneReport: lambda of, message, _: self.reports.heard(of, message),
            JobRefused: lambda of, message, _: self.refused(of, message),
            TurnAsk: lambda of, message, _: self._turn_asked(of, message),
            NodePartial: self.partial,
            NodeProgress: lambda of, message, _: self.progress(of, message),
            LanePong: lambda of, message, _: self.watch.ponged(of, message),
        }

    def connected(self, connection: Connection, secured: Secured | None) -> None:
        """A node dialled in; its lane is open once it has said whose it is."""
        self.shard.lanes_by_connection[connection] = None
        if secured is not None:
            self.secured[connection] = secured

    def open(self, connection: Connection, message: LaneOpen) -> None:
        """A node presents its ticket; its lane stands once it has reported."""
        shard = self.shard
        refusal = self._refusal(connection, message)
        if refusal:
            self._not_let_in(connection, message.node_id, refusal)
            return
        lane = shard.lanes.get(message.row)
        if lane is not None and lane.generation != message.generation:
            self.lose(lane, "another node has its place by now: register again")
            lane = None
        if lane is None:
            lane = Lane(
                node_id=message.node_id,
                row=message.row,
                generation=message.generation,
                epoch=message.epoch,
                connection=connection,
            )
            self.enter(lane)
        else:
            self._replace_connection(lane, connection, message.epoch)
        shard.lanes_by_connection[connection] = lane
        self._accept(connection)

    def renew(self, lane: Lane, message: LaneOpen) -> None:
        """The node has registered anew and keeps its lane, with all that is on it.

        A lane that is not read is not kept: on a new one the node reports what it knows of.
        """
        shard, connection = self.shard, lane.connection
        assert connection is not None
        if lane.is_stuck:
            shard.outbox.close(connection, "this lane was not read: open another one")
            return
        place = (message.node_id, message.row, message.generation)
        is_same = place == (lane.node_id, lane.row, lane.generation)
        refusal = self._refusal(connection, message) if is_same else "this lane is of another place"
        if refusal:
            self._not_let_in(connection, message.node_id, refusal)
            return
        lane.epoch = message.epoch
        self._accept(connection)

    def _not_let_in(self, connection: Connection, node_id: str, refusal: str) -> None:
        self.refuse(connection, Code.UNAUTHORIZED, refusal)
        said = Say(f"a lane for node {node_id} was refused: {refusal}", Event.AUTH_FAILED)
        self.shard.outbox.commands.append(said)

    def _accept(self, connection: Connection) -> None:
        shard = self.shard
        accepted = LaneAccepted(
            instance_uid=shard.setup.instance_uid, shard=shard.worker_index, epoch=shard.setup.epoch
        )
        shard.outbox.send(connection, accepted)

    def enter(self, lane: Lane) -> None:
        """A lane is new in its row."""
        shard = self.shard
        shard.lanes[lane.row] = lane
        shard.rows_by_node[lane.node_id] = lane.row
        is_distant = lane.link is not None
        shard.fleet.paces.joined(lane.row, shard.now_ns, is_distant=is_distant)
        self._unchecked.add(lane.row)

    def refuse(self, connection: Connection, code: Code, words: str) -> None:
        """Say why this connection is no lane, or no more, and end it."""
        self.shard.outbox.send(connection, error_answer(code, words))
        self.shard.outbox.close(connection, words)

    def _refusal(self, connection: Connection, message: LaneOpen) -> str:
        shard = self.shard
        if fault := lane_fault(shard, self.secured.get(connection), message):
            return fault
        lane = shard.lanes.get(message.row)
        if lane is None:
            return ""
        ahead = (message.generation - lane.generation) % GENERATIONS
        if ahead > GENERATIONS // 2 or (ahead == 0 and message.epoch < lane.epoch):
            return "a newer registration of this node has its lane here"
        return ""

    def _replace_connection(self, lane: Lane, connection: Connection, epoch: int) -> None:
        old = lane.connection
        if old is not None:
            self.shard.lanes_by_connection[old] = None
            self.refuse(old, Code.CONFLICT, "the node has opened a newer lane to this worker")
        self._forget_connection(lane)
        lane.connection = connection
        lane.epoch = epoch
        self.watch.connected(lane)

    def _forget_connection(self, lane: Lane) -> None:
        lane.connection = None
        lane.is_up = False
        self.shard.fleet.set_lane(lane.row, 0)
        lane.lost_at_ns = self.shard.now_ns
        lane.next_assignment = 1
        lane.unacknowledged.clear()
        lane.last_result = 0
        self.shard.outbox.forget(lane)
        lane.withheld.clear()
        lane.ping_number = lane.pong_number = lane.last_read = 0
        lane.is_stuck = False

    def disconnected(self, connection: Connection) -> None:
        """A lane's connection is gone; the node has the grace period to come back."""
        lane = self.shard.lanes_by_connection.pop(connection)
        self.secured.pop(connection, None)
        if lane is not None and lane.connection == connection:
            self.cut(lane)

    def cut(self, lane: Lane) -> None:
        """Nothing reaches the node any more, for the grace period or for good."""
        self._forget_connection(lane)
        self.watch.lost(lane)
        self.shard.file(lane, self.shard.now_ns + self._grace_ns)

    def lose(self, lane: Lane, reason: str) -> None:
        """The node is gone for good: its jobs go elsewhere."""
        shard = self.shard
        if lane.connection is not None and lane.link is None:
            self.refuse(lane.connection, Code.NODE_UNAVAILABLE, reason)
            shard.lanes_by_connection[lane.connection] = None
        self._forget_connection(lane)
        del shard.lanes[lane.row]
        if lane.link is not None:
            shard.distant_count -= 1
            lane.link.lanes.pop(lane.node_id, None)
        self.watch.given_up(lane)
        if shard.rows_by_node.get(lane.node_id) == lane.row:
            del shard.rows_by_node[lane.node_id]
        self.guests.lost(lane, reason)
        for hold in tuple(lane.holds.values()):
            self.attempts.serial.lost(hold)
            shard.free(hold)
            if hold.job is not None:
                self.attempts.fail_over(hold, lost_with(hold, reason))
        shard.orphans.forget(lane)

    def check_rows(self) -> None:
        """Let go of lanes whose node the manager has declared gone.

        Looks at lanes that are new and at rows that have changed: a fleet of 100,000 in which
        nothing happens costs a copy of its words.
        """
        lanes = self.shard.lanes
        words, before = self.shard.fleet.standing.tobytes(), self._words
        if words != before:
            for start in range(0, len(words), _CHUNK_BYTES):
                end = start + _CHUNK_BYTES
                new, old = words[start:end], before[start:end]
                if new != old:
                    self._unchecked.update(_changed_rows(start // 8, new, old))
            self._words = words
        unchecked, self._unchecked = self._unchecked, set()
        for lane in [lanes[row] for row in unchecked if row in lanes]:
            self._check_row(lane)

    def _check_row(self, lane: Lane) -> None:
        word = self.shard.fleet.standing[lane.row]
        state = word >> STATE_SHIFT & STATE_MASK
        ahead = ((word >> GENERATION_SHIFT) - lane.generation) % GENERATIONS
        is_replaced = 0 < ahead < GENERATIONS // 2
        if ahead == 0 and state in (NodeState.DRAINING, NodeState.READY):
            lane.is_leaving = state == NodeState.DRAINING  # it may be undrained
        is_gone = ahead == 0 and state in (NodeState.OFFLINE, NodeState.FREE)
        if is_replaced or is_gone:
            self.lose(lane, "the manager has declared this node gone: register again")

    # -- jobs on the lane --------------------------------------------------------------------

    def acknowledged(self, lane: Lane, message: AssignAck, _: bytes) -> None:
        """Every assignment up to this number is read and has started."""
        if message.number > lane.last_read:
            lane.last_read = message.number
            lane.read_at_ns = self.shard.now_ns
        unacknowledged = lane.unacknowledged
        while unacknowledged and unacknowledged[0].number <= message.number:
            self.reports.start(unacknowledged.popleft())

    def refused(self, lane: Lane, message: JobRefused) -> None:
        """The node did not start the job."""
        hold = lane.hold_of(message)
        if hold is None:
            self.shard.count(Counter.STALE_RESULTS)
            return
        self.shard.free(hold)
        if hold.job is None:
            if hold.guest is not None:
                self.guests.refused(hold, message)
            else:
                self.reports.forget_orphan(hold)
            return
        if message.code == Code.NODE_OVERLOADED and lane.link is not None:
            self.watch.has_no_room(lane)
            self.attempts.has_no_room(hold)
        elif message.code == Code.NODE_OVERLOADED:
            self.attempts.capacity_refused(hold, message.message)
        elif lane.link is not None and hold.is_started:
            self.attempts.fail_over(hold, lost_with(hold, message.message))
        else:
            reason = message.message or message.code
            failure = Failure(Cause.NODE_REFUSAL, reason, Code.NODE_UNAVAILABLE)
            self.attempts.fail_over(hold, failure)

    def ended(self, lane: Lane, message: NodeResult, payload: bytes) -> None:
        """A result; only the current dispatch of a job counts, anything older is dropped.

        So is what names one job and the dispatch of another: whose it is, nobody could say.
        """
        shard = self.shard
        if message.number > lane.last_result:
            shard.outbox.acknowledge(lane, message.number, len(payload), shard.now_ns)
        place = (message.epoch, message.dispatch)
        hold = lane.holds.pop(place, None)
        if hold is None or hold.job_id != message.job_id:
            if hold is not None:
                lane.holds[place] = hold
                shard.count(Counter.STALE_RESULTS)
            elif not shard.withheld.came_again(lane, place, message.number):
                shard.count(Counter.STALE_RESULTS)
            return
        job = hold.job
        shard.give_back(hold)
        if job is None:
            if hold.guest is not None:
                self.guests.ended(hold, message, payload)
            else:
                self.reports.orphan_ended(hold, message, payload)
            return
        if message.code and message.code == Code.MODEL_NOT_AVAILABLE:
            self._mark_model(lane, job)
        self.attempts.complete(hold, message, payload)

    def _turn_asked(self, lane: Lane, message: TurnAsk) -> None:
        """A guest's turn is for its borrower to grant."""
        hold = lane.hold_of(message)
        if hold is not None and hold.guest is not None:
            self.guests.passed_on(lane, message)
        else:
            self.attempts.serial.asked(lane, message)

    def _mark_model(self, lane: Lane, job: Job) -> None:
        capability = self.shard.fleet.capability(lane.row)
        versions = dict(capability.versions) if capability is not None else {}
        types = job.kind.requirement.types
        self.shard.fleet.lacks.note(lane.row, lane.generation, types, self.shard.now_ns)
        for service in types:
            version = versions.get(service, "")
            mark = ModelUnavailable(lane.row, lane.generation, service, version)
            self.shard.outbox.commands.append(TellManager(mark))

    def _current_job(self, lane: Lane, message: NodePartial | NodeProgress) -> Job | None:
        hold = lane.hold_of(message)
        if hold is None or hold.job is None:
            if hold is None or hold.guest is None:
                self.shard.count(Counter.STALE_RESULTS)
            return None
        self.reports.start(hold)
        hold.alive_at_ns = self.shard.now_ns
        return hold.job

    def partial(self, lane: Lane, message: NodePartial, payload: bytes) -> None:
        """A piece of a streaming result passes through to a client that asked for it."""
        job = self._current_job(lane, message)
        if job is None:
            self.guests.passed_on(lane, message, payload)
        peer = None if job is None else listening(job.session)
        if job is None or peer is None or not job.submit.stream:
            return
        partial = Partial(
            session_number=job.session.number,
            request_id=job.key[2],
            job_id=job.job_id,
            attempt=job.attempt,
            seq=message.seq,
            content_type=message.content_type,
            meta=message.meta,
        )
        self.shard.outbox.send(peer.connection, partial, payload)

    def progress(self, lane: Lane, message: NodeProgress) -> None:
        """The job is alive: its time starts again."""
        job = self._current_job(lane, message)
        if job is None:
            self.guests.passed_on(lane, message)
        peer = None if job is None else listening(job.session)
        if job is None or peer is None or not job.submit.stream:
            return
        progress = Progress(
            session_number=job.session.number,
            request_id=job.key[2],
            job_id=job.job_id,
            percent=message.percent,
            note=message.note,
        )
        self.shard.outbox.send(peer.connection, progress)

    def timed(self, lane: Lane) -> None:
        """Look after a lane that stands; give up one whose node did not come back."""
        shard = self.shard
        if shard.lanes.get(lane.row) is not lane:
            return
        if lane.connection is None:
            if lane.lost_at_ns + self._grace_ns <= shard.now_ns and not self.watch.may_give_up(
                lane
            ):
                shard.file(lane, shard.now_ns + SECOND_NS)
            elif lane.lost_at_ns + self._grace_ns <= shard.now_ns:
                self.lose(lane, f"not back within {self._grace_ns / SECOND_NS:.0f} s")
            else:
                shard.file(lane, lane.lost_at_ns + self._grace_ns)
            return
        self.watch.timed(lane)


def _changed_rows(first: int, new: bytes, old: bytes) -> list[int]:
    """Return the rows, from the first on, whose standing word is not what it was."""
    words, before = memoryview(new).cast("Q"), memoryview(old).cast("Q")
    if len(before) < len(words):  # the first look of all
        return list(range(first, first + len(words)))
    return [first + at for at, word in enumerate(words) if word != before[at]]
