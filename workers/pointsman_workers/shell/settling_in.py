"""What a worker asks of its interpreter and of the kernel before it serves."""

import gc
from importlib.metadata import version

from pointsman_shm.config_load import ConfigError
from pointsman_shm.memory.header import LayoutMismatch
from pointsman_shm.memory.segment import SegmentForeign
from pointsman_shm.state_files import StateFileError
from pointsman_wire.sockets.unix_sockets import PathInUse
from pointsman_workers.journal.judging import JournalDamaged, JournalForeign
from pointsman_workers.journal.segment_files import JournalFailed
from pointsman_workers.shell.sharing.unfit import RedisUnfit

OOM_SCORE = "500"
# Looked up as the program is read, because that takes tens of milliseconds.
VERSION = version("pointsman")
# What a start can meet with that is no bug of ours.
START_ERRORS = (
    ConfigError,
    JournalDamaged,
    JournalFailed,
    JournalForeign,
    LayoutMismatch,
    OSError,
    PathInUse,
    RedisUnfit,
    SegmentForeign,
    StateFileError,
)


def settle_garbage_collector() -> None:
    """Never walk what was there at the start again, and walk what jobs leave behind seldom.

    The window keeps some 100,000 ended jobs: a full collection would walk them all and hold up
    everything for as long, and it would find nothing, because jobs make no cycles.  A spare does
    this before it waits as well: a start then walks only what it has read of the journal.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000)


def raise_oom_score() -> None:
    """Let the kernel, short of memory, kill a worker before the manager."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
    except OSError:  # a system without it, or that forbids it
        return
