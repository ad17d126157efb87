"""How a worker comes to send spans, where its configuration says where to."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.paths import worker_process
from pointsman_workers.core.events import JobTraced
from pointsman_workers.shell.entrance.wall_clock import wall_clock_s
from pointsman_workers.shell.options import WorkerOptions
from pointsman_workers.shell.tracing.exporter import SpanExporter, open_exporter

COUNT_S = 1.0

Execute = Callable[[Any], None]


def with_tracing(
    execute: Execute, options: WorkerOptions, stats: StatsPage, stack: AsyncExitStack
) -> Execute:
    """Return what carries out commands, those about traces too; it ends with the stack.

    Raises ConfigError when spans are asked for, and what sends them is not installed.
    """
    process = worker_process(options.index)
    exporter = open_exporter(options.config.otel, instance=options.paths.instance, process=process)
    if exporter is None:
        return execute
    stack.callback(exporter.close)
    stack.callback(Counting(exporter, stats).close)

    def carry_out(command: Any) -> None:
        if type(command) is JobTraced:
            exporter.take(command, int(wall_clock_s() * 1e9))
        else:
            execute(command)

    return carry_out


class Counting:
    """Once a second: what the thread has sent and dropped goes into the stats page."""

    def __init__(self, exporter: SpanExporter, stats: StatsPage) -> None:
        self._exporter = exporter
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._count()

    def close(self) -> None:
        """Count no more."""
        self._next.cancel()

    def _count(self) -> None:
        sent, dropped = self._exporter.look()
        self._stats.add(Counter.JOBS_TRACED, sent)
        self._stats.add(Counter.TRACES_DROPPED, dropped)
        self._next = self._loop.call_later(COUNT_S, self._count)
