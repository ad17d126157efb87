"""The key of the lane tickets lives as long as the catalog whose rows the tickets name."""

import os
from pathlib import Path
from uuid import uuid4

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.segment import create_segment, unlink_segment
from pointsman_shm.paths import InstancePaths
from pointsman_shm.state_files import make_state_files, read_ticket_key, ticket_key_for

LAYOUT = CatalogLayout(8)


def keys_of_one_catalog(paths: InstancePaths) -> set[bytes]:
    """What manager and worker take for the key while one catalog lasts."""
    name = f"/pointsman.t-{os.getpid()}-{uuid4().hex[:12]}.catalog"
    segment = create_segment(name, LAYOUT.size)
    try:
        first = CatalogWriter(segment.buffer, LAYOUT, create=True)
        successor = CatalogWriter(segment.buffer, LAYOUT)
        reader = CatalogReader(segment.buffer, LAYOUT)
        ends = (first, successor, reader)
        keys = {ticket_key_for(read_ticket_key(paths), end.identity) for end in ends}
    finally:
        unlink_segment(name)
    del first, successor, reader, ends
    return keys


def test_a_catalog_has_one_key_and_the_next_one_has_another(tmp_path: Path) -> None:
    """A node with a ticket for the former catalog would take another node's row."""
    paths = InstancePaths(instance="t", state_dir=tmp_path, runtime_dir=tmp_path)
    make_state_files(paths, os.urandom)
    (first,), (second,) = keys_of_one_catalog(paths), keys_of_one_catalog(paths)
    assert first != second
