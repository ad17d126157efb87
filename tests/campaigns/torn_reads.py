"""The torn-read hammer (S1, S2): a writer and readers as processes, counted in pages read.

    PYTHONPATH=tests:tests/shm python -m campaigns.torn_reads --minutes 10 --ledger ledger.jsonl

Half of the time the writer goes flat out over a few pages, half of it it keeps its cadence over
400.  A read is one page copied and checked; decoding is not part of it.  Each page's content says
which version wrote it, so whatever a reader accepts is compared with the version that it says.
Now and then a reader is held up in mid copy until the writer has published twice into that slot.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import memory_peer

from pointsman_shm.memory.catalog_layout import PUBLISH_INTERVAL_NS, CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.segment import attach_segment, create_segment, unlink_segment
from pointsman_sim.campaign_ledger import Tally, append

FEW = (1, 4, 0)  # nodes, pages, cadence in nanoseconds
MANY = (85_000, 400, PUBLISH_INTERVAL_NS)
HELD_UP_EVERY = 5_000
HELD_UP_S = 0.2
LASTING = 8  # of so many hand-outs one is followed by another of the same reader
GRACE_S = 60.0
page_bytes = lru_cache(maxsize=4_096)(memory_peer.page_bytes)


class Hammer:
    """Reads as fast as it can and counts; `mixed` must stay 0."""

    def __init__(self, buffer: memoryview, layout: CatalogLayout, *, dense: bool) -> None:
        self._buffer = buffer
        self._layout = layout
        self._dense = dense
        self._reader = CatalogReader(buffer, layout, pause=self._pause)
        self._pages: dict[int, bytes] = {}
        self.reads = 0
        self.held_up = 0
        self.handed_out = 0
        self.retries = 0
        self.mixed = 0

    def _pause(self, _: str) -> None:
        """Called in mid copy of each page."""
        self.reads += 1
        if self.reads % HELD_UP_EVERY:
            return
        wanted = self._reader.version_word() + 2
        until_s = time.monotonic() + HELD_UP_S
        while self._reader.version_word() < wanted and time.monotonic() < until_s:
            continue
        self.held_up += self._reader.version_word() >= wanted

    def run(self, seconds: float) -> None:
        """Refresh for so long; every hand-out is followed by a fresh reader's."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            for _ in range(16):
                self._look()

    def _look(self) -> None:
        before = self._reader.version
        changed = self._reader.refresh()
        if changed is None:
            return
        self.handed_out += 1
        self._pages |= changed
        version = self._reader.version
        is_whole = all(
            content == page_bytes(page, memory_peer.last_change(version, page, self._dense))
            for page, content in self._pages.items()
        )
        self.mixed += version <= before or not is_whole
        if self.handed_out % LASTING:  # the next one begins with nothing, and so reads all
            self.retries += self._reader.retry_count
            self._reader = CatalogReader(self._buffer, self._layout, pause=self._pause)
            self._pages = {}


def read(name: str, max_nodes: int, *, dense: bool, seconds: float) -> None:
    """The role of a reading process."""
    segment = attach_segment(name, writable=False)
    hammer = Hammer(segment.buffer, CatalogLayout(max_nodes), dense=dense)
    hammer.run(seconds)
    names = ("reads", "held_up", "handed_out", "retries", "mixed")
    print(json.dumps({name: getattr(hammer, name) for name in names}))


@contextmanager
def catalog(max_nodes: int, page_count: int) -> Iterator[str]:
    """A catalog with its first version, by name; removed at the end."""
    layout = CatalogLayout(max_nodes)
    name = f"/pointsman.torn-{os.getpid()}.catalog"
    segment = create_segment(name, layout.size)
    try:
        writer = CatalogWriter(segment.buffer, layout, create=True)
        writer.publish({page: memory_peer.page_bytes(page, 1) for page in range(page_count)}, 1)
        del writer
        yield name
    finally:
        segment.close()
        unlink_segment(name)


def hammer(shape: tuple[int, int, int], readers: int, seconds: float) -> dict[str, int]:
    """Run one writer and some readers; return what the readers counted, summed."""
    max_nodes, page_count, cadence_ns = shape
    environment = {**os.environ, "POINTSMAN_TEST_CAMPAIGN_S": str(seconds + GRACE_S)}
    with catalog(max_nodes, page_count) as name:
        writer = subprocess.Popen(
            [
                *(sys.executable, memory_peer.__file__, "publish", name, str(max_nodes)),
                *(str(page_count), str(cadence_ns), str(seconds)),
            ],
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        words = [sys.executable, "-m", "campaigns.torn_reads", "--read", name]
        words += ["--nodes", str(max_nodes), "--seconds", str(seconds)]
        words += [] if cadence_ns else ["--dense"]
        others: list[subprocess.Popen[str]] = [
            subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(readers)
        ]
        try:
            said = [json.loads(p.communicate(timeout=seconds + GRACE_S)[0]) for p in others]
        finally:
            for reader in others:
                reader.kill()
                reader.wait()
            writer.kill()
            writer.wait()
    return {key: sum(one[key] for one in said) for key in said[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--ledger", type=Path, default=None)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--nodes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--dense", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=1.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read(given.read, given.nodes, dense=given.dense, seconds=given.seconds)
        return 0
    total = dict.fromkeys(("reads", "held_up", "handed_out", "retries", "mixed"), 0)
    for words, shape in (("flat out, 4 pages", FEW), ("every 20 ms, 400 pages", MANY)):
        counts = hammer(shape, given.readers, 30 * given.minutes)
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        print(f"{words}: {told}", flush=True)
        total = {name: total[name] + counts[name] for name in total}
    tallies = {
        "S1": Tally(total["reads"], total["mixed"]),
        "S2": Tally(total["held_up"], total["mixed"]),
    }
    append(given.ledger, tallies, given.minutes)
    return 1 if total["mixed"] else 0


if __name__ == "__main__":
    sys.exit(main())
