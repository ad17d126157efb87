"""Placing: a job gets a node, or waits for one, or learns why there is none.

place       the one way onto a node: first time, from the queue, after a failure
place_on    the same for a slot that was just freed
wait        no slot now: queue, with one wait when nodes are busy and another when none exists
"""

from msgspec.structs import replace

from pointsman_shm.memory.rows import SLOTS_MASK
from pointsman_shm.memory.stats_names import Counter, Timing
from pointsman_shm.rules.reasons import Reason
from pointsman_wire.errors import Code
from pointsman_wire.link import Send
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import Placement, Submit
from pointsman_workers.core.lifecycle import AFTER
from pointsman_workers.core.shard import MILLISECOND_NS, PING_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Hold, Job, Lane
from pointsman_workers.core.timers import NEVER_NS
from pointsman_workers.desks.counting import count_decision, selector_of
from pointsman_workers.desks.hedging import HedgePlan
from pointsman_workers.desks.refusing import (
    ALL_BUSY,
    NONE_CAN,
    Preferred,
    answer_of,
    full_home_answer,
    full_homes,
    stale_answer,
)
from pointsman_workers.desks.waiting.assignments import assignment_of
from pointsman_workers.journal.book import MEMORY
from pointsman_workers.placement.checks import first_failed_check
from pointsman_workers.placement.deciding import (
    decide,
    decide_again,
    decide_on,
    decide_second,
    memory_of,
    named_rows,
    note_habits,
)
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.refusal import Refusals, judging
from pointsman_workers.placement.selection import read
from pointsman_workers.placement.trail import Choice, Decided, load_of_chosen


class PlacingDesk:
    """From a pending job to an assignment on a lane."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self._epoch, self._stopwatch = shard.setup.epoch, shard.setup.stopwatch
        self.refusals = Refusals(shard.fleet, self._free_in_ns)
        jobs = shard.config.jobs
        self.hedging = HedgePlan(jobs) if jobs.hedge_after_percentile else None
        self.silence_ms = int(shard.config.sessions.serial_silence_s * 1e3)
        limits = shard.config.limits
        # The slowest arrival that is borne anywhere: one of the largest frames in its time.
        self._byte_ns = limits.frame_arrival_s * SECOND_NS / limits.frame_bytes_max

    def place(self, job: Job) -> bool:
        """Choose a node, reserve its slot and send the job; False when nobody has room now."""
        shard = self.shard
        fleet, stopwatch = shard.fleet, self._stopwatch
        if job.kind.version != fleet.snapshot.version:
            fleet.prepare(job.kind)
        started_ns = stopwatch()
        fleet.trail = []
        decided = None if fleet.sample is None else decide_again(fleet, job)
        if decided is None:
            decided = decide(fleet, job)
            count_decision(shard.tally, decided)
        job.placement_ns = took_ns = stopwatch() - started_ns
        shard.decisions_ns.append(took_ns)
        return self._dispatch(job, decided)

    def place_on(self, job: Job, row: int) -> bool:
        """Give a waiting job the slot that was just freed on this row, if it may have it."""
        fleet = self.shard.fleet
        fleet.prepare(job.kind)
        return self._dispatch(job, decide_on(fleet, job, row))

    def _dispatch(self, job: Job, decided: Decided) -> bool:
        """Hand the job to the node of which a slot was reserved for it; False: there is none."""
        choice = decided.choice
        if choice is None:
            return False
        shard = self.shard
        fleet, lane, now_ns = shard.fleet, shard.lanes[choice.row], shard.now_ns
        if fleet.has_habits or fleet.has_weighted_pools or job.submit.explain:
            self._note_choice(job, decided, choice)
        shard.recorder.note_placed(job, decided, choice)
        is_our_turn = job.is_queued and not lane.is_offered
        if is_our_turn:
            shard.waiting.serve(job)
        elif job.is_queued:
            shard.waiting.remove(job)  # whose turn it was, the home of the node has counted
        job.attempt += 1
        job.session.last_node_id = lane.node_id
        job.hold = hold = self._send(job, lane)
        if is_our_turn and lane.link is not None:
            hold.is_our_turn = True
        job.state = AFTER["place"][job.state]
        if queued_ns := now_ns - job.accepted_at_ns:
            job.queued_ns = queued_ns
            shard.observe(Timing.SUBMIT_TO_ASSIGN, queued_ns)
        else:
            shard.assigned_at_once += 1
        if self.hedging is not None:
            self.hedging.plan(job, now_ns)
        if shard.talks and job.key in shard.talks:
            shard.talk.dispatched(job, choice.pool_id)
        if job.filed_ns or job.ends_at_ns or job.hedge_at_ns:
            self.rearm(job)
        else:  # nearly always: as there, for a node that has just got the job
            timeout_ns, ack_ns = job.timeout_ns, shard.ack_ns
            job.filed_ns = due_ns = now_ns + (timeout_ns if timeout_ns < ack_ns else ack_ns)
            shard.timers.file(due_ns, job)
        if shard.session_placed is not None:
            shard.session_placed(job.session)
        return True

    def _note_choice(self, job: Job, decided: Decided, choice: Choice) -> None:
        """Keep what later choices, or the client, shall know of this one."""
        fleet = self.shard.fleet
        if fleet.has_weighted_pools:
            fleet.change_room(choice.row, -1)
        if fleet.has_habits:
            note_habits(fleet, job, choice)
        if not job.submit.explain:
            return
        pools = fleet.snapshot.pool_view.pools
        pool = pools.get(choice.pool_id) if choice.pool_id is not None else None
        job.placement = Placement(
            selector=decided.selector,
            pool=pool.name if pool is not None else "",
            session_decision=decided.session.outcome.value if decided.session else "",
            candidates=choice.candidates,
            load=load_of_chosen(choice, fleet.trail[-1]),
            runner_up=fleet.node_id(choice.runner_up) if choice.runner_up >= 0 else "",
            snapshot_version=fleet.version,
            snapshot_age_ms=fleet.age_ns() / MILLISECOND_NS,
            stale=fleet.is_stale,
        )

    def _send(self, job: Job, lane: Lane) -> Hold:
        """Write the assignment to the lane, and to the journal before."""
        shard, line, connection = self.shard, job.line, lane.connection
        assert connection is not None, lane.node_id
        epoch, number, now_ns = self._epoch, lane.next_assignment, shard.now_ns
        shard.last_dispatch = dispatch = shard.last_dispatch + 1
        hold = Hold(
            lane=lane,
            job=job,
            job_id=job.job_id,
            epoch=epoch,
            dispatch=dispatch,
            number=number,
            sent_at_ns=now_ns,
        )
        lane.next_assignment = number + 1
        if line is not None:
            hold.line = line
            line.holds += 1
        lane.holds[epoch, dispatch] = hold
        lane.unacknowledged.append(hold)
        if job.durability != MEMORY:
            shard.journal.dispatched(job, hold)
        frame = Send(connection, assignment_of(job, hold, now_ns, self.silence_ms), job.payload)
        shard.outbox.commands.append(frame)
        if lane.untold_bytes:
            shard.outbox.acknowledge_now(lane)
        if not 0 < lane.filed_ns <= now_ns + PING_NS:
            shard.watch(lane)
        return hold

    def hedge(self, job: Job) -> bool:
        """Send the job to a second node as well, if one has room that nobody waits for."""
        shard, fleet, kind = self.shard, self.shard.fleet, job.kind
        plan = self.hedging
        fleet.prepare(kind)
        if plan is None or not plan.has_budget or kind.waiting_count or self.wait_elsewhere(kind):
            return False
        assert job.hold is not None, job.job_id
        decided = decide_second(fleet, job, job.hold.lane.row)
        if decided.choice is None:
            return False
        plan.spend()
        shard.count(Counter.HEDGES)
        if fleet.has_weighted_pools:
            fleet.change_room(decided.choice.row, -1)
        shard.recorder.note_placed(job, decided, decided.choice)
        job.hedge, job.is_hedged = self._send(job, shard.lanes[decided.choice.row]), True
        return True

    def wait_elsewhere(self, kind: Kind) -> bool:
        """Do jobs wait at other workers that the same nodes could do?"""
        shard, words = self.shard, self.shard.setup.memory.waiting
        return any(
            words.worker_mask(worker) & kind.class_mask
            for worker in range(shard.worker_count)
            if worker != shard.worker_index
        )

    def is_apart(self, job: Job) -> bool:
        """May this job be placed although another of its kind cannot be, or the other way round?"""
        submit = job.submit
        if job.failed_nodes or submit.exclude or submit.preferred_node:
            return True
        return not self.shard.fleet.config.pools.fallback_scan_all_pools

    def timeout_of(self, submit: Submit) -> int:
        """One attempt's nanoseconds: as asked, or from the expected duration, or the default."""
        if submit.timeout_s is not None:
            return int(submit.timeout_s * SECOND_NS)
        if submit.expected_duration_ms is None:
            return self.shard.timeout_ns
        jobs = self.shard.config.jobs
        wanted_s = jobs.duration_base_s + jobs.duration_factor * submit.expected_duration_ms / 1e3
        clamped_s = min(max(wanted_s, jobs.duration_timeout_min_s), jobs.duration_timeout_max_s)
        return int(clamped_s * SECOND_NS)

    # -- waiting -----------------------------------------------------------------------------

    def wait_s(self, job: Job) -> float:
        """How long this job may wait, from its acceptance or its last failure."""
        jobs, submit = self.shard.config.jobs, job.submit
        if self._are_some_busy(job):
            return jobs.wait_busy_s if submit.wait_busy_s is None else submit.wait_busy_s
        if not job.attempt and job.decision is not None and job.decision.strict_left_none:
            return 0.0  # no pool may be asked; one that had a node may have it back
        if submit.wait_none_s is not None:
            return submit.wait_none_s
        if not self.shard.is_settled:  # nodes are on their way back to a worker that was just born
            return max(jobs.wait_busy_s, jobs.wait_none_s)
        return jobs.wait_none_s

    def is_hopeless(self, job: Job) -> bool:
        """Nobody answers who could do it, and the manager that would tell of others is silent."""
        return self.shard.fleet.is_blind and not self._are_some_busy(job)

    def _are_some_busy(self, job: Job) -> bool:
        """Are there nodes that can do it, and have no room, as far as was looked?"""
        memory = memory_of(job)
        return memory.is_busy or memory.walk is not None or job.is_preferred_busy

    def wait(self, job: Job) -> None:
        """Queue a pending job."""
        job.wait_until_ns = self.shard.now_ns + int(self.wait_s(job) * SECOND_NS)
        self.shard.waiting.push(job)
        is_busy = self._are_some_busy(job)
        self.shard.reasons.note_waits(self.shard.now_ns, job.key[2], is_busy=is_busy)
        self.rearm(job)

    def nobody(self, job: Job) -> ErrorInfo:
        """Why no node took the job, for its client: none can, or all that can are busy."""
        shard = self.shard
        refusal = self.refusals.of_job(job)
        shard.count(Counter.NO_AVAILABLE_NODE)
        shard.setup.memory.stats.refuse(selector_of(job), refusal.breakdown.best_reason)
        answer = answer_of(refusal, self._preferred(job))
        if shard.fleet.is_blind and answer.name == NONE_CAN:
            answer = stale_answer(answer, shard.fleet.age_ns())
            code = Code.STALE
        elif answer.name == ALL_BUSY and (homes := full_homes(shard, refusal.breakdown)):
            answer, code = full_home_answer(answer, homes), Code.QUEUE_FULL
        else:
            code = Code.NO_AVAILABLE_NODE if answer.name == NONE_CAN else Code.QUEUE_TIMEOUT
        shard.recorder.note_refused(job, refusal, code.value)
        error = error_info(
            code,
            answer.text,
            retry_after_ms=answer.retry_after_ms,
            breakdown=replace(refusal.breakdown, answer=answer.name),
        )
        shard.reasons.note_refused(shard.now_ns, error, job.key[2])
        return error

    def _preferred(self, job: Job) -> Preferred | None:
        """How the node stands that the request prefers; None if it prefers none."""
        node_id = job.submit.preferred_node
        if not node_id:
            return None
        fleet, kind = self.shard.fleet, job.kind
        row = fleet.rows_by_node.get(node_id)
        if row is None:
            return Preferred(node_id, Reason.NO_LANE, None)
        ranking = judging(fleet, kind, named_rows(fleet, job))
        reason = first_failed_check(read(fleet, kind, (row,))[0], kind.judgement, ranking)
        if reason is None:
            reason = Reason.CAPACITY_EXCEEDED  # it had none a moment ago, and has one now
        return Preferred(node_id, reason, self._free_in_ns(kind, row))

    def _free_in_ns(self, kind: Kind, row: int) -> float | None:
        """After how long a slot of a full node is expected to be free; None if nobody knows."""
        shard = self.shard
        fleet, now_ns = shard.fleet, shard.now_ns
        held = fleet.held(row)
        if held < fleet.standing[row] & SLOTS_MASK:
            return None
        lane = shard.lanes.get(row)
        expected_ns = fleet.paces.expected_ns
        left = [
            expected - (now_ns - hold.sent_at_ns)
            for hold in (lane.holds.values() if lane is not None else ())
            if hold.has_slot
            and hold.job is not None
            and (expected := expected_ns(hold.job.kind.requirement.types, row))
        ]
        if left:
            return max(0.0, min(left))
        # All its slots are others': they end at some time each, so the first after a share of it.
        expected = expected_ns(kind.requirement.types, row)
        return expected / max(1, held) if expected else None

    def due_ns(self, job: Job, hold: Hold) -> int:
        """When this dispatch has had its time.

        The clock of an acknowledgement starts when the node has read what was sent before, as far
        as it says, and runs for as long as the payload may take; but never past one timeout.
        """
        if hold.is_started:
            return hold.alive_at_ns + job.timeout_ns
        since_ns = max(hold.sent_at_ns, hold.lane.read_at_ns)
        ack_ns = self.shard.ack_ns
        window_ns = min(ack_ns, job.timeout_ns) + int(len(job.payload) * self._byte_ns)
        return min(since_ns + window_ns, hold.sent_at_ns + max(ack_ns, job.timeout_ns))

    def rearm(self, job: Job) -> None:
        """See to it that the job's timer fires when something must happen to it."""
        due_ns = self.next_due_ns(job)
        if not 0 < job.filed_ns <= due_ns:
            job.filed_ns = due_ns
            self.shard.timers.file(due_ns, job)

    def next_due_ns(self, job: Job) -> int:
        """The next instant at which something must happen to the job.

        It moves away by itself when the node starts the job or tells of progress: the timer then
        fires early and finds it so (AttemptDesk.timed), which is cheaper than filing it anew.
        """
        hold = job.hold
        if hold is None:
            due_ns = job.wait_until_ns or NEVER_NS
        elif hold.is_started:
            due_ns = hold.alive_at_ns + job.timeout_ns
        else:
            timeout_ns, ack_ns = job.timeout_ns, self.shard.ack_ns
            due_ns = hold.sent_at_ns + (timeout_ns if timeout_ns < ack_ns else ack_ns)
            if due_ns <= self.shard.now_ns:  # not overdue if the node is still reading
                due_ns = self.due_ns(job, hold)
        if job.hedge is not None:
            due_ns = min(due_ns, self.due_ns(job, job.hedge))
        elif job.hedge_at_ns and hold is not None:
            due_ns = min(due_ns, job.hedge_at_ns)
        return min(due_ns, job.ends_at_ns) if job.ends_at_ns else due_ns
