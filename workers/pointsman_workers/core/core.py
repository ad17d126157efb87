"""The worker core: absorbs what happened, answers with what should be done.

    a step   = pin the newest snapshot, take every event in order, fire timers, serve the queue,
               tell the other workers what waits, gather acknowledgements

It knows of no sockets, clocks or processes: connections are numbers, time is an argument, shared
memory is a set of buffers.  A week of a shard is a list of events.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.uplink import Alternatives, PairingAnswered, RateShares
from pointsman_wire import lane_messages as lane
from pointsman_wire import session_messages as client
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Accepted, Closed, Connection, LoopWasLate, Received
from pointsman_wire.messages import Error, Message, error_info
from pointsman_wire.preamble import Role
from pointsman_wire.queries.job_messages import PoisonQuery
from pointsman_workers.core.answers import answer_query
from pointsman_workers.core.events import (
    BellRang,
    JournalState,
    JournalSynced,
    ManagerSaid,
    OrderGiven,
    PressureMeasured,
    Stopped,
    StopWished,
    TokensChanged,
)
from pointsman_workers.core.settling import SettlingDesk
from pointsman_workers.core.setup import WorkerSetup
from pointsman_workers.core.shard import SECOND_NS, Shard, Timed
from pointsman_workers.core.state import (
    Job,
    Lane,
    Line,
    Orphan,
    Pairing,
    Peer,
    Postponed,
    Session,
    Utterances,
)
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.desks.jobs import JobDesk
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.desks.outcomes import OutcomeDesk
from pointsman_workers.desks.placing import PlacingDesk
from pointsman_workers.desks.refusing import not_open
from pointsman_workers.desks.reports import ReportDesk
from pointsman_workers.desks.sessions import SessionDesk
from pointsman_workers.desks.take_over import TakeOverDesk
from pointsman_workers.desks.waiting.admission import AdmissionDesk
from pointsman_workers.desks.waiting.overload import OverloadDesk
from pointsman_workers.desks.waiting.serving import ServingDesk
from pointsman_workers.explain.answering import Explainer
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.operating.orders import OperatorDesk
from pointsman_workers.operating.parting import PartingDesk
from pointsman_workers.ordering.serial import SerialDesk
from pointsman_workers.sharing.sharing import Sharing
from pointsman_workers.talk.desk import TalkDesk
from pointsman_workers.talk.nouns import Hearing, Room

CHORES_NS = 100_000_000
NO_LANE = "a lane begins with lane_open; nothing else is heard before, or after its end"
MEND_NS = SECOND_NS


class WorkerCore:
    """One shard of sessions and all their jobs."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._recovered: Recovered | None = setup.recovered  # until the first step, no longer
        shard = self.shard = Shard(replace(setup, recovered=Recovered()))
        self._sessions = SessionDesk(shard)
        self._delivery = self._sessions.delivery
        placing = PlacingDesk(shard)
        self._outcomes = OutcomeDesk(shard, self._sessions, placing)
        self._serial = SerialDesk(shard, placing)
        self._take_over = TakeOverDesk(shard, placing, self._serial)
        self._attempts = AttemptDesk(shard, self._outcomes, self._serial)
        self._reports = ReportDesk(shard, self._attempts, self._take_over)
        self._lanes = LaneDesk(shard, self._attempts, self._reports)
        self._serving = ServingDesk(shard, placing)
        self._overload = OverloadDesk(shard, self._outcomes)
        self._admission = AdmissionDesk(shard, self._overload)
        self._jobs = JobDesk(shard, self._sessions, self._reports, self._serving, self._admission)
        self._talk = TalkDesk(shard, self._jobs, self._sessions)
        self._settling = SettlingDesk(shard, self._take_over, self._jobs)
        self._sharing = self._shared()
        self._parting = PartingDesk(shard)
        self._explainer = Explainer(shard, placing.refusals)
        self._watch = self._lanes.watch
        self._late_ns = self._chores_at_ns = self._mend_at_ns = self._stop_at_ns = 0
        self._absorb: dict[type, Callable[..., None]] = {
            Received: self._received,
            Accepted: self._accepted,
            Closed: self._closed,
            BellRang: lambda event: self._serving.rung(event.class_number),
            ManagerSaid: self._told,
            LoopWasLate: self._was_late,
            StopWished: self._stop,
            PressureMeasured: self._overload.measured,
            TokensChanged: self._sessions.tokens.changed,
            JournalState: shard.journal.told,
            JournalSynced: lambda event: shard.journal.synced(event.number),
            OrderGiven: OperatorDesk(shard, self._attempts, self._parting).ordered,
            **self._delivery.handlers(),
            **(self._sharing.handlers() if self._sharing is not None else {}),
        }
        self._from_client: dict[type, Callable[..., None]] = {
            client.Submit: self._jobs.create_job,
            client.ResultAck: self._delivery.acknowledged,
            client.SessionInit: lambda peer, message, _: self._sessions.init(peer, message),
            client.Cancel: lambda peer, message, _: self._cancel(peer, message),
            client.ClientHeartbeat: lambda peer, message, _: self._heartbeat(peer, message),
            client.SessionClose: lambda peer, message, _: self._close(peer, message),
            **self._talk.handlers(),
        }
        self._from_node = self._lanes.handlers()
        self._from_node[lane.NodePartial] = self._talk.watching(self._lanes.partial)

    def _shared(self) -> Sharing | None:
        """What it takes not to be alone; None without Redis."""
        if self.shard.setup.sharing is None:
            return None
        sharing = Sharing(self.shard, self._jobs, self._attempts, self._outcomes)
        sharing.take_place(self._sessions, self._take_over, self._lanes)
        return sharing

    # -- the step ----------------------------------------------------------------------------

    def step(self, now_ns: int, events: Sequence[object]) -> list[object]:
        """Absorb what happened and return every command it leads to, in order."""
        shard, sharing = self.shard, self._sharing
        fleet = shard.fleet
        if shard.assigned_at_once:
            shard.assigned_count += shard.assigned_at_once
            shard.assigned_at_once = 0
        fleet.clock_ns, fleet.sample, fleet.sample_next = now_ns, None, fleet.sample_size
        shard.now_ns = fleet.now_ns = now_ns - self._late_ns
        if now_ns > self._watch.stale_at_ns:
            self._watch.look_at_age()  # no decision of this step goes by old loads unsaid
        if fleet.is_behind():
            self._follow_snapshot()
        if self._recovered is not None:
            self._take_over.begin(self._recovered)
            self._recovered = None
        if sharing is not None:
            sharing.follow()
        for event in events:
            self._absorb[type(event)](event)
        if shard.timers.next_ns <= shard.now_ns:
            for entry in shard.due():
                self._timed(entry)
        if shard.now_ns >= self._chores_at_ns:
            self._do_chores()
        if shard.ready_lines:
            self._serial.advance()
        waiting = shard.waiting
        if shard.freed_rows or waiting.count:
            self._serving.serve()
        if self._delivery.due:
            self._delivery.pull()
        if waiting.untold:
            waiting.publish()
        if shard.is_stopping:
            shard.outbox.acknowledge_all()
        commands = shard.outbox.flush(shard.now_ns) if sharing is None else sharing.flush()
        if (write := shard.journal.flush()) is not None:
            commands.insert(0, write)  # before any frame of this step
        return commands

    def next_deadline_ns(self) -> int:
        """When to step even if nothing else happens."""
        shard, deadline_ns = self.shard, self._chores_at_ns
        if (at_ns := shard.timers.next_ns) < deadline_ns:
            deadline_ns = at_ns
        if (at_ns := shard.outbox.acks_at_ns) < deadline_ns:
            deadline_ns = at_ns
        if shard.waiting.count:
            deadline_ns = min(deadline_ns, self._serving.next_look_ns)
        if self._delivery.due:
            deadline_ns = min(deadline_ns, shard.now_ns)
        return deadline_ns + self._late_ns

    def answer(self, query: Message) -> Message:
        """Answer an admin query; changes nothing."""
        if isinstance(query, PoisonQuery):
            return self._attempts.poison.list(query)
        return answer_query(self.shard, self._explainer, query)

    def _was_late(self, event: LoopWasLate) -> None:
        """This process did not run: the core's time lacks that, and all deadlines move by it."""
        shard = self.shard
        self._late_ns += event.late_ns
        shard.journal.late_ns = shard.waiting.late_ns = self._late_ns
        shard.now_ns = shard.fleet.now_ns = shard.now_ns - event.late_ns
        self._watch.was_late()
        self._lanes.guests.was_late(event.late_ns)
        shard.count(Counter.LOOP_LATE)
        self._watch.look()  # before the first decision after the pause

    def _follow_snapshot(self) -> None:
        """Pin the newest snapshot; timed, as nothing else is done meanwhile."""
        shard, fleet = self.shard, self.shard.fleet
        began_ns = shard.setup.stopwatch()
        if fleet.refresh():
            has_semantic = fleet.snapshot.pool_view.has_type_online("semantic")
            shard.follow(fleet.config.live)
            is_paused = fleet.snapshot.policy.orders.is_paused
            config = fleet.config
            shard.kinds.configure(config, is_semantic_present=has_semantic, is_paused=is_paused)
            for kind in shard.waiting.kinds:
                fleet.prepare(kind)
            shard.waiting.retell()
            shard.observe(Timing.REFRESH, shard.setup.stopwatch() - began_ns)

    def _do_chores(self) -> None:
        shard = self.shard
        # At round instants of the clock, at which the process wakes for other things as well.
        self._chores_at_ns = shard.now_ns + CHORES_NS - shard.fleet.clock_ns % CHORES_NS
        shard.window.expire(shard.now_ns)
        self._admission.note_pace()
        self._lanes.check_rows()
        shard.fleet.paces.tick(shard.now_ns)
        self._watch.look()
        if not shard.is_settled:
            self._settling.settle_if_time(shard.now_ns - shard.started_ns)
        may_end = shard.is_stopping and (self._is_drained() or shard.now_ns >= self._stop_at_ns)
        if self._sharing is not None:
            self._sharing.tick()
        if shard.now_ns >= self._mend_at_ns:
            self._mend_at_ns = shard.now_ns + MEND_NS
            self._sessions.tokens.tidy()
            shard.fleet.own.mend()
            lane_count = sum(map(attrgetter("is_up"), shard.lanes.values()))
            shard.setup.memory.stats.gauge(Gauge.LANES, lane_count)
        if may_end:
            shard.outbox.commands.append(Stopped())
        if (drop := shard.journal.tidy()) is not None:
            shard.outbox.commands.append(drop)
        shard.tell_tally()
        stats = shard.setup.memory.stats
        stats.gauge(Gauge.SESSIONS, len(shard.sessions))
        stats.gauge(Gauge.QUEUE_LENGTH, shard.waiting.count)
        stats.gauge(Gauge.JOBS_ACTIVE, shard.open_job_count)
        stats.gauge(Gauge.SNAPSHOT_VERSION, shard.fleet.version)

    def _is_drained(self) -> bool:
        """Does nothing run, and wait nothing that would be lost?  The journal keeps what waits."""
        if self._sharing is not None and (self._sharing.is_telling or self._lanes.guests.is_busy()):
            return False
        kept = sum(job.is_open and job.hold is None for job in self.shard.shelved)
        return self.shard.open_job_count == kept

    # -- events ------------------------------------------------------------------------------

    def _received(self, event: Received) -> None:
        connection = event.connection
        peer = self.shard.peers.get(connection)
        if peer is not None:
            tokens = self._sessions.tokens
            if peer.must_prove and not peer.has_asked and not tokens.begins_well(peer, event):
                return
            frames = event.frames if not tokens.has_limited else tokens.allowed(peer, event.frames)
            if len(event.frames) > 2:  # else a sample as usual is enough
                self.shard.fleet.expect(len(event.frames))
            for message, payload in frames:
                handle = self._from_client.get(type(message))
                if handle is not None:
                    handle(peer, message, payload)
                else:
                    self._not_understood(connection, message)
        elif connection in self.shard.lanes_by_connection:
            self._received_on_lane(event)

    def _received_on_lane(self, event: Received) -> None:
        lanes, connection = self.shard.lanes_by_connection, event.connection
        for message, payload in event.frames:
            node = lanes.get(connection)
            handle = self._from_node.get(type(message))
            if handle is not None and node is not None:  # nearly always
                if node.connection == connection:
                    handle(node, message, payload)
            elif isinstance(message, lane.LaneOpen) and node is None:
                self._lanes.open(event.connection, message)
            elif node is None and not isinstance(message, Unreadable):
                self._lanes.refuse(event.connection, Code.INVALID_MESSAGE, NO_LANE)
                return
            else:
                self._not_understood(event.connection, message)

    def _not_understood(self, connection: Connection, message: Message | Unreadable) -> None:
        """Answer what is no message of this connection; an error from the peer needs no answer."""
        self.shard.count(Counter.BAD_FRAMES)
        if isinstance(message, Error):
            return
        asked = (0, "", 0)
        text = f"message {type(message).__name__} does not belong on this connection"
        if isinstance(message, Unreadable):
            asked = (message.session_number, message.request_id, message.ref)
            text = message.words
        self.shard.outbox.error(connection, error_info(Code.INVALID_MESSAGE, text), *asked)

    def _accepted(self, event: Accepted) -> None:
        if event.preamble.role is Role.LANE:
            self._lanes.connected(event.connection, event.preamble.secured)
        else:
            self._sessions.connected(event)
            if self.shard.is_drained:
                self._parting.meet(self.shard.peers[event.connection])

    def _closed(self, event: Closed) -> None:
        if event.connection in self.shard.peers:
            self._sessions.disconnected(event.connection)
        elif event.connection in self.shard.lanes_by_connection:
            self._lanes.disconnected(event.connection)

    def _told(self, event: ManagerSaid) -> None:
        """Its hints need no act, as every step looks at the version word; its answers do."""
        if isinstance(event.message, PairingAnswered):
            self._sessions.pairing.answered(event.message)
        elif isinstance(event.message, RateShares):
            self.shard.tenants.share(event.message)
        elif isinstance(event.message, Alternatives):
            self._parting.alternatives = event.message

    def _stop(self, event: StopWished) -> None:
        shard = self.shard
        shard.is_stopping = True
        shard.kinds.read_anew()
        self._stop_at_ns = event.deadline_ns - self._late_ns
        shelved = self._parting.shelve()
        self._serial.shelve()
        if self._sharing is not None:
            self._sharing.leave(shelved)
        self._chores_at_ns = shard.now_ns
        self._parting.tell(self._lanes.secured)

    # -- small requests ----------------------------------------------------------------------

    def _session(self, peer: Peer, number: int, request_id: str = "") -> Session | None:
        session = peer.sessions.get(number)
        if session is None:
            self.shard.outbox.error(peer.connection, not_open(number), number, request_id)
        return session

    def _cancel(self, peer: Peer, message: client.Cancel) -> None:
        session = self._session(peer, message.session_number, message.request_id)
        if session is None:
            return
        job = self.shard.window.find((session.tenant, session.session_id, message.request_id))
        if job is None:
            if self._jobs.withdraw(peer, session, message.request_id):
                return
            error = error_info(Code.NOT_FOUND, f"no request {message.request_id!r} in this session")
            self.shard.outbox.error(peer.connection, error, session.number, message.request_id)
        elif job.is_open:
            self._attempts.cancel(job)

    def _heartbeat(self, peer: Peer, message: client.ClientHeartbeat) -> None:
        for session in peer.sessions.values():
            session.touched_at_ns = self.shard.now_ns
        self.shard.outbox.send(peer.connection, client.ClientHeartbeatAck(number=message.number))

    def _close(self, peer: Peer, message: client.SessionClose) -> None:
        session = self._session(peer, message.session_number)
        if session is not None:
            self._talk.closing(session, flush=message.flush)
            self._sessions.close(session, message)

    def _timed(self, entry: Timed) -> None:
        if isinstance(entry, Job):
            self._attempts.timed(entry)
        elif isinstance(entry, Session):
            self._sessions.timed(entry)
        elif isinstance(entry, Lane):
            self._lanes.timed(entry)
        elif isinstance(entry, Line):
            self._serial.timed(entry)
        elif isinstance(entry, Utterances):
            self._sessions.utterances.timed(entry)
        elif isinstance(entry, Pairing):
            self._sessions.pairing.timed(entry)
        elif isinstance(entry, (Hearing, Room)):
            self._talk.timed(entry)
        elif isinstance(entry, Postponed):
            self._sessions.tokens.timed(entry)
        else:
            assert isinstance(entry, Orphan), entry
            self._reports.orphan_timed(entry)
