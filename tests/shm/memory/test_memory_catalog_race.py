"""Two real processes: no reader, old or fresh, ever accepts a mixture of versions (I6, S1).

The content of every page follows from its number and the version that changed it last, so one look
tells whether all pages belong to the version that the reader says it has.
"""

import os
import subprocess
from collections.abc import Callable

import pytest
from memory_peer import campaign_s, is_version, page_bytes, start_peer

from pointsman_shm.memory.catalog_layout import PUBLISH_INTERVAL_NS, CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.segment import Segment

MakeSegment = Callable[[int], Segment]
FEW_NODES, FEW_PAGES = 1, 4
MANY_NODES, MANY_PAGES = 85_000, 400


class Watcher:
    """One reader and everything it was handed so far."""

    def __init__(self, buffer: memoryview, layout: CatalogLayout) -> None:
        self.reader = CatalogReader(buffer, layout)
        self.pages: dict[int, bytes] = {}

    def look(self, dense: bool) -> int:
        """Refresh once; return 1 when something was handed out, after checking all of it."""
        before = self.reader.version
        changed = self.reader.refresh()
        if changed is None:
            return 0
        self.pages |= changed
        assert self.reader.version > before
        assert is_version(self.pages, self.reader.version, dense), "a mixture was accepted"
        return 1


def published_catalog(make_segment: MakeSegment, max_nodes: int, page_count: int) -> Segment:
    layout = CatalogLayout(max_nodes)
    room = os.statvfs("/dev/shm")
    if room.f_bavail * room.f_frsize < layout.size + (1 << 20):
        pytest.skip(f"needs {layout.size >> 20} MiB of shared memory")
    segment = make_segment(layout.size)
    writer = CatalogWriter(segment.buffer, layout, create=True)
    writer.publish({page: page_bytes(page, 1) for page in range(page_count)}, 1)
    return segment


def watch(
    peer: subprocess.Popen[str], buffer: memoryview, layout: CatalogLayout, dense: bool
) -> tuple[Watcher, list[Watcher]]:
    """Read with one lasting reader and ever new ones until the writing process ends."""
    lasting = Watcher(buffer, layout)
    fresh = [Watcher(buffer, layout)]
    while peer.poll() is None:
        lasting.look(dense)
        if fresh[-1].look(dense):
            fresh.append(Watcher(buffer, layout))
    return lasting, fresh[:-1]


@pytest.mark.slow
def test_s1_i6_a_writer_that_goes_flat_out_over_a_few_pages(make_segment: MakeSegment) -> None:
    segment = published_catalog(make_segment, FEW_NODES, FEW_PAGES)
    layout = CatalogLayout(FEW_NODES)
    with start_peer("publish", segment.name, FEW_NODES, FEW_PAGES, 0, campaign_s()) as peer:
        lasting, fresh = watch(peer, segment.buffer.toreadonly(), layout, dense=True)
        said, complained = peer.communicate()
    assert not complained
    lasting.look(dense=True)
    assert lasting.reader.version == int(said)
    assert len(fresh) > 10
    # The race did happen: the reader was overtaken, and said so.
    assert lasting.reader.retry_count + sum(w.reader.retry_count for w in fresh) > 0


@pytest.mark.slow
def test_s1_i6_a_writer_at_its_cadence_over_four_hundred_pages(make_segment: MakeSegment) -> None:
    segment = published_catalog(make_segment, MANY_NODES, MANY_PAGES)
    layout = CatalogLayout(MANY_NODES)
    arguments = (segment.name, MANY_NODES, MANY_PAGES, PUBLISH_INTERVAL_NS, campaign_s())
    with start_peer("publish", *arguments) as peer:
        lasting, fresh = watch(peer, segment.buffer.toreadonly(), layout, dense=False)
        said, complained = peer.communicate()
    assert not complained
    lasting.look(dense=False)
    assert lasting.reader.version == int(said) > 10 * campaign_s()
    assert len(lasting.pages) == MANY_PAGES
    assert len(fresh) > 3
    assert all(len(watcher.pages) == MANY_PAGES for watcher in fresh)
