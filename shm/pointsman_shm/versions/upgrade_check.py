"""`python -m pointsman_shm.versions.upgrade_check --pid PID INSTANCE`: may processes follow?

Of a service that runs one process after another can be replaced by one of this version only where
both understand the same memory and the same files.  This looks at what lies there, and changes
nothing; PID is any process of the service: its command line says where the state is.

The header of every segment says what its size follows from; this version's own readers are
opened with these numbers, and refuse what they would not understand.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.header import (
    DIMENSIONS,
    HEADER_SIZE,
    LayoutMismatch,
    SegmentUnready,
    check_header,
)
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.paths import SEGMENT_DIRECTORY, segments_of
from pointsman_shm.versions.state_format import STATE_FORMAT, FormatRefused, read_marker


def main(arguments: Sequence[str]) -> int:
    """Look: 0 processes of this version may follow, 1 they may not, and why."""
    parser = ArgumentParser(prog="pointsman_shm.versions.upgrade_check", allow_abbrev=False)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("instance")
    given = parser.parse_args(arguments)
    faults = [*memory_faults(given.instance), *state_faults(state_dir_of(given.pid))]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def state_dir_of(pid: int) -> Path | None:
    """Return the state directory that the process was given, None when nobody can say."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    given = dict(pairwise(words)).get(b"--state-dir")
    return Path(os.fsdecode(given)) if given else None


def state_faults(directory: Path | None) -> list[str]:
    """Return why files there are not this version's to go on with."""
    if directory is None:
        return ["the state directory of the service was not found: is the service of this host?"]
    try:
        marker = read_marker(directory)
    except (FormatRefused, OSError) as error:
        return [str(error)]
    if marker is None or marker.number == STATE_FORMAT:
        return []
    return [
        f"{directory} has format {marker.number}, this version writes {STATE_FORMAT}: only a start "
        "of the whole service migrates it"
    ]


def memory_faults(instance: str, directory: Path = SEGMENT_DIRECTORY) -> list[str]:
    """Return which segments of the instance this version would not understand."""
    paths = segments_of(instance, directory)
    if not paths:
        return [f"there is no shared memory of instance {instance!r}"]
    found = [_fault_of(path, path.name.removeprefix(f"pointsman.{instance}.")) for path in paths]
    return [fault for fault in found if fault]


def _fault_of(path: Path, what: str) -> str:
    opened = OPENERS.get(what.partition("-")[0])
    if opened is None:
        return ""  # of another version's own; nobody here would look at it
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path}: {error}"
    if len(content) < HEADER_SIZE:
        return f"{path} is no segment: it has {len(content)} bytes"
    try:
        opened(memoryview(content), memoryview(content).cast("Q")[DIMENSIONS])
    except (LayoutMismatch, SegmentUnready) as error:
        return f"shared memory {what}: {error}"
    return ""


def _open_catalog(content: memoryview, dimensions: int) -> None:
    layout = CatalogLayout(dimensions >> 32)
    if len(content) < layout.size:
        raise LayoutMismatch(f"it has {len(content)} bytes, this build wants {layout.size}")
    check_header(content[: layout.size].cast("Q"), layout.shape)


# What a segment is called, up to the first hyphen -> what refuses it.
OPENERS: dict[str, Callable[[memoryview, int], object]] = {
    "catalog": _open_catalog,
    "rows": lambda content, dimensions: NodeRows(content, max_nodes=dimensions),
    "ledger": lambda content, dimensions: Ledger(
        content, max_nodes=dimensions >> 16, worker_count=dimensions & 0xFFFF
    ),
    "waiting": lambda content, dimensions: WaitingWords(content, worker_count=dimensions),
    "stats": lambda content, dimensions: StatsPage(content),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
