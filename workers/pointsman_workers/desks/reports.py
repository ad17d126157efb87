"""Reports: what a node says it runs and holds, brought together with what this worker holds.

reported and known        kept
known and not reported    dispatched anew: it never arrived, or died with the node
reported and unknown      an orphan from before this worker was born: kept for its client for a
                          while, or cancelled, its slot counted until the node confirms
"""

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import JobFence, LaneReport, NodeResult
from pointsman_wire.limits import REPORTED_MAX
from pointsman_wire.messages import Error, error_info
from pointsman_workers.core.lifecycle import JobState, moved
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Hold, Job, Key, Lane, Orphan
from pointsman_workers.desks.attempts import AttemptDesk, missing_in_report
from pointsman_workers.desks.lane_watch import LaneWatch
from pointsman_workers.desks.take_over import TakeOverDesk
from pointsman_workers.ordering.serial import bind
from pointsman_workers.sharing.nodes.guests import GuestDesk

# Finding a member on its enum costs as much as what is done with it.
_DISPATCHED = JobState.DISPATCHED
_STARTED = moved(_DISPATCHED, "start")


class ReportDesk:
    """Reconciles lanes, and keeps orphans for their clients."""

    def __init__(self, shard: Shard, attempts: AttemptDesk, take_over: TakeOverDesk) -> None:
        self.shard = shard
        self.attempts = attempts
        self.take_over = take_over
        self.guests = GuestDesk(shard, attempts)
        self.watch = LaneWatch(shard)
        self._orphan_ns = int(shard.config.sessions.resume_s * SECOND_NS)

    def heard(self, lane: Lane, message: LaneReport) -> None:
        """A node of this host reports, once on a lane: what was sent to it since is on its way.

        One that lists what no node can have is not believed.
        """
        count = len(message.running) + len(message.held)
        if lane.connection is None or (count <= REPORTED_MAX and not lane.is_up):
            self.report(lane, message)
            return
        if count <= REPORTED_MAX:
            words = "lane_report came before on this lane; open a new lane to report again"
            self.shard.outbox.error(lane.connection, error_info(Code.INVALID_MESSAGE, words))
            return
        words = f"lane_report lists {count} jobs, at most {REPORTED_MAX} are possible"
        self.shard.outbox.send(lane.connection, Error(error_info(Code.INVALID_MESSAGE, words)))
        self.shard.outbox.close(lane.connection, words)

    def report(self, lane: Lane, message: LaneReport) -> None:
        """Bring what we hold and what the node says it runs together; the lane is then up."""
        shard = self.shard
        reported = {(fence.epoch, fence.dispatch) for fence in (*message.running, *message.held)}
        for place, hold in tuple(lane.holds.items()):
            if place not in reported:
                self._missing(hold)
        for fence in message.running:
            self._reported(lane, fence, is_running=True)
        for fence in message.held:
            self._reported(lane, fence, is_running=False)
        slots = sum(hold.has_slot for hold in lane.holds.values())
        shard.fleet.own.rewrite(lane.row, slots)
        lane.is_up = True
        self.watch.came_up(lane)
        if self.take_over.expected_count:
            self.take_over.all_reported(lane)
        if lane.link is None:
            self.guests.reported(lane)

    def _missing(self, hold: Hold) -> None:
        """We hold it and the node does not have it: it never arrived, or died with the node."""
        job = hold.job
        self.shard.free(hold)
        if hold.guest is not None:
            self.guests.missing(hold)
        elif job is None:
            self.forget_orphan(hold)
        else:
            self.attempts.fail_over(hold, missing_in_report(hold))

    def _reported(self, lane: Lane, fence: JobFence, *, is_running: bool) -> None:
        place = (fence.epoch, fence.dispatch)
        hold = lane.holds.get(place)
        if hold is None:
            if self.shard.withheld.is_kept(place):
                return  # its result is here already, and comes again
            if not self.take_over.reported(lane, fence, is_running=is_running):
                self._unknown(lane, fence, is_running=is_running)
        elif hold.is_cancelling and is_running:
            self.attempts.cancel_hold(hold, "it was given up here")
        else:
            self.start(hold)

    def _unknown(self, lane: Lane, fence: JobFence, *, is_running: bool) -> None:
        """A dispatch that this worker did not make, or has forgotten."""
        shard = self.shard
        hold = Hold(
            lane=lane,
            job=None,
            job_id=fence.job_id,
            epoch=fence.epoch,
            dispatch=fence.dispatch,
            has_slot=is_running,
            is_started=True,
            alive_at_ns=shard.now_ns,
        )
        lane.holds[fence.epoch, fence.dispatch] = hold
        if fence.origin and self.guests.came_back(hold, fence):
            return
        key = (fence.tenant, fence.session_id, fence.request_id)
        is_before_us = fence.epoch < shard.setup.epoch and fence.request_id
        if not is_before_us or shard.window.find(key) or shard.orphans.is_full:
            self._stop(hold, key, "nobody here waits for it")
            return
        other = shard.orphans.get(key)
        if other is not None:
            # The job had failed over before we were born, and its older attempt still runs.
            is_newer = (hold.epoch, hold.dispatch) > (other.hold.epoch, other.hold.dispatch)
            if not is_newer or other.result is None:  # else the older one is over
                older = other.hold if is_newer else hold
                self._stop(older, key, "a newer dispatch of its job runs elsewhere")
            if not is_newer:
                return
        orphan = Orphan(hold=hold, key=key, until_ns=shard.now_ns + self._orphan_ns)
        shard.orphans.add(orphan)
        shard.file(orphan, orphan.until_ns)

    def orphan_timed(self, orphan: Orphan) -> None:
        """Its client did not come back: the node may stop."""
        if self.shard.orphans.get(orphan.key) is orphan:
            self.shard.orphans.pop(orphan.key)
            if orphan.result is None:
                self._stop(orphan.hold, orphan.key, "its client did not come back")

    def _stop(self, hold: Hold, key: Key, reason: str) -> None:
        """Nobody waits for it; should its session be serial, that waits until it has stopped."""
        if hold.has_slot:
            self.shard.strays[hold] = key[:2]
        self.attempts.cancel_hold(hold, reason)

    def adopt(self, job: Job, orphan: Orphan) -> None:
        """The client repeated the request of an orphan: it is this job, wherever it stands."""
        hold = orphan.hold
        hold.job = job
        hold.alive_at_ns = self.shard.now_ns  # its client has only come now: its time begins
        job.hold = hold
        if job.line is not None:
            job.line.current = job.line.current or job
            if orphan.result is None:  # else its dispatch is over already, and nobody would say so
                bind(hold, job.line)
        job.attempt = 1
        job.state = moved(job.state, "adopt")
        job.session.last_node_id = hold.lane.node_id
        if job.segment:
            self.shard.journal.dispatched(job, hold)
        if orphan.result is not None:
            self.attempts.complete(hold, orphan.result, orphan.payload)
        else:
            self.attempts.placing.rearm(job)

    def orphan_ended(self, hold: Hold, message: NodeResult, payload: bytes) -> None:
        """The node has ended a job that no client has named: keep its result for a while."""
        orphan = None if hold.is_cancelling else self.shard.orphans.of(hold)
        if orphan is None or not self.shard.orphans.ended(orphan, message, payload):
            self.shard.count(Counter.STALE_RESULTS)

    def start(self, hold: Hold) -> None:
        """The node has started the job: its timeout counts from now."""
        if hold.is_started:
            return
        shard, job = self.shard, hold.job
        hold.is_started = True
        hold.alive_at_ns = shard.now_ns
        if hold.guest is not None:
            self.guests.started(hold.guest)
        if job is None or job.state is not _DISPATCHED:
            return
        if hold is job.hold or hold is job.hedge:
            job.state = _STARTED
            if shard.talks and job.key in shard.talks:
                shard.talk.started(job)

    def forget_orphan(self, hold: Hold) -> None:
        """The node has lost it: who repeats its request gets a new job."""
        orphan = self.shard.orphans.of(hold)
        if orphan is not None:
            self.shard.orphans.pop(orphan.key)
