"""The node's core: facts in, wishes out.

It is told of connections, frames, and what its handlers did; it answers with what to send, what
to start and what to stop.  It holds the node's promises: never more jobs than max_concurrency,
never a job whose fence is older than one seen, no result forgotten before a worker has it, and
no new job while the server must think this node dead.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from pointsman.node_core.control import ControlLink
from pointsman.node_core.departure import Departure
from pointsman.node_core.events import (
    AgentSetup,
    DrainWished,
    GiveUp,
    JobEnded,
    MeasureResources,
    Notice,
    PartialMade,
    PauseWished,
    ProgressMade,
    RenewWished,
    ResourcesMeasured,
    ServicesChanged,
    StateChanged,
    StopJob,
    Stopped,
    StoreCertificate,
    StoreIdentity,
)
from pointsman.node_core.fences import EpochTable
from pointsman.node_core.job_table import JobTable
from pointsman.node_core.lane import Lane
from pointsman.node_core.lane_work import LaneWork
from pointsman_wire.control_messages import (
    Drain,
    Enrolled,
    HeartbeatAck,
    LanesReady,
    Leave,
    NodeStateChanged,
    Registered,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.lane_messages import Assign
from pointsman_wire.link import (
    Close,
    Closed,
    Connection,
    DialFailed,
    Dialled,
    LoopWasLate,
    Received,
    Send,
)
from pointsman_wire.messages import Error, Message, error_info

Handler = Callable[[Any], None]


class AgentCore:
    """One node.  `step` absorbs events and returns every command they lead to, in order."""

    def __init__(self, setup: AgentSetup) -> None:
        self.jobs = JobTable(setup.register.max_concurrency, setup.limits)
        self._entropy = setup.entropy
        self._new_purpose = count(1).__next__  # of dials
        self._control = ControlLink(
            setup.register,
            setup.entropy,
            self._new_purpose,
            lambda: len(self.jobs.running),
            lambda: next((lane.going for lane in self._lanes if lane.going is not None), None),
        )
        self._work = LaneWork(self.jobs, EpochTable(setup.epochs), self._why_none)
        self._lanes: list[Lane] = []
        self._lane_of: dict[Connection, Lane] = {}
        # Have all lanes of this registration stood at once, and was that told?
        self._is_ready_told = False
        self._state = ""
        self._now_ns = 0
        self._departure = Departure()
        # Set when the node was refused for good or has left: nothing is done after that.
        self._is_over = False
        self._is_begun = False
        self._out: list[object] = []
        self._absorb: dict[type, Handler] = {
            Dialled: self._dialled,
            DialFailed: self._dial_failed,
            Received: self._received,
            Closed: self._closed,
            LoopWasLate: self._loop_was_late,
            JobEnded: self._job_ended,
            PartialMade: self._partial_made,
            ProgressMade: self._progress_made,
            ResourcesMeasured: self._resources_measured,
            ServicesChanged: lambda event: self._control.change_services(event.services),
            PauseWished: self._pause_wished,
            RenewWished: lambda wish: self._out.extend(self._control.renew(wish.request)),
            DrainWished: self._drain_wished,
        }
        self._said: dict[type, Handler] = {
            Registered: self._registered,
            HeartbeatAck: self._heartbeat_acked,
            NodeStateChanged: self._state_changed,
            Drain: self._told_to_drain,
            Enrolled: lambda m: self._out.append(StoreCertificate(m.certificate)),
            Error: self._control_error,
            Unreadable: lambda m: self._answer(f"{m.name or 'a frame'}: {m.reason}"),
        }

    @property
    def node_id(self) -> str:
        """The node's id; empty until the server made one."""
        return self._control.register.node_id

    @property
    def state(self) -> str:
        """What StateChanged last said."""
        return self._state

    def step(self, now_ns: int, events: Sequence[object]) -> list[object]:
        """Absorb what happened by now and return what shall be done, in order."""
        self._now_ns = now_ns
        self._out = out = list[object]()
        if not self._is_begun:
            self._is_begun = True
            out.append(MeasureResources())
        # First: what lies unread in the sockets since before may be somebody else's by now.
        self._judge_lease()
        for event in events:
            self._absorb[type(event)](event)
        if not self._is_over:
            self._tick()
            for lane in self._lanes:
                out += lane.acknowledge()
        self._out = []
        return self._only_news_of_state(out)

    def next_deadline_ns(self) -> int | None:
        """When to step even if nothing happens; None when only events count."""
        if self._is_over:
            return None
        times = [self._control.next_deadline_ns(), self._work.next_deadline_ns()]
        times += [self._leave_at_ns(), *(lane.next_deadline_ns() for lane in self._lanes)]
        return min((time for time in times if time is not None), default=None)

    def check_invariants(self) -> None:
        """Assert what must hold after every step."""
        jobs = self.jobs
        assert len(jobs.running) <= jobs.max_concurrency
        assert not jobs.running.keys() & jobs.held.keys()
        assert jobs.held_bytes == sum(held.size for held in jobs.held.values())
        assert all(lane.connection in self._lane_of for lane in self._lanes if lane.is_up)

    # ---- connections

    def _dialled(self, event: Dialled) -> None:
        control = self._control
        if event.purpose == control.purpose and not self._is_over:
            self._out += control.dialled(self._now_ns, event.connection)
            return
        for lane in self._lanes:
            if event.purpose == lane.purpose and not self._is_over:
                self._lane_of[event.connection] = lane
                self._out += lane.dialled(self._now_ns, event.connection)
                return
        self._out.append(Close(event.connection, "not wanted any more"))

    def _dial_failed(self, event: DialFailed) -> None:
        if event.purpose == self._control.purpose:
            self._out += self._control.dial_failed(self._now_ns, event.reason)
        for lane in self._lanes:
            if event.purpose == lane.purpose:
                lane.lost(self._now_ns)

    def _closed(self, event: Closed) -> None:
        if event.connection == self._control.connection:
            self._out += self._control.closed(self._now_ns, event.reason)
            return
        lane = self._lane_of.pop(event.connection, None)
        if lane is not None and lane.connection == event.connection:
            lane.lost(self._now_ns)

    def _received(self, event: Received) -> None:
        connection = event.connection
        for message, payload in event.frames:
            # Looked up for each frame: an earlier one may have ended the connection.
            if connection == self._control.connection:
                self._hear(message)
                continue
            lane = self._lane_of.get(connection)
            if lane is None or lane.connection != connection:
                return
            if type(message) is not Assign:  # that alone may be from before a long silence
                self._control.lease.host_answers(self._now_ns)
            self._out += self._work.absorb(self._now_ns, lane, message, payload)
            if lane.is_refused:
                lane.is_refused = False
                self._out += self._control.restart(self._now_ns, "a worker refused the lane")

    def _hear(self, message: Message | Unreadable) -> None:
        handler = self._said.get(type(message))
        if handler is None:
            name = str(message.__struct_config__.tag)
            self._answer(f"{name} is not for a node's control connection")
        else:
            handler(message)

    def _answer(self, words: str) -> None:
        connection = self._control.connection
        if connection is not None:
            self._out.append(Send(connection, Error(error_info(Code.INVALID_MESSAGE, words))))

    # ---- what the manager says

    def _registered(self, message: Registered) -> None:
        if self._control.registered is not None:
            self._answer("this connection is registered already")
            return
        self._out += self._control.stand(self._now_ns, message)
        if message.key:
            self._out.append(StoreIdentity(message.node_id, message.key))
        stays = {lane.shard: lane for lane in self._lanes if lane.may_stay(message)}
        for lane in self._lanes:
            self._out += lane.follow(self._now_ns, message)
        self._lane_of = {of: lane for of, lane in self._lane_of.items() if lane.shard in stays}
        self._is_ready_told = False
        self._out += self._work.join(message)
        self._lanes = [
            stays.get(shard)
            or Lane(shard, message, self._entropy, self._new_purpose, self._control.address)
            for shard in range(message.worker_count)
        ]

    def _heartbeat_acked(self, message: HeartbeatAck) -> None:
        if self._control.registered is None:
            self._answer("heartbeat_ack came before registered")
            return
        self._control.heard(self._now_ns, message)
        if message.state:
            self._out.append(StateChanged(message.state.lower()))

    def _state_changed(self, message: NodeStateChanged) -> None:
        self._out.append(StateChanged(message.state.lower(), message.reason))

    def _told_to_drain(self, message: Drain) -> None:
        self._out.append(StateChanged("draining", message.reason or "told to by the server"))

    def _control_error(self, message: Error) -> None:
        if not self._control.is_fatal(message.error):
            self._out += self._control.refused(self._now_ns, message.error)
            return
        for run in self.jobs.running.values():
            self._out.append(StopJob(run.number, "the server refused the node"))
        self._out += self._control.close("refused")
        self._leave_connections("refused")
        self._out.append(GiveUp(message.error))

    # ---- what the shell says

    def _loop_was_late(self, event: LoopWasLate) -> None:
        self._control.shift(event.late_ns)
        for lane in self._lanes:
            lane.shift(event.late_ns)
        self._departure.shift(event.late_ns)

    def _job_ended(self, event: JobEnded) -> None:
        self._out += self._work.job_ended(self._now_ns, event, self._lanes)

    def _partial_made(self, event: PartialMade) -> None:
        self._out += self._work.partial_made(event, self._lanes)

    def _progress_made(self, event: ProgressMade) -> None:
        self._out += self._work.progress_made(event, self._lanes)

    def _resources_measured(self, event: ResourcesMeasured) -> None:
        self._control.figures = event

    def _pause_wished(self, event: PauseWished) -> None:
        self._out += self._control.pause(self._now_ns, event)

    def _drain_wished(self, event: DrainWished) -> None:
        if self._departure.wish(self._now_ns, event):
            self._tell_drain()

    # ---- what is due

    def _tick(self) -> None:
        out, now_ns = self._out, self._now_ns
        commands, is_beat = self._control.tick(now_ns)
        out += commands
        if is_beat:
            out.append(MeasureResources())
            if gone := self.jobs.forget_old_results(now_ns):
                out.append(Notice(f"{gone} results were dropped: nobody took them for too long"))
        for lane in self._lanes:
            out += lane.tick(now_ns)
        out += self._work.tick_lone(now_ns, self._lanes)
        if not self._is_ready_told and all(lane.is_settled for lane in self._lanes):
            self._tell_ready()
        self._leave_when_drained()

    def _judge_lease(self) -> None:
        """Let go of lanes when the server must think that this node is dead (lease.py)."""
        control, now_ns = self._control, self._now_ns
        if self._is_over or not control.lease.is_over(now_ns):
            return
        self._out.append(Notice("the server was out of reach for too long: lanes are opened anew"))
        if control.registered is not None:
            self._out += control.restart(now_ns, "the server must think that this node is dead")
        control.lease.lapse()
        for lane in self._lanes:
            if lane.connection is not None:
                self._lane_of.pop(lane.connection, None)
                self._out += lane.drop(now_ns, "the lease is over")

    def _why_none(self, now_ns: int) -> str:
        return "the node is draining" if self._departure.refuses(now_ns) else ""

    def _tell_ready(self) -> None:
        connection = self._control.connection
        if connection is None or self._control.registered is None:
            return
        self._is_ready_told = True
        self._out.append(Send(connection, LanesReady()))
        self._out += self._control.beat(self._now_ns)
        self._tell_drain()

    def _tell_drain(self) -> None:
        connection, departure = self._control.connection, self._departure
        if not departure.is_wished or connection is None or self._control.registered is None:
            return
        left_s, reason = departure.left_s(self._now_ns), departure.reason
        self._out.append(Send(connection, Drain(deadline_s=left_s, reason=reason)))
        self._out.append(StateChanged("draining", reason))

    def _leave_at_ns(self) -> int | None:
        return self._departure.due_at_ns(is_busy=bool(self.jobs.running or self.jobs.held))

    def _leave_when_drained(self) -> None:
        self._departure.see(self._now_ns, is_registered=self._control.registered is not None)
        leave_at_ns = self._leave_at_ns()
        if leave_at_ns is None or self._now_ns < leave_at_ns:
            return
        for run in self.jobs.running.values():
            self._out.append(StopJob(run.number, "the node leaves"))
        connection = self._control.connection
        if connection is not None and self._control.registered is not None:
            self._out.append(Send(connection, Leave(reason=self._departure.reason)))
        self._out += self._control.close("the node leaves")
        self._leave_connections("the node leaves")
        self._out += [StateChanged("stopped"), Stopped()]

    def _leave_connections(self, reason: str) -> None:
        for lane in self._lanes:
            self._out += lane.end(reason)
        self._lanes = []
        self._lane_of.clear()
        self._is_over = True

    def _only_news_of_state(self, out: list[object]) -> list[object]:
        """Drop what says again that the state is what it was."""
        kept = []
        for command in out:
            if type(command) is StateChanged:
                if command.state == self._state:
                    continue
                self._state = command.state
            kept.append(command)
        return kept
