"""What the pages of the catalog hold: the records, and nothing else.

Every struct travels as a msgpack array (`array_like`), so fields are only ever appended. All
are frozen, hold only strings, numbers and tuples, and so need no cycle collector (`gc=False`):
a decoded fleet of 100,000 nodes adds nothing to a collection. Tuples of names are sorted and
without repeats, so that equal capability means equal bytes and one interned class.

  page     holds                           published when
  node     NodePage: records of 256 rows   a node joins, leaves, changes class or pools
  class    ClassPage: 64 classes           a class is appended (numbers are never reused)
  pools    PoolsPage                       membership, readiness or the set of pools changes
  config   ConfigPage                      the configuration changes
  marks    MarksPage                       a model is marked, a mark runs out
  policy   PolicyPage                      an override, the set of instances or an order changes
"""

from typing import Annotated

import msgspec

from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.catalog_layout import CLASS_COUNT_MAX
from pointsman_shm.rules.catalogue import Catalogue

# A larger record is refused at registration, so that a full page always fits its slot.
NODE_RECORD_SIZE_MAX = 496
CLASS_RECORD_SIZE_MAX = 2032


class NmtAbility(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which pairs a node translates; `rule` is an NmtRule value, "" when it does not."""

    rule: str = ""
    languages: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    blocked: tuple[tuple[str, str], ...] = ()


class LanguageAbility(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Languages by service, normalised and sorted."""

    asr: tuple[str, ...] = ()
    tts: tuple[str, ...] = ()
    semantic: tuple[str, ...] = ()
    nmt: NmtAbility = NmtAbility()


class CapabilityClass(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that selection compares of a node, shared by every node of equal capability."""

    tenant: str = ""
    public: bool = True
    gpu: bool = False
    types_installed: tuple[str, ...] = ()
    types_ready: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()  # (service type, version): what a mark names
    features: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    languages: LanguageAbility = LanguageAbility()


class NodeRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One node as the snapshot knows it; what changes by the second is in its row words."""

    row: int
    generation: int
    epoch: int  # when the page was last built; the row's word is newer
    class_number: int
    node_id: str
    pools: tuple[int, ...]
    slots_max: int
    instance: str = ""  # to which it is connected; "" for the own one


NodePage = tuple[NodeRecord, ...]


class ClassPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Classes `first`, `first + 1`, ...: at most 64 of them."""

    first: int
    classes: tuple[CapabilityClass, ...]


ClassNumber = Annotated[int, msgspec.Meta(ge=0, lt=CLASS_COUNT_MAX)]
NodeCount = Annotated[int, msgspec.Meta(ge=0)]


class PoolRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One pool: what it demands, and its members counted by class."""

    id: int
    name: str
    required_types: tuple[str, ...] = ()  # empty: a wildcard
    languages: tuple[str, ...] = ()  # the exact set of an automatic language pool, else empty
    # (class number, not Offline, Ready), sorted
    classes: tuple[tuple[ClassNumber, NodeCount, NodeCount], ...] = ()


class PoolsPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All pools, sorted by id; `mode` is a PoolMode value."""

    mode: str = "hash"
    pools: tuple[PoolRecord, ...] = ()


class ConfigPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of the configuration that a placement reads, and what workers follow."""

    require_gpu: bool = False
    resource_threshold_percent: int = 85
    pools: PoolsConfig = PoolsConfig()
    catalogue: Catalogue = Catalogue()
    live: bytes = b""  # keys that change while workers run (config_live.py); b"": none is told


class MarkRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Skip this service of this node, if it still has that version, until then (monotonic)."""

    row: int
    generation: int
    service: str
    version: str
    until_ns: int


MarksPage = tuple[MarkRecord, ...]


class InstanceRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Another instance of the fleet; one that is gone is remembered for a while."""

    name: str
    uid: str
    worker_count: int
    alive: bool


class OrdersRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Orders of operators that stand until they are taken back; a successor goes on with them."""

    is_paused: bool = False  # no new jobs are taken at all
    paused_pools: tuple[int, ...] = ()
    kept_out: tuple[tuple[str, int, str], ...] = ()  # (id, until when, why); monotonic
    drains: tuple[tuple[str, int], ...] = ()  # (id, until when what runs may run; 0: it was ended)
    # (id, key of its languages) of paused pools: who has no nodes now is in no page of pools.
    pool_keys: tuple[tuple[int, int], ...] = ()
    # (mode, ids) of pools that were paused when pools of another mode took their place.
    paused_aside: tuple[tuple[str, tuple[int, ...]], ...] = ()


class PolicyPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Policy in force: (tenant, pool id) overrides and the other instances, both sorted, and
    what operators have ordered."""

    tenant_overrides: tuple[tuple[str, int], ...] = ()
    instances: tuple[InstanceRecord, ...] = ()
    orders: OrdersRecord = OrdersRecord()


class Requirement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a job asks of a node; hashable, the key of every candidate cache.

    `src` and `tgt` are normalised; both empty means a job without languages, `src` "auto" means
    any source the node recognises, narrowed to `auto_langs` when that is not empty.
    """

    types: tuple[str, ...]
    src: str = ""
    tgt: str = ""
    auto_langs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    tenant: str = ""
    accept_public: bool = True
