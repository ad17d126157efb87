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
from random import Random

from _replay.fleets import SLOTS, Done, capacity_of
from _replay.traces import Arrival

QUEUED_MAX = 10_000_000
Choose = Callable[[list[int]], int]  # jobs at each node -> a node


def at_random(node_count: int) -> Choose:
    """Return a chooser that looks at nothing."""
    random = Random(1)
    return lambda _: random.randrange(node_count)


def round_robin(node_count: int) -> Choose:
    """Return a chooser that takes one node after the other."""
    last = -1

    def choose(_: list[int]) -> int:
        nonlocal last
        last = (last + 1) % node_count
        return last

    return choose


def least_connections(node_count: int) -> Choose:
    """Return a chooser that looks at every node, from a random one on."""
    random = Random(1)

    def choose(counts: list[int]) -> int:
        start = random.randrange(node_count)
        turned = counts[start:] + counts[:start]
        return (turned.index(min(turned)) + start) % node_count

    return choose


def run_simple(choose: Choose, arrivals: Sequence[Arrival], speeds: Sequence[float]) -> list[Done]:
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
        if queues[node]:
            begin(now_s, node, queues[node].popleft())

    for job in arrivals:
        while ends and ends[0][0] <= job.at_s:
            end(*heappop(ends))
        node = choose(counts)
        counts[node] += 1
        if counts[node] <= SLOTS:
            begin(job.at_s, node, job)
        else:
            queues[node].append(job)
    while ends:
        end(*heappop(ends))
    return done


def run_clairvoyant(arrivals: Sequence[Arrival], speeds: Sequence[float]) -> list[Done]:
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
    return done
