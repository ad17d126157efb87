"""The real worker core on a virtual clock, in a fleet of unlike nodes that take their time."""

from collections.abc import Sequence
from heapq import heappop, heappush

from _shared.dispatch import BEAT_NS, TRUNK, Dispatch

from _replay.fleets import SLOTS, Done
from _replay.traces import Arrival
from pointsman_wire.lane_messages import Assign, AssignAck, LanePing, LanePong
from pointsman_wire.link import Received, Send
from pointsman_wire.session_messages import Result, ResultAck, Submit

SECOND_NS = 1_000_000_000
SESSIONS = 64  # that the trunk has open


class Replay(Dispatch):
    """Feeds arrivals and ends in the order of their instants; the core steps when it wishes to."""

    def __init__(self, speeds: Sequence[float], sample_size: int) -> None:
        self._sample_size = sample_size
        super().__init__(len(speeds), worker_count=1, slots=SLOTS, sample_size=sample_size)
        self._speeds = speeds
        self._started_ns = self.now_ns
        self._beaten_ns = 0
        self._ends: list[tuple[int, int, Send]] = []
        self._jobs: dict[str, Arrival] = {}
        self._done: list[Done] = []
        self._assigned_count = [0] * len(speeds)

    def run(self, arrivals: Sequence[Arrival]) -> list[Done]:
        """Return what became of every job."""
        for number, job in enumerate(arrivals):
            at_ns = self._started_ns + int(job.at_s * SECOND_NS)
            self._go_on_until(at_ns)
            self._jobs[f"r-{number}"] = job
            submit = Submit(
                session_number=job.session % SESSIONS,
                request_id=f"r-{number}",
                services=["nmt"],
                wait_busy_s=3_600.0,
                timeout_s=86_400.0,
            )
            self._step_at(at_ns, Received(TRUNK, [(submit, b"")]))
        while self._ends:
            self._go_on_until(self._ends[0][0])
        assert len(self._done) == len(arrivals), (len(self._done), len(arrivals))
        return self._done

    def _go_on_until(self, until_ns: int) -> None:
        """Let everything happen that is due by then."""
        while True:
            due_ns = max(self.now_ns, self.core.next_deadline_ns())
            if self._ends and self._ends[0][0] <= min(until_ns, due_ns):
                at_ns, _, assignment = heappop(self._ends)
                self._end_at(at_ns, assignment)
            elif due_ns <= until_ns:
                self._step_at(due_ns)
            else:
                return

    def _step_at(self, at_ns: int, *events: object) -> None:
        self.now_ns = at_ns
        if at_ns - self._beaten_ns >= BEAT_NS:
            self._beaten_ns = at_ns
            self._writer.beat(at_ns)
        for command in self.core.step(at_ns, events):
            if type(command) is Send and type(command.message) is Assign:
                self._begin(command)
            elif type(command) is Send and type(command.message) is Result:
                self._read(command.message)
            elif type(command) is Send and type(command.message) is LanePing:
                ping = command.message
                pong = LanePong(number=ping.number, last_read=ping.last_assigned)
                self._step_at(at_ns, Received(command.connection, [(pong, b"")]))

    def _begin(self, assignment: Send) -> None:
        """The node has it, and takes its time."""
        job = assignment.message
        assert isinstance(job, Assign)
        node = self.row_of(assignment.connection)
        took_ns = int(self._jobs[job.request_id].service_s / self._speeds[node] * SECOND_NS)
        heappush(self._ends, (self.now_ns + took_ns, job.dispatch, assignment))
        self._step_at(
            self.now_ns, Received(assignment.connection, [(AssignAck(number=job.number), b"")])
        )

    def _end_at(self, at_ns: int, assignment: Send) -> None:
        job = assignment.message
        assert isinstance(job, Assign)
        arrival = self._jobs.pop(job.request_id)
        node = self.row_of(assignment.connection)
        ended_s = (at_ns - self._started_ns) / SECOND_NS
        began_s = ended_s - arrival.service_s / self._speeds[node]
        self._done.append(Done(arrival.at_s, began_s, ended_s, arrival.service_s))
        self._step_at(at_ns, Received(assignment.connection, [(self.result_of(assignment), b"")]))

    def _read(self, result: Result) -> None:
        acknowledged = ResultAck(results=[(result.session_number, result.number)])
        self._step_at(self.now_ns, Received(TRUNK, [(acknowledged, b"")]))


def run_ours(arrivals: Sequence[Arrival], speeds: Sequence[float], sample_size: int) -> list[Done]:
    """Replay the arrivals on the product, as installed but for the size of its samples."""
    return Replay(speeds, sample_size).run(arrivals)
