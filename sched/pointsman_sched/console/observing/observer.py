"""Looks at the processes twice a second for their health, and at everything for each scrape."""

import asyncio
import os
from importlib.metadata import version
from time import monotonic_ns

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pointsman_sched.console.observing.exposition import Facts, families
from pointsman_sched.console.observing.health import (
    LOOK_NS,
    HealthJudge,
    Rules,
    Signs,
    Verdict,
    WorkerSigns,
)
from pointsman_sched.console.observing.process_facts import ProcessFacts, look_at
from pointsman_sched.console.observing.shared_pages import (
    copy_stats,
    read_beat,
    read_catalog,
    read_fleet,
    read_stats,
    read_workers,
)
from pointsman_sched.options import ProcessOptions
from pointsman_shm.memory.stats import StatsPage, StatsView
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.paths import worker_process

FRESH_NS = 100_000_000


class Observer(Collector):
    """Reads what others write; nothing of it is asked for, waited for or locked."""

    def __init__(self, options: ProcessOptions) -> None:
        config = options.config
        self._options = options
        self._max_nodes = config.nodes.max_nodes
        self._judge = HealthJudge(
            Rules(
                worker_count=options.worker_count,
                stale_ns=int(config.limits.snapshot_stale_s * 1e9),
                needs_redis=config.redis.is_on and config.redis.policy == "fail_closed",
            )
        )
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._looked_at_ns = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_soon(self._look_again)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def verdict(self) -> Verdict:
        """Return how the service is, as of this moment."""
        now_ns = monotonic_ns()
        if now_ns - self._looked_at_ns > FRESH_NS:
            self._look(now_ns)
        return self._judge.verdict

    def exposition(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self._registry)

    def collect(self) -> list[Metric]:
        """Return all metrics (the registry asks)."""
        return [*families(self._facts())]

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(LOOK_NS / 1e9, self._look_again)
        self._look(monotonic_ns())

    def _look(self, now_ns: int) -> None:
        self._looked_at_ns = now_ns
        paths = self._options.paths
        manager = copy_stats(paths, "manager")
        pages = {
            number: copy_stats(paths, worker_process(number))
            for number in range(self._options.worker_count)
        }
        signs = Signs(
            manager_beat_at_ns=read_beat(paths, self._max_nodes),
            workers={n: _signs_of(page) for n, page in pages.items() if page is not None},
            is_redis_unfit=manager is not None and bool(manager.gauged(Gauge.REDIS_UNFIT)),
        )
        self._judge.look(now_ns, signs)

    def _facts(self) -> Facts:
        paths, count = self._options.paths, self._options.worker_count
        manager, workers = read_stats(paths, "manager"), read_workers(paths, count)
        return Facts(
            now_ns=monotonic_ns(),
            version=version("pointsman"),
            instance=paths.instance,
            manager=manager,
            workers=workers,
            worker_count=count,
            catalog=read_catalog(paths, self._max_nodes),
            fleet=read_fleet(paths, self._max_nodes, count),
            processes=_processes(manager, workers),
            is_ready=self.verdict().is_ready,
        )


def _processes(manager: StatsView | None, workers: dict[int, StatsView]) -> dict[str, ProcessFacts]:
    pids = {"console": os.getpid(), "supervisor": os.getppid()}
    if manager is not None:
        pids["manager"] = manager.process_id
    pids.update((worker_process(number), view.process_id) for number, view in workers.items())
    return look_at(pids)


def _signs_of(page: StatsPage) -> WorkerSigns:
    return WorkerSigns(
        beat_at_ns=page.beat_at_ns(),
        is_draining=bool(page.gauged(Gauge.DRAINING)),
        is_redis_down=bool(page.gauged(Gauge.REDIS_DOWN)),
        submits_failed=page.counted(Counter.SUBMITS_FAILED),
        jobs_placed=page.observed(Timing.SUBMIT_TO_ASSIGN),
    )
