"""Ways to choose a node that need no dispatcher: every node queues what it is sent.

random             any node
round robin        one after the other
least connections  the one with the fewest jobs for its slots, running and queued

And a bound that nobody can beat: `clairvoyant` knows every job beforehand and has one machine as
fast as all slots together, that always works on the job with the least work left (shortest
remaining processing time: Schrage 1968), but never ends a job sooner than the fastest node would.
"""

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import cycle
from random import Random
from typing import Protocol

from _replay.fleets import SLOTS, Done, Ran, capacity_of
from _replay.traces import Arrival

QUEUED_MAX = 10_000_000


class Chooser(Protocol):
    """Chooses a node for each job, and is told when a job has ended."""

    def choose(self) -> int:
        """Return the node that the next job is sent to."""

    def ended(self, node: int) -> None:
        """A job of this node has ended."""


class Blind:
    """Looks at nothing: takes what `pick` gives."""

    def __init__(self, pick: Callable[[], int]) -> None:
        self._pick = pick

    def choose(self) -> int:
        """Return the next node."""
        return self._pick()

    def ended(self, node: int) -> None:
        """Take no notice."""


def at_random(node_count: int) -> Chooser:
    """Return a chooser of any node."""
    random = Random(1)
    return Blind(lambda: random.randrange(node_count))


def round_robin(node_count: int) -> Chooser:
    """Return a chooser that takes one node after the other."""
    return Blind(cycle(range(node_count)).__next__)


class LeastConnections:
    """Any of the nodes that have the fewest jobs.

    Nodes lie in buckets by their jobs, so that neither a choice nor an end looks at others.
    """

    def __init__(self, node_count: int) -> None:
        self._random = Random(1)
        self._buckets = [list(range(node_count))]
        self._counts = [0] * node_count
        self._places = list(range(node_count))  # of each node in its bucket
        self._least = 0

    def choose(self) -> int:
        """Return one of the least loaded, by chance."""
        bucket = self._buckets[self._least]
        node = bucket[self._random.randrange(len(bucket))]
        self._move(node, self._least + 1)
        while not self._buckets[self._least]:
            self._least += 1
        return node

    def ended(self, node: int) -> None:
        """Count a job less."""
        count = self._counts[node] - 1
        self._move(node, count)
        self._least = min(self._least, count)

    def _move(self, node: int, count: int) -> None:
        """Let the last of its bucket take the node's place there, and put it into another."""
        bucket, place = self._buckets[self._counts[node]], self._places[node]
        bucket[place] = last = bucket[-1]
        self._places[last] = place
        bucket.pop()
        if count == len(self._buckets):
            self._buckets.append([])
        self._counts[node], self._places[node] = count, len(self._buckets[count])
        self._buckets[count].append(node)


def run_simple(chooser: Chooser, arrivals: Sequence[Arrival], speeds: Sequence[float]) -> Ran:
    """Send every arrival to a node at once; it waits there, first come, first served."""
    counts = [0] * len(speeds)
    queues: list[deque[Arrival]] = [deque(maxlen=QUEUED_MAX) for _ in speeds]
    ends: list[tuple[float, int]] = []  # heap of (when, node)
    done: list[Done] = []

    def begin(now_s: float, node: int, job: Arrival) -> None:
        ended_s = now_s + job.service_s / speeds[node]
        heappush(ends, (ended_s, node))
        done.append(Done(job.at_s, now_s, ended_s, job.service_s))

    def end(now_s: float, node: int) -> None:
        counts[node] -= 1
        chooser.ended(node)
        if queues[node]:
            begin(now_s, node, queues[node].popleft())

    for job in arrivals:
        while ends and ends[0][0] <= job.at_s:
            end(*heappop(ends))
        node = chooser.choose()
        counts[node] += 1
        if counts[node] <= SLOTS:
            begin(job.at_s, node, job)
        else:
            queues[node].append(job)
    while ends:
        end(*heappop(ends))
    return Ran(done)


def run_clairvoyant(arrivals: Sequence[Arrival], speeds: Sequence[float]) -> Ran:
    """Return the bound; what it says of waits is the least by which jobs must be late."""
    speed, fastest = capacity_of(speeds), max(speeds)
    left: list[tuple[float, int]] = []  # heap of (work left in seconds at speed 1, job)
    done: list[Done] = []
    now_s = 0.0

    def work_until(until_s: float) -> None:
        nonlocal now_s
        while left and now_s < until_s:
            work_s, number = heappop(left)
            ended_s = now_s + work_s / speed
            if ended_s > until_s:
                heappush(left, (work_s - (until_s - now_s) * speed, number))
                break
            now_s = ended_s
            job = arrivals[number]
            own_s = job.service_s / fastest
            at_least_s = max(ended_s, job.at_s + own_s)
            done.append(Done(job.at_s, at_least_s - own_s, at_least_s, job.service_s))
        now_s = max(now_s, until_s)

    for number, job in enumerate(arrivals):
        work_until(job.at_s)
        heappush(left, (job.service_s, number))
    work_until(float("inf"))
    return Ran(done)
