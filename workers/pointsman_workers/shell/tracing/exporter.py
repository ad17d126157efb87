"""Sends spans to a collector from a thread, and holds up nobody.

The loop puts an ended job into a bounded queue and goes on; a full queue drops the newest, which is
counted.  The thread sends what is there in batches; a collector that is away or slow costs the
queue's worth of jobs and no more.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.config_otel import OtelConfig
from pointsman_workers.core.events import JobTraced
from pointsman_workers.shell.tracing.spans import Trace, trace_of

BATCH_MAX = 256
CLOSE_S = 1.0


class Ended(NamedTuple):
    """A job that waits to be told, with its trace and when it ended by the wall clock."""

    job: JobTraced
    trace: Trace
    ended_ns: int


Send = Callable[[Sequence[Ended]], bool]  # False: given up


class SpanExporter:
    """Takes ended jobs on the loop; `look` tells what became of them."""

    def __init__(self, send: Send, *, queue_max: int) -> None:
        self._send = send
        self._queue: queue.Queue[Ended | None] = queue.Queue(queue_max)
        # Each number has one writer: the loop the first and the seen ones, the thread the others.
        self._overflowed = self._given_up = self._sent = 0
        self._seen_dropped = self._seen_sent = 0
        self.finished = threading.Event()  # set when the thread has nothing more to do
        threading.Thread(target=self._work, name="spans", daemon=True).start()

    def take(self, job: JobTraced, ended_ns: int) -> None:
        """Have a job told if its trace is one of W3C; returns at once."""
        trace = trace_of(job.trace_id)
        if trace is None:
            return
        try:
            self._queue.put_nowait(Ended(job, trace, ended_ns))
        except queue.Full:
            self._overflowed += 1

    def look(self) -> tuple[int, int]:
        """Return how many jobs were told, and how many dropped, since this was asked last."""
        sent, dropped = self._sent, self._overflowed + self._given_up
        news = sent - self._seen_sent, dropped - self._seen_dropped
        self._seen_sent, self._seen_dropped = sent, dropped
        return news

    def close(self) -> None:
        """Let what waits be sent, for a moment; a thread that hangs ends with the process."""
        try:
            self._queue.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self.finished.wait(CLOSE_S)

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, is_last = self._more(first)
            if self._send(batch):
                self._sent += len(batch)
            else:
                self._given_up += len(batch)
            if is_last:
                break
        self.finished.set()

    def _more(self, first: Ended) -> tuple[list[Ended], bool]:
        """Return what waits behind the first, and whether nothing comes after."""
        batch = [first]
        while len(batch) < BATCH_MAX:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                break
            if found is None:
                return batch, True
            batch.append(found)
        return batch, False


def open_exporter(config: OtelConfig, *, instance: str, process: str) -> SpanExporter | None:
    """Return the exporter that the configuration asks for, None where it asks for none.

    Raises ConfigError when what it needs is not installed.
    """
    if not config.endpoint:
        return None
    try:
        # Reading the library takes long and much memory: who does not trace does without.
        from pointsman_workers.shell.tracing.otlp import Collector
    except ModuleNotFoundError as error:
        words = f"otel.endpoint: {error.name} is missing: pip install 'pointsman[otel]'"
        raise ConfigError(words) from None
    collector = Collector(config, instance=instance, process=process, entropy=os.urandom)
    return SpanExporter(collector.send, queue_max=config.queue_max)
