"""Weather for the node's core: whatever the server, the network and the handlers do.

I4: never more runs than max_concurrency.  I3: no job starts under a fence that is not newer than
every fence of it that was seen.  Nothing that ended is lost before it was acknowledged.
"""

from typing import Any

from agent_harness import UID, AgentHarness, S, of, sent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pointsman.node_core.events import JobEnded, StartJob
from pointsman_wire.control_messages import Register, Registered
from pointsman_wire.lane_messages import CancelJob, JobRefused, LaneOpen, NodeResult, NodeResultAck
from pointsman_wire.link import Close, Closed, Connection, Dial, Dialled, LoopWasLate, Received

ROOM = 2
JOBS = st.sampled_from(["a", "b", "c"])
EPOCHS = st.integers(1, 4)
DISPATCHES = st.integers(1, 6)
STATUSES = st.sampled_from(["completed", "failed"])


class NodeWeather(RuleBasedStateMachine):
    """The reference model: fences seen for each job, runs alive, results not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.h = AgentHarness(max_concurrency=ROOM)
        self.running: dict[int, tuple[str, int, int]] = {}
        self.seen: dict[str, tuple[int, int]] = {}
        self.started: set[tuple[str, int, int]] = set()
        self.ended: set[tuple[str, int, int]] = set()
        self.epochs: list[int] = []
        self.dials: list[Dial] = []
        self.open: set[Connection] = set()
        self.lane_epoch: int | None = None
        self.sent_results: list[tuple[str, int, int]] = []
        self.take(self.h.feed())

    def take(self, commands: list[Any]) -> None:
        """Check and keep what the core wished."""
        for start in of(commands, StartJob):
            assert self.lane_epoch is not None
            fence = (start.assign.job_id, self.lane_epoch, start.assign.dispatch)
            assert fence not in self.started, "one fence starts once"
            self.started.add(fence)
            self.running[start.run] = fence
        for result in sent(commands, NodeResult):
            self.sent_results.append((result.job_id, result.epoch, result.dispatch))
        self.dials += of(commands, Dial)
        for close in of(commands, Close):
            self.gone(close.connection)
            self.take(self.h.feed(Closed(close.connection, "closed")))

    def gone(self, connection: Connection) -> None:
        self.open.discard(connection)
        if connection == self.h.lanes.get(0):
            self.lane_epoch = None
            self.sent_results = []

    @rule()
    def answer_a_dial(self) -> None:
        if self.dials:
            dial = self.dials.pop(0)
            connection = self.h.new_connection()
            commands = self.h.feed(Dialled(connection, dial.purpose))
            self.open.add(connection)
            if sent(commands, Register):
                self.h.control = connection
            if sent(commands, LaneOpen):
                self.h.lanes[0] = connection
                self.lane_epoch, self.sent_results = None, []
            self.take(commands)

    @rule()
    def refuse_a_dial(self) -> None:
        if self.dials:
            self.take(self.h.refuse_dials([self.dials.pop(0)]))

    @rule()
    def register(self) -> None:
        self.h.numbers.setdefault(self.h.control, 0)
        if self.h.control in self.open:
            commands = self.h.say(self.h.control, _registered(self.h))
            self.take(commands)

    @initialize()
    def begin_joined(self) -> None:
        self.join(1)

    @rule(epoch=EPOCHS)
    def bring_all_up(self, epoch: int) -> None:
        self.join(epoch)

    def join(self, epoch: int) -> None:
        for _ in range(4):
            if self.dials:
                self.answer_a_dial()
        self.register()
        if self.dials:
            self.answer_a_dial()
        self.accept_the_lane(epoch)
        self.answer_a_heartbeat()

    @rule(epoch=EPOCHS)
    def accept_the_lane(self, epoch: int) -> None:
        if self.h.lanes.get(0) in self.open and self.lane_epoch is None:
            if not self.epochs or epoch >= max(self.epochs):
                self.lane_epoch = epoch
                self.epochs.append(epoch)
            self.take(self.h.accept_lane(0, epoch=epoch))

    @rule(jobs=st.lists(st.tuples(JOBS, DISPATCHES), min_size=1, max_size=4))
    def assign(self, jobs: list[tuple[str, int]]) -> None:
        if self.lane_epoch is None or self.h.lanes[0] not in self.open:
            return
        events = [self.h.assignment(job, dispatch) for job, dispatch in jobs]
        may_start = [
            (job, self.lane_epoch, dispatch)
            for job, dispatch in jobs
            if self.see(job, (self.lane_epoch, dispatch))
        ]
        commands = self.h.feed(*events)
        starts = [
            (s.assign.job_id, self.lane_epoch, s.assign.dispatch) for s in of(commands, StartJob)
        ]
        assert set(starts) <= set(may_start), "I3"
        refused = [(r.job_id, r.epoch, r.dispatch) for r in sent(commands, JobRefused)]
        assert set(may_start) <= set(starts + refused), "what is new is started or refused"
        self.take(commands)

    def see(self, job: str, fence: tuple[int, int]) -> bool:
        """Is the fence newer than every one seen of this job?"""
        is_new = job not in self.seen or fence > self.seen[job]
        self.seen[job] = max(self.seen.get(job, fence), fence)
        return is_new

    @rule(job=JOBS, dispatch=DISPATCHES)
    def cancel(self, job: str, dispatch: int) -> None:
        if self.lane_epoch is None or self.h.lanes[0] not in self.open:
            return
        cancel = CancelJob(job_id=job, epoch=self.lane_epoch, dispatch=dispatch)
        commands = self.h.say(self.h.lanes[0], cancel)
        self.see(job, (self.lane_epoch, dispatch))
        self.take(commands)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), status=STATUSES)
    def end_a_run(self, data: st.DataObject, status: str) -> None:
        run = data.draw(st.sampled_from(sorted(self.running)))
        self.ended.add(self.running.pop(run))
        self.take(self.h.feed(JobEnded(run=run, status=status, payload=b"x")))

    @rule(data=st.data())
    def acknowledge_results(self, data: st.DataObject) -> None:
        if self.lane_epoch is None or not self.sent_results:
            return
        number = data.draw(st.integers(0, len(self.sent_results)))
        for fence in self.sent_results[:number]:
            self.ended.discard(fence)
        self.take(self.h.say(self.h.lanes[0], NodeResultAck(number=number)))

    @rule()
    def lose_the_lane(self) -> None:
        lane = self.h.lanes.get(0)
        if lane is not None and lane in self.open:
            self.gone(lane)
            self.take(self.h.lose(lane))

    @rule()
    def lose_the_control_connection(self) -> None:
        if self.h.control in self.open:
            self.gone(self.h.control)
            self.take(self.h.lose(self.h.control))

    @rule()
    def answer_a_heartbeat(self) -> None:
        if self.h.control in self.open:
            self.take(self.h.beat())

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 12.0]))
    def let_time_pass(self, seconds: float) -> None:
        until_ns = self.h.now_ns + int(seconds * S)
        for _ in range(200):
            due = self.h.core.next_deadline_ns()
            if due is None or due > until_ns:
                break
            self.h.now_ns = max(self.h.now_ns, due)
            self.take(self.h.feed())
        self.h.now_ns = until_ns

    @rule(late_s=st.integers(1, 30))
    def be_late(self, late_s: int) -> None:
        self.h.now_ns += late_s * S
        self.take(self.h.feed(LoopWasLate(late_s * S)))

    @rule()
    def hear_of_a_connection_nobody_knows(self) -> None:
        self.take(self.h.feed(Received(Connection(9_999), []), Closed(Connection(9_999))))

    @invariant()
    def capacity_is_kept(self) -> None:
        assert len(self.running) <= ROOM, "I4"
        assert set(self.h.core.jobs.running) == set(self.running)
        self.h.core.check_invariants()

    @invariant()
    def no_result_is_lost(self) -> None:
        held = {
            (h.run.fence.job_id, h.run.fence.epoch, h.run.fence.dispatch)
            for h in self.h.core.jobs.held.values()
        }
        assert self.ended <= held

    @invariant()
    def something_is_due_while_there_is_no_connection(self) -> None:
        if not self.open and not self.dials:
            assert self.h.core.next_deadline_ns() is not None


def _registered(h: AgentHarness) -> Any:
    return Registered(node_id="n1", row=1, generation=1, epoch=1, instance_uid=UID)


TestNodeWeather = NodeWeather.TestCase
TestNodeWeather.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
