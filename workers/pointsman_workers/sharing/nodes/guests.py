"""Guests: jobs of other instances on nodes that are connected here.

    assignment came   a slot of our own ledger, or a refusal: capacity has one judge, who is here
    node's words      passed on under the borrower's fence and numbers
    node's result     kept until the borrower has it for certain, and the node keeps it as well

A guest is a hold on a real lane like any other, without a job: it has no clock, no failover and no
place in the queue here, all of that is the borrower's.  What happens when one of the three dies:

    the node            it is given up here, and the borrower is told: its job fails over there
    this worker         the node reports the guest with its origin to the next life of this worker,
                        which tells the borrower when that opens its link again
    the borrower        it has LEASE_NS to come back and be told what runs and is held for it; then
                        what runs is cancelled, and its slot is free when the node has confirmed

A link that was not heard for a while is closed from this side: what still stands in the stream may
be old, and the borrower may have given its jobs to others.
"""

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.instance_messages import (
    ForNode,
    FromNode,
    GuestFence,
    LinkOpen,
    LinkPing,
    LinkPong,
    NodeGone,
    Waiter,
)
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    CancelJob,
    JobFence,
    JobRefused,
    NodePartial,
    NodeProgress,
    NodeResult,
    NodeResultAck,
    TurnAsk,
    TurnGranted,
)
from pointsman_wire.messages import Message
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Hold, Lane
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.sharing.nodes.borrowers import Borrowers
from pointsman_workers.sharing.nodes.nouns import Borrower, Guest, GuestLane
from pointsman_workers.sharing.nodes.origins import origin_of
from pointsman_workers.sharing.nodes.taking_in import dispatch, own_lane, reserve, takes_jobs
from pointsman_workers.sharing.nodes.wants import Wants

LEASE_NS = 15 * SECOND_NS  # R9: after that a borrower that is not heard holds no slot
RESULT_BYTES_MAX = 64 * 1024 * 1024  # kept for all borrowers together

FromLane = NodePartial | NodeProgress | TurnAsk
Dispatch = tuple[str, int, int]  # job id, epoch, dispatch: the borrower's


class GuestDesk:
    """Takes guests in, passes on what is said of them, and lets them go."""

    def __init__(self, shard: Shard, attempts: AttemptDesk) -> None:
        self.shard = shard
        self.attempts = attempts
        self.borrowers = Borrowers(shard)
        self.wants = Wants(shard, self.borrowers)
        self._can_hear = True
        self._read: dict[tuple[Borrower, str], None] = {}  # where assignments were read

    # -- what borrowers say --------------------------------------------------------------------

    def opened(self, instance: str, shard_index: int, message: LinkOpen) -> None:
        """A borrower's worker opens its link, for the first time or anew."""
        borrower = self.borrowers.of(instance, shard_index, message.uid)
        if borrower.uid != message.uid:  # it lost its state: nothing here is its own any more
            self._dismiss(borrower, "the state of its instance is another one")
            borrower.uid = message.uid
        self.wants.closed(borrower)
        self.borrowers.open(borrower, message)
        self._tell_results(borrower)

    def _tell_results(self, borrower: Borrower) -> None:
        """Tell those that have not been told on this link, of nodes that have reported."""
        for guest in borrower.guests.values():
            is_untold = guest.result is not None and not guest.result_number
            if is_untold and guest.node_id not in borrower.pending:
                self._tell_result(guest)

    def said(self, borrower: Borrower, message: ForNode, payload: bytes) -> None:
        """A frame for one of our nodes."""
        lane = borrower.lanes.get(message.node_id)
        if lane is None:
            lane = borrower.lanes[message.node_id] = GuestLane()
        frame = message.frame
        if isinstance(frame, Assign):
            self._assigned(borrower, message, frame, payload)
        elif isinstance(frame, CancelJob):
            self._cancelled(borrower, message.node_id, frame)
        elif isinstance(frame, TurnGranted):
            self._granted(borrower, frame)
        else:
            self._result_is_safe(lane, frame)

    def pinged(self, borrower: Borrower, message: LinkPing) -> None:
        """Say that we read what it sends."""
        self.borrowers.send(borrower, LinkPong(link=borrower.link, number=message.number))

    def _assigned(
        self, borrower: Borrower, message: ForNode, assign: Assign, payload: bytes
    ) -> None:
        node_id, place = message.node_id, (borrower.epoch, assign.dispatch)
        lane = borrower.lanes[node_id]
        if assign.number <= lane.read or place in borrower.guests:
            return  # delivered twice
        lane.read = assign.number
        self._read[borrower, node_id] = None
        real = self._slot_for(borrower, message, assign)
        if not isinstance(real, Lane):
            if real[0] is Code.NODE_OVERLOADED and (own := own_lane(self.shard, node_id)):
                waiter = Waiter(assign.tenant, assign.priority, message.waited_ms)
                self.wants.note(borrower, own, waiter)
            self.shard.count(Counter.GUESTS_REFUSED)
            self._refuse(borrower, node_id, (assign.job_id, *place), *real)
            return
        fence = GuestFence(
            node_id, assign.job_id, *place, assign.tenant, assign.session_id, assign.request_id
        )
        guest = Guest(borrower=borrower, node_id=node_id, fence=fence, number=assign.number)
        borrower.guests[place] = guest
        lane.unstarted[assign.number] = None
        self.shard.count(Counter.GUESTS_TAKEN)
        dispatch(self.shard, real, guest, assign, payload)

    def _slot_for(
        self, borrower: Borrower, message: ForNode, assign: Assign
    ) -> Lane | tuple[Code, str]:
        """The slot that was offered for it, or a free one."""
        lane = own_lane(self.shard, message.node_id)
        if lane is None or not lane.is_up or self.shard.is_stopping:
            return reserve(self.shard, message)
        # It may take no jobs any more since a slot of it was offered; that is taken back in time.
        may = takes_jobs(self.shard.fleet.standing[lane.row])
        is_offered = may and self.wants.use(borrower, message, assign)
        return lane if is_offered else reserve(self.shard, message)

    def _cancelled(self, borrower: Borrower, node_id: str, message: CancelJob) -> None:
        place = (message.epoch, message.dispatch)
        guest = borrower.guests.get(place)
        if guest is None:
            code, words = Code.NODE_UNAVAILABLE, "it does not run here"
            self._refuse(borrower, node_id, (message.job_id, *place), code, words)
        elif guest.hold is not None:
            self.attempts.cancel_hold(guest.hold, message.reason)

    def _granted(self, borrower: Borrower, message: TurnGranted) -> None:
        """The borrower still counts on a serial job: its node counts from when it asked."""
        guest = borrower.guests.get((message.epoch, message.dispatch))
        hold = guest.hold if guest is not None else None
        if hold is not None and hold.lane.connection is not None and not hold.is_cancelling:
            frame = replace(message, epoch=hold.epoch, dispatch=hold.dispatch)
            self.shard.outbox.send(hold.lane.connection, frame)

    def _result_is_safe(self, lane: GuestLane, message: NodeResultAck) -> None:
        """The borrower has results up to a number, but for some that it cannot keep itself yet."""
        kept = frozenset(message.withheld)
        for number in [n for n in lane.results if n <= message.number and n not in kept]:
            self._forget(lane.results.pop(number))

    # -- what nodes say ------------------------------------------------------------------------

    def started(self, guest: Guest) -> None:
        """The node has read it; told at the end of the step, once for each node."""
        lane = guest.borrower.lanes.get(guest.node_id)
        if lane is not None and guest.number:
            lane.unstarted.pop(guest.number, None)
            self._read[guest.borrower, guest.node_id] = None

    def flush(self) -> None:
        """Tell borrowers up to where nodes have read; the last of a step."""
        read, self._read = self._read, {}
        for borrower, node_id in read:
            lane = borrower.lanes.get(node_id)
            if lane is None:
                continue
            number = next(iter(lane.unstarted), lane.read + 1) - 1
            if number > lane.told:
                lane.told = number
                self._tell(borrower, node_id, AssignAck(number=number))

    def passed_on(self, lane: Lane, message: FromLane, payload: bytes = b"") -> None:
        """A piece of a stream, or a sign of life, if it is a guest's."""
        hold = lane.hold_of(message)
        if hold is None or hold.guest is None or hold.is_cancelling:
            return
        hold.is_started = True
        fence = hold.guest.fence
        frame = replace(message, epoch=fence.epoch, dispatch=fence.dispatch)
        self._tell(hold.guest.borrower, hold.guest.node_id, frame, payload)

    def refused(self, hold: Hold, message: JobRefused) -> None:
        """The node did not start it; its slot was freed by the caller."""
        is_full = message.code == Code.NODE_OVERLOADED
        code = Code.NODE_OVERLOADED if is_full else Code.NODE_UNAVAILABLE
        self._gone(hold, code, message.message or message.code)

    def _gone(self, hold: Hold, code: Code, words: str) -> None:
        """It does not run here after all."""
        guest = hold.guest
        assert guest is not None, hold.job_id
        self.started(guest)
        self._drop(guest)
        fence = guest.fence
        dispatched = (fence.job_id, fence.epoch, fence.dispatch)
        self._refuse(guest.borrower, guest.node_id, dispatched, code, words)

    def ended(self, hold: Hold, message: NodeResult, payload: bytes) -> None:
        """The node has ended it; its slot was freed by the caller."""
        guest = hold.guest
        assert guest is not None, hold.job_id
        self.started(guest)
        guest.hold = None
        borrower = guest.borrower
        place = (guest.fence.epoch, guest.fence.dispatch)
        if borrower.guests.get(place) is not guest:
            return  # nobody waits for it: the node may forget it
        guest.result, guest.payload = message, payload
        borrower.result_count += 1
        borrower.result_bytes += len(payload)
        self.shard.withheld.keep_for_guest(hold, message.number)
        if borrower.is_open and guest.node_id not in borrower.pending:
            self._tell_result(guest)
        if self.borrowers.result_bytes() > RESULT_BYTES_MAX:
            self._forget_results()

    def _tell_result(self, guest: Guest) -> None:
        borrower, node_id, result = guest.borrower, guest.node_id, guest.result
        assert result is not None, guest.fence
        lane = borrower.lanes.setdefault(node_id, GuestLane())
        number, lane.next_result = lane.next_result, lane.next_result + 1
        guest.result_number = number
        lane.results[number] = guest
        fence = guest.fence
        frame = replace(result, number=number, epoch=fence.epoch, dispatch=fence.dispatch)
        self._tell(borrower, node_id, frame, guest.payload)

    def _forget_results(self) -> None:
        """Too much is kept for those who do not fetch it: who has most here loses its oldest."""
        heaviest = self.borrowers.heaviest()
        kept = [guest for guest in heaviest.guests.values() if guest.result is not None]
        for guest in kept[: max(1, len(kept) // 2)]:
            self._forget(guest)

    # -- lanes come and go ---------------------------------------------------------------------

    def came_back(self, hold: Hold, fence: JobFence) -> bool:
        """A node reports a guest of our former life; False when its borrower is done with it."""
        origin = origin_of(fence.origin)
        if origin is None:
            return False
        borrower = self.borrowers.of(origin.instance, origin.shard, origin.uid)
        place = (origin.epoch, origin.dispatch)
        if borrower.uid != origin.uid or place in borrower.guests:
            return False
        guest = Guest(
            borrower=borrower,
            node_id=hold.lane.node_id,
            fence=GuestFence(
                hold.lane.node_id,
                fence.job_id,
                *place,
                fence.tenant,
                fence.session_id,
                fence.request_id,
            ),
            hold=hold,
            place=(hold.epoch, hold.dispatch),
        )
        hold.guest = borrower.guests[place] = guest
        return True

    def reported(self, lane: Lane) -> None:
        """A node's lane is up: tell those who have waited for its report."""
        self.wants.forget_row(lane.row, is_released=False)
        for borrower in self.borrowers.report_node(lane.node_id):
            self._tell_results(borrower)

    def missing(self, hold: Hold) -> None:
        """The node is back and does not have it any more."""
        self._gone(hold, Code.NODE_UNAVAILABLE, "the node does not have it any more")

    def lost(self, lane: Lane, reason: str) -> None:
        """A node of ours is given up, and its guests with it.

        All borrowers hear of it: who has nothing there now would try it until its catalog follows.
        """
        if lane.link is not None:
            return
        self.wants.forget_row(lane.row, is_released=True)
        for hold in lane.holds.values():
            if hold.guest is not None:
                self._drop(hold.guest)
        for borrower in self.borrowers.all():
            self._tell_gone(borrower, lane.node_id, reason, is_leaving=lane.is_leaving)

    def _tell_gone(
        self, borrower: Borrower, node_id: str, reason: str, *, is_leaving: bool = False
    ) -> None:
        borrower.pending.pop(node_id, None)
        gone = NodeGone(link=borrower.link, node_id=node_id, reason=reason, is_leaving=is_leaving)
        self.borrowers.send(borrower, gone)

    def is_busy(self) -> bool:
        """Does a guest run here, or wait to be fetched, whose borrower can be told of its end?"""
        return self._can_hear and self.borrowers.are_awaiting()

    # -- time ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Stop what runs for borrowers that have not been heard for too long."""
        now_ns = self.shard.now_ns
        for borrower in self.borrowers.all():
            since_ns = max(borrower.heard_at_ns, borrower.lease_from_ns)
            if self._can_hear and now_ns - since_ns >= LEASE_NS:
                self._dismiss(borrower, "its borrower did not come back")
        self.wants.tidy()
        self.borrowers.tidy()

    def hearing_changed(self, *, can_hear: bool) -> None:
        """While nobody can be heard, nobody's lease runs out; it starts anew after that."""
        self._can_hear = can_hear
        for borrower in self.borrowers.all():
            borrower.lease_from_ns = self.shard.now_ns

    def was_late(self, late_ns: int) -> None:
        """This process did not run, and its clock with it; that of its borrowers did."""
        for borrower in self.borrowers.all():
            borrower.heard_at_ns -= late_ns
            borrower.lease_from_ns = self.shard.now_ns

    def settle(self) -> None:
        """Nodes have had their time to come back: those who wait for their reports hear of it."""
        for borrower, node_id in self.borrowers.overdue():
            self._tell_gone(borrower, node_id, "it was not back in time after a restart")

    def _dismiss(self, borrower: Borrower, reason: str) -> None:
        """Nothing of it is wanted any more."""
        for guest in tuple(borrower.guests.values()):
            if guest.hold is not None:
                self._stop(guest.hold, reason)
            self._forget(guest)

    def _stop(self, hold: Hold, reason: str) -> None:
        if not hold.is_cancelling:
            self.attempts.cancel_hold(hold, reason)

    def _forget(self, guest: Guest) -> None:
        """The borrower is done with it: its node may forget the result."""
        self._drop(guest)
        self.shard.withheld.release_guest(guest.place, self.shard.now_ns)

    def _drop(self, guest: Guest) -> None:
        borrower = guest.borrower
        if (lane := borrower.lanes.get(guest.node_id)) is not None:
            lane.unstarted.pop(guest.number, None)  # its node may have gone before it read this
        if borrower.guests.get((guest.fence.epoch, guest.fence.dispatch)) is guest:
            del borrower.guests[guest.fence.epoch, guest.fence.dispatch]
            borrower.result_count -= guest.result is not None
            borrower.result_bytes -= len(guest.payload)

    # -- words ---------------------------------------------------------------------------------

    def _refuse(
        self,
        borrower: Borrower,
        node_id: str,
        dispatch: Dispatch,
        code: Code,
        words: str,
    ) -> None:
        job_id, epoch, number = dispatch
        frame = JobRefused(
            job_id=job_id, epoch=epoch, dispatch=number, code=code.value, message=words
        )
        self._tell(borrower, node_id, frame)

    def _tell(
        self,
        borrower: Borrower,
        node_id: str,
        frame: AssignAck | JobRefused | NodeResult | FromLane,
        payload: bytes = b"",
    ) -> None:
        message: Message = FromNode(link=borrower.link, node_id=node_id, frame=frame)
        self.borrowers.send(borrower, message, payload)
