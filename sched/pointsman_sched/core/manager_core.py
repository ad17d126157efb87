"""The manager's core: facts in, wishes out; the truth about the fleet changes nowhere else.

One step takes all events of one loop turn, then lets time pass (misses, deaths, ends of marks),
then publishes if it is due.  Deadlines are kept on a clock that stands still while this process
itself was late, so a stalled manager declares nobody dead.
"""

from collections.abc import Callable, Sequence
from functools import partial

from pointsman_sched.core.control import accepted, admit, closed, may_wait, received, waited
from pointsman_sched.core.events import (
    ConfigOffered,
    EnrolOrdered,
    LagMeasured,
    OrderGiven,
    PairOrdered,
    Recorded,
    RevokeOrdered,
    Stopped,
    StopWished,
    WorkerGone,
    WorkerSaid,
)
from pointsman_sched.core.federation.beginning import begin_federation
from pointsman_sched.core.federation.rounds import fleet_answered
from pointsman_sched.core.federation.shared_pairing import code_issued, code_redeemed
from pointsman_sched.core.joining.enrolment import enrol_ordered, revoke_ordered
from pointsman_sched.core.orders.answering import config_offered, pair_ordered
from pointsman_sched.core.orders.operating import order_given
from pointsman_sched.core.orders.rebuild import NOBODY, Rebuild
from pointsman_sched.core.publishing import Publisher
from pointsman_sched.core.queries import answer
from pointsman_sched.core.recovery import recover
from pointsman_sched.core.setup import ManagerSetup
from pointsman_sched.core.state import ManagementState
from pointsman_sched.core.sweep import sweep_marks, sweep_nodes
from pointsman_sched.core.uplinks import worker_gone, worker_said
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.fleet_requests import (
    FleetHeard,
    FleetLeft,
    FleetPaired,
    FleetRedeemed,
    FleetSettled,
    FleetTold,
)
from pointsman_wire.link import Accepted, Closed, LoopWasLate, Received, Waited
from pointsman_wire.messages import Message

# Of a planner that is no more: a fraction of a microsecond each.
MEMBERS_PER_TURN = 1_000


class ManagerCore:
    """`step`, `next_deadline_ns`, `may_wait`, `answer`: all there is to it."""

    def __init__(self, setup: ManagerSetup) -> None:
        self.state = ManagementState(setup)
        self._publisher = Publisher(self.state)
        # Says whether an event is well taken with the next turn, whenever that is; no change.
        # A turn comes for the sign of life at the latest, within a tenth of a second.
        self.may_wait: Callable[[object], bool] = partial(may_wait, self.state)
        recover(self.state, self._publisher)
        begin_federation(self.state)

    def step(self, now_ns: int, events: Sequence[object]) -> list[object]:
        """Take the events of one turn and return every command they lead to, in order."""
        state = self.state
        state.begin_turn(now_ns)
        admit(state)
        for event in events:
            HANDLERS[type(event)](state, event)
        if state.heartbeat_count:
            state.stats.add(Counter.HEARTBEATS, state.heartbeat_count)
            state.heartbeat_count = 0
        sweep_nodes(state)
        sweep_marks(state)
        if state.rebuild is not None:
            _advance_rebuild(state, state.rebuild)
        if state.retired is not None and not state.retired.dismantle(MEMBERS_PER_TURN):
            state.retired = None
        if state.federation is not None:
            state.federation.run(state)
        self._publisher.run()
        return state.outbox.take()

    def next_deadline_ns(self) -> int | None:
        """Return when to step even if nothing happens."""
        state = self.state
        deadlines = [self._publisher.next_deadline_ns()]
        due_ns = state.timers.next_due_ns()
        if due_ns is not None:
            deadlines.append(due_ns + state.late_ns)
        is_building = state.rebuild is not None and not state.rebuild.is_whole
        if is_building or state.lobby.is_due(state.outbox.held_count):
            deadlines.append(state.now_ns)
        mark_ends_ns = state.marks.next_end_ns()
        if mark_ends_ns is not None:
            deadlines.append(mark_ends_ns)
        if state.federation is not None:
            deadlines.append(state.federation.next_deadline_ns(state) + state.late_ns)
        return min(deadlines)

    def answer(self, query: object) -> Message:
        """Return the answer to an admin query; nothing is changed."""
        return answer(self.state, query)


def _advance_rebuild(state: ManagementState, rebuild: Rebuild) -> None:
    trouble = rebuild.advance(state)
    if trouble:
        state.rebuild = None
        state.outbox.wish(rebuild.refused(trouble))
        if state.federation is not None and rebuild.ticket == NOBODY:
            state.federation.settings.refuse(state, trouble)


def _loop_was_late(state: ManagementState, event: LoopWasLate) -> None:
    state.was_late(event.late_ns)
    state.stats.add(Counter.LOOP_LATE)


def _recorded(state: ManagementState, event: Recorded) -> None:
    state.outbox.recorded(event.number)


def _lag_measured(state: ManagementState, event: LagMeasured) -> None:
    state.relief.observe(state.clock_ns, event.lag_ns)


def _stop_wished(state: ManagementState, event: StopWished) -> None:
    if state.federation is None:
        state.outbox.wish(Stopped())
    else:
        state.federation.stop(state)


HANDLERS: dict[type, Callable[..., None]] = {
    Accepted: accepted,
    Received: received,
    Waited: waited,
    Closed: closed,
    LoopWasLate: _loop_was_late,
    LagMeasured: _lag_measured,
    Recorded: _recorded,
    WorkerSaid: worker_said,
    WorkerGone: worker_gone,
    PairOrdered: pair_ordered,
    EnrolOrdered: enrol_ordered,
    RevokeOrdered: revoke_ordered,
    ConfigOffered: config_offered,
    OrderGiven: order_given,
    FleetHeard: fleet_answered,
    FleetTold: fleet_answered,
    FleetSettled: fleet_answered,
    FleetLeft: fleet_answered,
    FleetPaired: code_issued,
    FleetRedeemed: code_redeemed,
    StopWished: _stop_wished,
}
