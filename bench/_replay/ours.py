"""The real worker core on a virtual clock, in a fleet of unlike nodes that take their time.

What nodes and the client say without haste (that an assignment, a ping or a result was read) comes
with whatever happens next, as frames of one read do; so a job takes two turns of the core.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from time import thread_time_ns

from _shared.dispatch import BEAT_NS, SESSIONS, TRUNK, Dispatch

from _replay.fleets import SLOTS, TIMEOUT_S, WAIT_S, Done, Ran
from _replay.traces import Arrival
from pointsman_wire.lane_messages import Assign, AssignAck, LanePing, LanePong
from pointsman_wire.link import Connection, Received, Send
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import Result, ResultAck, Submit

SECOND_NS = 1_000_000_000
ALIKE = (("en", "es"),)  # every node: who looks at no capabilities can send a job anywhere as well
# Of ten nodes so many speak more, all what jobs need; so there are three pools, the first before.
THREE_POOLS = (("en", "es"),) * 6 + (("en", "es", "fr"),) * 2 + (("de", "en", "es"),) * 2
Languages = Sequence[Sequence[str]]  # of one node after the other, in turn


class Replay(Dispatch):
    """Feeds arrivals and ends in the order of their instants; the core steps when it wishes to."""

    def __init__(self, speeds: Sequence[float], sample_size: int, languages: Languages) -> None:
        super().__init__(
            len(speeds),
            worker_count=1,
            slots=SLOTS,
            sample_size=sample_size,
            languages=languages,
        )
        self.core_ns = 0  # CPU time of the core's turns
        self._speeds = speeds
        self._started_ns = self.now_ns
        self._beaten_ns = 0
        self._said: list[Received] = []  # comes with the next turn
        self._ends: list[tuple[int, int, Send]] = []  # heap of (when, dispatch, assignment)
        self._jobs: dict[str, Arrival] = {}
        self._done: list[Done] = []

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
                src_lang="en",
                tgt_lang="es",
                wait_busy_s=WAIT_S,
                timeout_s=TIMEOUT_S,
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

    def _step_at(self, at_ns: int, *events: Received) -> None:
        self.now_ns = at_ns
        if at_ns - self._beaten_ns >= BEAT_NS:
            self._beaten_ns = at_ns
            self._writer.beat(at_ns)
        said, self._said = self._said, []
        began_ns = thread_time_ns()
        commands = self.core.step(at_ns, (*said, *events))
        self.core_ns += thread_time_ns() - began_ns
        for command in commands:
            if type(command) is Send:
                self._read(command)

    def _read(self, sent: Send) -> None:
        """A node or the client reads what the core has sent."""
        message = sent.message
        if type(message) is Assign:
            node = self.row_of(sent.connection)
            took_ns = int(self._jobs[message.request_id].service_s / self._speeds[node] * SECOND_NS)
            heappush(self._ends, (self.now_ns + took_ns, message.dispatch, sent))
            self._say(sent.connection, AssignAck(number=message.number))
        elif type(message) is Result:
            self._say(TRUNK, ResultAck(results=[(message.session_number, message.number)]))
        elif type(message) is LanePing:
            pong = LanePong(number=message.number, last_read=message.last_assigned)
            self._say(sent.connection, pong)

    def _say(self, connection: Connection, message: Message) -> None:
        self._said.append(Received(connection, [(message, b"")]))

    def _end_at(self, at_ns: int, assignment: Send) -> None:
        job = assignment.message
        assert isinstance(job, Assign)
        arrival = self._jobs.pop(job.request_id)
        node = self.row_of(assignment.connection)
        ended_s = (at_ns - self._started_ns) / SECOND_NS
        began_s = ended_s - arrival.service_s / self._speeds[node]
        self._done.append(Done(arrival.at_s, began_s, ended_s, arrival.service_s))
        self._step_at(at_ns, Received(assignment.connection, [(self.result_of(assignment), b"")]))


@contextmanager
def _fleet_out_of_sight() -> Iterator[None]:
    """Let the collector not go through the whole fleet again and again, as a worker does."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def run_ours(
    arrivals: Sequence[Arrival],
    speeds: Sequence[float],
    sample_size: int,
    languages: Languages = ALIKE,
) -> Ran:
    """Replay the arrivals on the product, as installed but for the size of its samples."""
    replay = Replay(speeds, sample_size, languages)
    with _fleet_out_of_sight():
        done = replay.run(arrivals)
    return Ran(done, replay.core_ns / SECOND_NS)
