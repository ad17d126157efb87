"""Serial sessions: jobs start in the order of their acceptance, and never overlap.

    accepted    it is the turn of the oldest open job; the others stand in line
    turn        it is placed once every earlier dispatch of the session is over *for certain*
    ended       with other instances, when the fleet has heard of it: if another one has taken the
                job over, our end does not count, and its turn lasts until that one's
    over        the node said so: a result, a refusal, a report without it; or the node is gone and
                so long ago that, if it lives, it has stopped by itself

A node that cannot be heard may still be at work, and an assignment may lie in a broken network for
any time and arrive after all.  So nodes run serial jobs on a lease: before one starts, and again
and again while it runs, its node asks whether we still count on the dispatch (turn_ask), and our
yes is good for Assign.silence_ms from when it was asked.  From when a node was lost to us we say
yes no more; so after that silence, and a second for the node to end what does not stop by itself,
nothing of ours runs there, and the next job may start elsewhere.

What this does not cover is a handler that nobody can end: a thread of a program that does not end
when its node gives up, or a program whose node was killed and that lives on.

While its own nodes have not all reported after a restart, or run jobs of the session that no
client has named yet or that have ended for us, the line waits as well; where one was not there to
report, until what our predecessor said yes to is over.
"""

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import TurnAsk, TurnGranted
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Hold, Job, Lane, Line
from pointsman_workers.desks.placing import PlacingDesk

LOOK_NS = SECOND_NS // 10
# How long a node may take from the end of its lease to the end of a handler that does not stop.
ENDING_NS = SECOND_NS


def bind(hold: Hold, line: Line) -> None:
    """The line waits for the end of this dispatch."""
    hold.line = line
    line.holds += 1


class SerialDesk:
    """Gives turns."""

    def __init__(self, shard: Shard, placing: PlacingDesk) -> None:
        self.shard = shard
        self.placing = placing
        self._count = 0  # of jobs in all lines; those that ended there are counted until their turn
        self._fence_ns = int(shard.config.sessions.serial_silence_s * SECOND_NS) + ENDING_NS
        self._sure_at_ns = 0  # until then a node may be at work that has not reported to us
        self._unsure: set[Job] = set()  # in line; whether they are still ours is being asked

    def has_turn(self, line: Line, job: Job) -> bool:
        """Take a new job; False when it stands in line now."""
        if line.current is None and not line.jobs and self._is_clear(line):
            line.current = job
            return True
        self.append(line, job)
        return False

    @property
    def is_full(self) -> bool:
        """Do as many jobs stand in lines as may wait in a worker?"""
        return self._count >= self.shard.config.limits.queued_per_shard_max

    def append(self, line: Line, job: Job) -> None:
        """Put an accepted job at the end of the line."""
        job.is_lined = True
        line.jobs.append(job)
        self._count += 1
        self.shard.ready_lines[line] = None
        if job.ends_at_ns:
            self.shard.file(job, job.ends_at_ns)

    def expect(self, line: Line, job: Job) -> None:
        """A job that came back has its place already, and no turn before it is `sure`."""
        self._unsure.add(job)
        self.append(line, job)

    def sure(self, job: Job) -> None:
        """It is ours, or has ended, or is another instance's to run: its line may go on."""
        self._unsure.discard(job)
        if job.line is not None:
            self.shard.ready_lines[job.line] = None

    def again(self, line: Line, job: Job) -> None:
        """The attempt of the job whose turn it is has failed: it goes on when that is over."""
        if line.current is not job:
            if line.current is not None:  # two ran before the session became serial
                job.is_lined = True
                line.jobs.appendleft(job)
                self._count += 1
                return
            line.current = job
        self._wait_for_the_end(job)
        self.shard.ready_lines[line] = None

    def left(self, line: Line, job: Job) -> None:
        """The job was not accepted after all."""
        if line.current is job:
            line.current = None

    def lost(self, hold: Hold) -> None:
        """The node of this dispatch is gone without a word."""
        sure_at_ns = self.shard.now_ns + self._fence_ns
        if hold.line is not None:
            hold.line.sure_at_ns = sure_at_ns
            self.shard.file(hold.line, sure_at_ns)  # which a session that comes meanwhile finds so
        elif hold in self.shard.strays or self.shard.orphans.of(hold) is not None:
            self._sure_at_ns = max(self._sure_at_ns, sure_at_ns)  # so rare that all may wait

    def asked(self, lane: Lane, message: TurnAsk) -> None:
        """May a serial job start or go on?  Yes, as long as its line waits for this dispatch."""
        connection = lane.connection
        if connection is None or (message.epoch, message.dispatch) not in lane.holds:
            return
        granted = TurnGranted(
            job_id=message.job_id,
            epoch=message.epoch,
            dispatch=message.dispatch,
            asked=message.asked,
        )
        self.shard.outbox.send(connection, granted)

    def doubt_predecessor(self, died_at_ns: int) -> None:
        """Some node did not report what it runs for whoever had this shard until then."""
        self._sure_at_ns = max(self._sure_at_ns, died_at_ns + self._fence_ns)

    def shelve(self) -> None:
        """This life ends: what the journal has stays for the next one, and gets no turn here.

        But nothing that stands before what only memory holds, which is still to have its turn.
        """
        for line in [*self.shard.lines.values()]:
            left: list[Job] = []
            for job in reversed([*filter(None, [line.current]), *line.jobs]):
                if not job.is_lined or job.is_followed:
                    continue
                if not job.segment:
                    break
                job.is_lined = False
                left.append(job)
            self.shard.shelved += reversed(left)

    def timed(self, line: Line) -> None:
        """What the line waits for may be over by now."""
        self._advance(line)

    def advance(self) -> None:
        """Look at every line in which something has ended."""
        shard = self.shard
        while shard.ready_lines:
            lines, shard.ready_lines = shard.ready_lines, {}
            for line in lines:
                self._advance(line)

    def _advance(self, line: Line) -> None:
        job = self._turn_of(line)
        if job is None or not job.is_lined or job.is_followed or job in self._unsure:
            return
        if not self._is_clear(line):
            if not line.holds:  # what else it waits for, nobody will tell
                sure_at_ns = max(line.sure_at_ns, self._sure_at_ns)
                self.shard.file(line, max(sure_at_ns, self.shard.now_ns + LOOK_NS))
            return
        if not job.is_safe:
            return  # it may not be given to anybody yet
        job.is_lined = False
        if not self.placing.place(job):
            self.placing.wait(job)

    def _turn_of(self, line: Line) -> Job | None:
        """The job whose turn it is; the next one when that has ended."""
        current = line.current
        if current is not None and not current.is_open:
            if current.bond is not None and not current.is_end_safe:
                return None  # the fleet has yet to say whether this end counts
            line.current = None
        while line.current is None and line.jobs:
            if line.jobs[0].is_open and not line.jobs[0].is_lined:
                return None  # it was left to the next life
            job = line.jobs.popleft()
            self._count -= 1
            if job.is_open:
                line.current = job
                self._wait_for_the_end(job)
        return line.current

    def _wait_for_the_end(self, job: Job) -> None:
        """From now on it waits for its node only: that may take no longer than for a busy one."""
        if job.is_followed:  # another instance says when it has ended
            return
        jobs = self.shard.config.jobs
        wait_s = jobs.wait_busy_s if job.submit.wait_busy_s is None else job.submit.wait_busy_s
        job.is_lined = True
        job.wait_until_ns = self.shard.now_ns + max(int(wait_s * SECOND_NS), self._fence_ns)
        self.placing.rearm(job)

    def _is_clear(self, line: Line) -> bool:
        shard = self.shard
        sure_at_ns = max(line.sure_at_ns, self._sure_at_ns)
        if line.holds or sure_at_ns > shard.now_ns or not shard.is_settled:
            return False
        if shard.strays and line.whose in shard.strays.values():
            return False
        return not any(shard.orphans.running_of(line.whose))

    def expired(self, job: Job) -> ErrorInfo:
        """Why the job had its turn and could not start."""
        self.shard.count(Counter.NO_AVAILABLE_NODE)
        text = (
            "the session is serial, and a job before this one was given up but has not ended yet "
            "at its node"
        )
        return error_info(Code.QUEUE_TIMEOUT, text, attempts=[*job.reasons])
