"""The other process of the shared-memory tests: one role per command line, and what both ends know.

Run as a program it attaches to segments that a test has made, plays its role, and says on its
standard output what it saw, as one JSON value.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger, Reserve, lock_fence
from pointsman_shm.memory.ownership import acquire_lock
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.segment import attach_segment

PATIENCE_S = 60
STRIDE = 8  # in the sparse pattern a page changes with every eighth version
RACE_WORKERS = 4
RACE_ROWS = 3


def campaign_s() -> float:
    """Return how long a race lasts; POINTSMAN_TEST_CAMPAIGN_S makes it a campaign."""
    return float(os.environ.get("POINTSMAN_TEST_CAMPAIGN_S", "3"))


def start_peer(role: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process in a role; the caller ends it, or waits for its end."""
    command = [sys.executable, __file__, role, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_peer(role: str, *arguments: object) -> tuple[int, str, str]:
    """Run a process in a role to its end: exit code, what it said, what it complained of."""
    with start_peer(role, *arguments) as peer:
        said, complained = peer.communicate(timeout=PATIENCE_S)
        return peer.returncode, said, complained


def page_bytes(page: int, version: int) -> bytes:
    """Return the content that a page must have when it was last changed by `version`."""
    return (version << 16 | page).to_bytes(8, "little") * (64 + (version * 31 + page) % 900)


def changed_by(version: int, page: int, dense: bool) -> bool:
    """Return whether a version of the test's writer changes a page."""
    return dense or version == 1 or (version - page) % STRIDE == 0


def last_change(version: int, page: int, dense: bool) -> int:
    """Return the newest version up to `version` that changed the page."""
    return version if dense else max(1, version - (version - page) % STRIDE)


def is_version(pages: dict[int, bytes], version: int, dense: bool) -> bool:
    """Return whether every page is exactly what it was at this version."""
    return all(
        content == page_bytes(page, last_change(version, page, dense))
        for page, content in pages.items()
    )


def publish(name: str, max_nodes: str, page_count: str, cadence_ns: str, seconds: str) -> None:
    """Publish for some seconds: flat out and densely at cadence 0, else sparsely."""
    segment = attach_segment(name, writable=True)
    writer = CatalogWriter(segment.buffer, CatalogLayout(int(max_nodes)))
    dense = cadence_ns == "0"
    stop_at_ns = time.monotonic_ns() + int(float(seconds) * 1e9)
    while (now_ns := time.monotonic_ns()) < stop_at_ns:
        version = writer.version + 1
        pages = (page for page in range(int(page_count)) if changed_by(version, page, dense))
        writer.publish({page: page_bytes(page, version) for page in pages}, now_ns)
        time.sleep(max(0, now_ns + int(cadence_ns) - time.monotonic_ns()) / 1e9)
    print(json.dumps(writer.version))


def crash(name: str, max_nodes: str, page_count: str, point: str, occurrence: str) -> None:
    """Publish until a named point is met for the n-th time, and die there of SIGKILL."""
    left = int(occurrence)

    def meet(met: str) -> None:
        nonlocal left
        left -= met == point
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    segment = attach_segment(name, writable=True)
    writer = CatalogWriter(segment.buffer, CatalogLayout(int(max_nodes)), crash=meet)
    for _ in range(1000):
        version = writer.version + 1
        changed = {page: page_bytes(page, version) for page in range(int(page_count))}
        writer.publish(changed, time.monotonic_ns())


def race(ledger_name: str, rows_name: str, witness_name: str, index: str, seconds: str) -> None:
    """Reserve and release single slots against others; report how often two held one."""
    me = int(index)
    ledger_segment = attach_segment(ledger_name, writable=True)
    ledger = Ledger(ledger_segment.buffer, max_nodes=RACE_ROWS, worker_count=RACE_WORKERS)
    standing = NodeRows(
        attach_segment(rows_name, writable=False).buffer, max_nodes=RACE_ROWS
    ).standing
    witness = attach_segment(witness_name, writable=True).buffer.cast("Q")
    own = OwnLedger(ledger, me)
    outcomes = [0] * len(Reserve)
    together = 0
    stop_at_ns = time.monotonic_ns() + int(float(seconds) * 1e9)
    while time.monotonic_ns() < stop_at_ns:
        for turn in range(200):
            row = turn % RACE_ROWS
            outcome = own.reserve(row, standing, standing[row])
            outcomes[outcome] += 1
            if outcome is Reserve.OK:
                together += _hold(witness, row, me)
                own.release(row)
    print(json.dumps({"outcomes": outcomes, "together": together}))


def _hold(witness: memoryview, row: int, me: int) -> int:
    """Say that we hold the row, and return how many others say so too."""
    start = 8 + RACE_WORKERS * row
    witness[start + me] = 1
    lock_fence()
    holders = sum(witness[start : start + RACE_WORKERS])
    witness[start + me] = 0
    return holders - 1


def look(name: str) -> None:
    """Attach, read a byte, and exit."""
    segment = attach_segment(name, writable=False)
    print(json.dumps(segment.buffer[0]))


def touch(name: str) -> None:
    """Attach, wait for a line, say whether the segment is intact; touch it at the next line."""
    segment = attach_segment(name, writable=False)
    print("attached", flush=True)
    sys.stdin.readline()
    print(json.dumps(segment.is_intact()), flush=True)
    sys.stdin.readline()
    print(json.dumps(segment.buffer[0]), flush=True)


def keep(path: str) -> None:
    """Hold a lock file until killed or told to end."""
    lock = acquire_lock(Path(path))
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()


ROLES: dict[str, Callable[..., None]] = {
    role.__name__: role for role in (publish, crash, race, look, touch, keep)
}

if __name__ == "__main__":
    signal.alarm(
        max(PATIENCE_S, int(2 * campaign_s()))
    )  # whoever waits for us reads an end of file instead of waiting on
    ROLES[sys.argv[1]](*sys.argv[2:])
