"""What a worker answers when asked who it is and how it is."""

import os
from collections.abc import Callable
from time import monotonic_ns
from typing import cast

import msgspec

from pointsman_shm.paths import worker_process
from pointsman_wire.admin_messages import AdminAnswer, AdminQuery, Status, StatusQuery
from pointsman_wire.messages import Message
from pointsman_workers.core.setup import WorkerSetup


class StatusDesk(msgspec.Struct, frozen=True):
    """Answers status queries from the stats page, and all others by the core."""

    setup: WorkerSetup
    started_at_ns: int
    answer_of_core: Callable[[AdminQuery], Message]

    def answer(self, query: AdminQuery) -> AdminAnswer:
        """Answer one query at once."""
        if isinstance(query, StatusQuery):
            return self._status()
        return cast(AdminAnswer, self.answer_of_core(query))

    def _status(self) -> Status:
        setup = self.setup
        now_ns = monotonic_ns()
        view = setup.memory.stats.read()
        catalog = setup.memory.catalog
        beat_at_ns = catalog.beat_at_ns() or now_ns  # before its first beat it has no age
        return Status(
            process=worker_process(setup.worker_index),
            pid=os.getpid(),
            uptime_s=(now_ns - self.started_at_ns) / 1e9,
            instance=setup.instance,
            version=setup.server_version,
            address=setup.address,
            worker_count=setup.worker_count,
            snapshot_version=catalog.version,
            snapshot_age_ms=max(0, now_ns - beat_at_ns) / 1e6,
            counters=dict(view.counters),
            gauges={name: float(value) for name, value in view.gauges.items()},
            timings_us={name: timing.figures_us() for name, timing in view.timings.items()},
        )
