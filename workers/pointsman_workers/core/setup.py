"""What a worker core is given at birth; everything else reaches it as events."""

from collections.abc import Callable

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.tokens.judging import KnownToken
from pointsman_workers.core.events import JournalState
from pointsman_workers.journal.entries import Recovered


class SharingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs are shared with other instances over Redis."""

    lease_s: float = 45.0  # of a binding
    is_local: bool = False  # without Redis, jobs are accepted for this instance alone


class WorkerMemory(msgspec.Struct, frozen=True):
    """The shared structures, on heap buffers or mapped segments."""

    layout: CatalogLayout
    catalog: CatalogReader
    rows: NodeRows
    ledger: Ledger
    own_ledger: OwnLedger
    waiting: WaitingWords
    stats: StatsPage


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Who this worker is.  `entropy(n)` gives n random bytes; `stopwatch()` nanoseconds.

    The stopwatch only measures; no decision reads it.
    """

    config: Config
    memory: WorkerMemory
    worker_index: int
    worker_count: int
    instance: str
    instance_uid: str
    epoch: int
    ticket_key: bytes
    # Where the journal stands and what a predecessor left in it; None: jobs live in memory only.
    journal: JournalState | None = None
    recovered: Recovered = Recovered()
    # None: there is no Redis, and this instance is alone.
    sharing: SharingSettings | None = None
    # The tokens of clients that count at the start.
    tokens: tuple[KnownToken, ...] = ()
    address: str = ""
    server_version: str = ""
    entropy: Callable[[int], bytes]
    stopwatch: Callable[[], int]
