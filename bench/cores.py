"""How decisions scale with workers, and what they would cost without processes of their own.

Every worker is the real core with a fleet of its own lanes, on memory shared as on a host; another
process publishes and beats as a manager does.  A worker keeps some jobs in flight, each from submit
to the read result, and the decisions of all workers in a time are counted.

Controls (they have a `variant`; the product has none):

    worker-major     the ledger's cells ordered by worker instead of by node: no two workers
                     write the same cache line, and a node's sum is loads from as many lines
    separate         each worker alone on memory of its own with a publisher of its own: nothing
                     is shared but the machine, so what is lost here no layout can give back
    one-process      all workers' cores in one process, one after the other
    threads          all workers' cores in one process, a thread each, under one interpreter lock

And, not with --quick, `end-to-end`: whole jobs through real services of so many workers.

`decisions_per_s` is by the clock and needs a CPU for each worker; `per_cpu_s` counts the CPU time
of the workers alone.  What keeps jobs in flight is in the worker's own loop, so nothing runs beside
the workers but the publisher; `workers_load` below 0.9 says that they did not get the CPUs that the
clock figures need, because other programs had them.
"""

import gc
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Self

import msgspec
from _load.orders import Outcome
from _shared.dispatch import Dispatch
from _shared.report import Options, Row, median_row, report, run
from _shared.whole_jobs import Whole

from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_wire.lane_messages import Assign

NODES = 1_000
SLOTS = 16
IN_FLIGHT = 32
RUN_S = 3.0
QUICK_RUN_S = 1.0
ROUNDS = 5
QUICK_ROUNDS = 3
WARM_S = 0.3
PUBLISH_S = 0.02
BEATS_PER_PUBLISH = 20  # heartbeats of nodes: 1,000 a second
START_S = 60.0
SATURATED = 0.9  # of a CPU each
END_TO_END = "end-to-end"
THRESHOLD = (10_000, 10, 1_000)  # of the collector, as in a worker once it has started

_context = get_context("fork")


class Count(msgspec.Struct, frozen=True):
    """What one worker did in the measured time."""

    decisions: int
    elapsed_s: float
    cpu_s: float

    @property
    def load(self) -> float:
        """Share of a CPU."""
        return self.cpu_s / self.elapsed_s


class LiveDispatch(Dispatch):
    """A worker on the real clock."""

    def step(self, *events: object) -> list[object]:  # type: ignore[override]
        """One turn of the worker, now."""
        self.now_ns = time.monotonic_ns()
        return [c for c in self.core.step(self.now_ns, events) if hasattr(c, "message")]

    def publish_for(self, is_over: Callable[[], bool]) -> None:
        """Be the manager: beat, write what nodes report, and publish a node that has changed."""
        while not is_over():
            self.now_ns = time.monotonic_ns()
            self._writer.beat(self.now_ns)
            for _ in range(BEATS_PER_PUBLISH):
                row = self.random.randrange(self.node_count)
                self.rows.load[row] = self.rows.load[row]
            self.change_a_node()
            time.sleep(PUBLISH_S)


def worker_major(ledger: Ledger, worker_index: int) -> OwnLedger:
    """The control: a worker's cells side by side, the cells of a node far from each other."""
    own = OwnLedger(ledger, worker_index)
    count, cells = ledger.max_nodes, ledger.cells
    own._column = cells[worker_index * count : (worker_index + 1) * count]
    starts = [worker * count for worker in range(ledger.worker_count)]
    own._held = ledger.held = lambda row: sum([cells[start + row] for start in starts])
    return own


class Load:
    """Keeps jobs in flight on one worker; `count` is of those decided since the last reset."""

    def __init__(self, dispatch: LiveDispatch) -> None:
        self._dispatch = dispatch
        self._running: list[object] = []
        self.count = 0

    def turn(self) -> None:
        """End one job and submit another."""
        dispatch = self._dispatch
        if len(self._running) >= IN_FLIGHT:
            sent = dispatch.end(self._running.pop(0))  # type: ignore[arg-type]
            self._take(sent)
        self._take(dispatch.submit())
        self.count += 1

    def _take(self, sent: Sequence[object]) -> None:
        self._running += [c for c in sent if type(getattr(c, "message", None)) is Assign]

    def run_for(self, seconds: float) -> None:
        """Go on for a time."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for _ in range(10):
                self.turn()


def measure_one(load: Load, run_s: float, begin: Barrier | threading.Barrier) -> Count:
    """Warm up, wait for the others, and count."""
    load.run_for(WARM_S)
    begin.wait(START_S)
    load.count = 0
    began_s, cpu_s = time.monotonic(), time.thread_time()
    load.run_for(run_s)
    return Count(load.count, time.monotonic() - began_s, time.thread_time() - cpu_s)


def settle() -> None:
    """Have the collector as a worker has it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)


class Measured(msgspec.Struct, frozen=True):
    """All workers of one run, and what publishes beside them."""

    workers: list[Count]
    publisher: Count


class Manager:
    """The publisher, in a process of its own for as long as the context lasts."""

    def __init__(self, host: LiveDispatch) -> None:
        self._host = host
        self._over = _context.Event()
        self._reading, self._writing = os.pipe()
        self._process = _context.Process(target=self._run)

    def _run(self) -> None:
        began_s, cpu_s = time.monotonic(), time.process_time()
        self._host.publish_for(self._over.is_set)
        used = Count(0, time.monotonic() - began_s, time.process_time() - cpu_s)
        os.write(self._writing, msgspec.json.encode(used))

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._process.join()

    def used(self) -> Count:
        """Return what it used, once it has ended."""
        return _read_count(self._reading, self._writing)


def _read_count(reading: int, writing: int) -> Count:
    """Return what a child wrote into this pipe before it ended."""
    os.close(writing)
    count = msgspec.json.decode(os.read(reading, 4096), type=Count)
    os.close(reading)
    return count


def in_processes(
    worker_count: int, run_s: float, own: Callable[[Ledger, int], OwnLedger] = OwnLedger
) -> Measured:
    """Measure workers in processes of their own: the product."""
    host = LiveDispatch(NODES, worker_count, SLOTS)
    return on_hosts([host] * worker_count, run_s, own)


def on_hosts(
    hosts: Sequence[LiveDispatch], run_s: float, own: Callable[[Ledger, int], OwnLedger] = OwnLedger
) -> Measured:
    """Measure a worker in a process of its own on each of these, which may be the same one."""
    worker_count = len(hosts)
    begin = _context.Barrier(worker_count)
    answers: list[tuple[int, int]] = []

    def work(index: int, out: int) -> None:
        host = hosts[index]
        host.become(index, own(host.ledger, index))
        settle()
        os.write(out, msgspec.json.encode(measure_one(Load(host), run_s, begin)))

    with ExitStack() as publishing:
        each_once = {id(host): host for host in hosts}.values()
        managers = [publishing.enter_context(Manager(host)) for host in each_once]
        workers = []
        for index in range(worker_count):
            answers.append(os.pipe())
            worker = _context.Process(target=work, args=(index, answers[-1][1]))
            worker.start()
            workers.append(worker)
        for worker in workers:
            worker.join()
    publishers = [manager.used() for manager in managers]
    all_cpu_s = sum(used.cpu_s for used in publishers)
    publisher = Count(0, publishers[0].elapsed_s, all_cpu_s)
    return Measured([_read_count(*pipe) for pipe in answers], publisher)


def in_worker_major(worker_count: int, run_s: float) -> Measured:
    """The same with the other order of the ledger's cells."""
    return in_processes(worker_count, run_s, worker_major)


def in_separate_hosts(worker_count: int, run_s: float) -> Measured:
    """The same with nothing shared: each worker on memory that nobody else has."""
    return on_hosts([LiveDispatch(NODES, worker_count, SLOTS) for _ in range(worker_count)], run_s)


def in_threads(worker_count: int, run_s: float) -> Measured:
    """Measure workers that share one interpreter, a thread each."""
    hosts = shared_hosts(worker_count)
    begin = threading.Barrier(worker_count)
    counts: list[Count] = []
    threads = [
        threading.Thread(target=lambda h=host: counts.append(measure_one(Load(h), run_s, begin)))
        for host in hosts
    ]
    settle()
    with Manager(hosts[0]) as manager:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Measured(counts, manager.used())


def in_one_process(worker_count: int, run_s: float) -> Measured:
    """Measure workers that take turns in one thread."""
    hosts = shared_hosts(worker_count)
    settle()
    with Manager(hosts[0]) as manager:
        counts = _take_turns([Load(host) for host in hosts], run_s)
    return Measured(counts, manager.used())


def _take_turns(loads: Sequence[Load], run_s: float) -> list[Count]:
    worker_count = len(loads)
    for load in loads:
        load.run_for(WARM_S / worker_count)
        load.count = 0
    began_s, cpu_s = time.monotonic(), time.thread_time()
    while time.monotonic() - began_s < run_s:
        for load in loads:
            load.turn()
    elapsed_s = time.monotonic() - began_s
    each_s = (time.thread_time() - cpu_s) / worker_count
    return [Count(load.count, elapsed_s, each_s) for load in loads]


def shared_hosts(worker_count: int) -> list[LiveDispatch]:
    """Return every worker of one host, in this process, on the same memory."""
    first = LiveDispatch(NODES, worker_count, SLOTS)
    hosts = [first]
    for index in range(1, worker_count):
        host = object.__new__(LiveDispatch)
        host.__dict__.update(first.__dict__)
        host.become(index, OwnLedger(first.ledger, index))
        hosts.append(host)
    return hosts


def through_services(worker_counts: Sequence[int]) -> list[Row]:
    """Let whole jobs run through services, which stand side by side and are loaded in turns."""
    rounds: dict[int, list[Row]] = {count: [] for count in worker_counts}
    with ExitStack() as stack:
        services = [Whole(stack, count) for count in worker_counts]
        for _ in range(ROUNDS):
            for whole in services:
                measured = _measured(whole, whole.run(RUN_S))
                row = row_of(END_TO_END, whole.worker_count, measured)
                rounds[whole.worker_count].append(row)
    return [median_row(found) for found in rounds.values()]


def _measured(whole: Whole, outcome: Outcome) -> Measured:
    workers_cpu_s, manager_cpu_s = whole.loads_of(outcome)
    share = outcome.jobs // whole.worker_count  # each trunk has as many of them under way
    return Measured(
        [Count(share, outcome.elapsed_s, cpu_s) for cpu_s in workers_cpu_s],
        Count(0, outcome.elapsed_s, manager_cpu_s),
    )


System = tuple[str, Callable[[int, float], Measured]]
SYSTEMS: tuple[System, ...] = (
    ("", in_processes),
    ("worker-major", in_worker_major),
    ("separate", in_separate_hosts),
    ("one-process", in_one_process),
    ("threads", in_threads),
)


def row_of(variant: str, worker_count: int, measured: Measured) -> Row:
    """Add up the workers."""
    counts = measured.workers
    row: Row = {"system": "pointsman"}
    if variant:
        row["variant"] = variant
    decisions = sum(count.decisions for count in counts)
    row["workers"] = worker_count
    row["decisions_per_s"] = sum(count.decisions / count.elapsed_s for count in counts)
    row["per_cpu_s"] = decisions / sum(count.cpu_s for count in counts)
    least = min(count.load for count in counts)
    row["workers_load"] = least
    row["publisher_load"] = measured.publisher.load
    row["saturated"] = "workers" if least >= SATURATED else "none"
    return row


def main(options: Options) -> None:
    """Measure every number of workers in every variant, in turn, and compare with one worker."""
    run_s = QUICK_RUN_S if options.is_quick else RUN_S
    cores = os.cpu_count() or 1
    worker_counts = [1, 2] if options.is_quick else sorted({1, 2, *range(1, cores + 1)})
    found: dict[tuple[str, int], list[Row]] = {}
    turns = [
        (variant, measure, count)
        for variant, measure in SYSTEMS
        for count in worker_counts
        if count > 1 or not variant
    ]
    for _ in range(QUICK_ROUNDS if options.is_quick else ROUNDS):
        for variant, measure, count in turns:
            row = row_of(variant, count, measure(count, run_s))
            found.setdefault((variant, count), []).append(row)
    rows = with_times_one([median_row(rounds) for rounds in found.values()])
    if not options.is_quick:
        rows += with_times_one(through_services(worker_counts))
    report("cores", rows, options)


def with_times_one(rows: list[Row]) -> list[Row]:
    """Say of each row how many times that of the first, one worker, it is."""
    for row in rows:
        for key in ("decisions_per_s", "per_cpu_s"):
            row[f"{key}_times_one"] = float(row[key]) / float(rows[0][key])
    return rows


if __name__ == "__main__":
    run("Decisions per second with one, two and more workers.", main)
