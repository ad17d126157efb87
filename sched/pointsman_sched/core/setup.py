"""What the registry core is given once, at birth: configuration, memory, and its own past."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from pointsman_sched.core.events import RegistryEntry
from pointsman_sched.core.federation.settings import FederationSettings
from pointsman_shm.config import Config

if TYPE_CHECKING:
    from pointsman_sched.core.joining.certified import Authority
    from pointsman_shm.memory.catalog_layout import CatalogLayout
    from pointsman_shm.memory.catalog_writer import CatalogWriter
    from pointsman_shm.memory.ledger import Ledger
    from pointsman_shm.memory.rows import NodeRows
    from pointsman_shm.memory.stats import StatsPage
    from pointsman_shm.memory.waiting import WaitingWords


def pass_crash_point(point: str) -> None:
    """Do nothing at a named point; a test's replacement kills the process there."""


def no_stopwatch() -> int:
    """Measure nothing; the shell gives a real clock, used for statistics only."""
    return 0


class SharedMemory(msgspec.Struct, frozen=True):
    """The structures of one instance; fresh, or as a predecessor left them."""

    layout: "CatalogLayout"
    catalog: "CatalogWriter"
    rows: "NodeRows"
    ledger: "Ledger"
    stats: "StatsPage"
    waiting: "WaitingWords"
    # One page for each worker, read for its applied_version.
    worker_stats: tuple["StatsPage", ...]


class ManagerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a registry core needs; `started_at_ns` is the monotonic now of its birth."""

    config: Config
    memory: SharedMemory
    started_at_ns: int
    worker_count: int
    ticket_key: bytes
    entropy: Callable[[int], bytes]
    instance: str = "default"
    instance_uid: str = ""
    server_version: str = ""
    # Where clients dial in, for people who ask.
    address: str = ""
    # Where other instances may send their clients and nodes; "": nowhere.
    advertised: str = ""
    process_id: int = 0
    # The registry file, oldest entry first; a later entry of a node id replaces an earlier one.
    registry: tuple[RegistryEntry, ...] = ()
    # Wall clock minus monotonic clock, so that nodes can be told the server's time.
    wall_clock_offset_ns: int = 0
    # None: this instance is on its own.
    federation: FederationSettings | None = None
    # Signs certificates of nodes; None: there is no TLS port.
    authority: "Authority | None" = None
    crash: Callable[[str], None] = pass_crash_point
    stopwatch_ns: Callable[[], int] = no_stopwatch
