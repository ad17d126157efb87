"""The reading view of the fleet: one pinned snapshot, its index, and the words of shared memory.

A step refreshes at most once, before anything else; all placements of the step then use the same
snapshot.  Words (standing, load, ledger) are read as they are now, once for a sample; whether they
still hold, the reservation looks.
"""

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT, GENERATION_SHIFT
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.rules.eligibility import uses_semantic
from pointsman_shm.snapshot.codec import SnapshotCorrupt
from pointsman_shm.snapshot.fleet_index import FEASIBLE, FleetIndex
from pointsman_shm.snapshot.records import CapabilityClass, ConfigPage
from pointsman_shm.snapshot.snapshot import RuntimeSnapshot, decode_pages, empty_snapshot
from pointsman_workers.core.setup import WorkerMemory
from pointsman_workers.explain.names import FormerNames, NodesByName
from pointsman_workers.placement.checks import ANYWHERE, ANYWHERE_STALE, Judgement, Ranking
from pointsman_workers.placement.draws import Draws
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.paces import Lacks, Pace, Paces
from pointsman_workers.placement.room import Room
from pointsman_workers.placement.trail import Leg

if TYPE_CHECKING:
    from pointsman_workers.placement.trail import Sample

RELEASED_KEPT = 64
READINGS_A_JOB_MIN = 4  # of a sample that jobs share,
SHARED_READINGS_MAX = 32  # which grows so far with the jobs that come at once
# All that a fleet has, for who looks at one as it is without being it: a dry run.
FIELDS = (
    *("_memory", "_undecoded", "snapshot", "index", "standing", "load", "held", "row_words"),
    *("lacks", "own", "beat_at_ns", "lane_generations", "rows_by_node", "nobody", "paces", "room"),
    *("is_stale", "is_blind", "draws", "former_names", "nodes_by_name", "trail", "sample"),
    *("tally", "stopwatch", "observe_session", "release_count", "released", "now_ns"),
    *("clock_ns", "sample_size", "has_weighted_choice", "has_habits", "is_sticky", "spread_ns"),
    *("has_weighted_pools", "sampled_count", "hit_count", "sample_max", "sample_next"),
)


class Fleet:
    """What a worker knows of nodes, and its hand in the ledger."""

    __slots__ = FIELDS

    def __init__(self, memory: WorkerMemory, seed: int) -> None:
        self._memory = memory
        self._undecoded: dict[int, bytes] = {}
        self.snapshot: RuntimeSnapshot = empty_snapshot(memory.layout)
        self.index = FleetIndex(memory.rows.max_nodes)
        self.standing = memory.rows.standing
        self.load = memory.rows.load
        self.held = memory.ledger.held
        self.row_words = memory.ledger.row_words
        self.own = memory.own_ledger
        self.beat_at_ns = memory.catalog.beat_at_ns
        # By row: the generation to which our lane is up.  0 says none; generation 0 is never used.
        # NO_ROOM_FOR_US: it is up, and leads to a node of another instance that is full for now.
        # A list, because the interpreter reads one five times as fast as an array.
        self.lane_generations = [0] * memory.rows.max_nodes
        self.rows_by_node: dict[str, int] = {}  # of the nodes that have, or just had, a lane to us
        self.nobody = array("I")
        self.paces = Paces(memory.rows.max_nodes)
        self.lacks = Lacks()
        self.room = Room(self.standing, self.load, self.held)
        self.is_stale = False  # the manager is silent: what it wrote of loads says nothing now
        self.is_blind = False  # it is so for so long that only nodes that answer us get jobs
        self.draws = Draws(seed)
        self.former_names = FormerNames()
        self.nodes_by_name = NodesByName()
        self.trail: list[Leg] = []  # what the decision that is being made has looked at
        self.sample: Sample | None = None  # of this turn, for the next job of its kind,
        self.sample_next = 0  # and at how many nodes the next one looks; anew in each turn
        # What is counted with every job, by counter, until it is told.
        self.tally: dict[int, int] = defaultdict(int)
        self.sampled_count = 0  # the same: slots that were reserved from samples,
        self.hit_count = 0  # and how often a session kept its pool, with a slot in the first one
        # For each session decision that is really made: what it took is told.
        self.stopwatch: Callable[[], int] = int
        self.observe_session: Callable[[int], None] = lambda took_ns: None
        self.release_count = 0  # slots that this worker has given back
        self.released: deque[int] = deque(maxlen=RELEASED_KEPT)  # the rows of the latest of them
        self.now_ns = 0  # the core's time
        self.clock_ns = 0  # the host's monotonic clock, as instants in shared memory are
        self._follow_config()

    def _follow_config(self) -> None:
        pools = self.config.pools
        self.sample_size = self.sample_max = pools.sample_size
        if pools.sample_size >= 2 * READINGS_A_JOB_MIN:  # else each job has its own
            self.sample_max = max(pools.sample_size, SHARED_READINGS_MAX)
        self.has_weighted_choice = pools.node_choice == "weighted"
        self.has_habits = pools.spread or pools.sticky
        self.is_sticky = pools.sticky
        self.spread_ns = int(pools.spread_window_s * 1e9) if pools.spread else 0
        self.has_weighted_pools = pools.pool_choice == "weighted"
        self.paces.slow_start_ns = int(pools.slow_start_s * 1e9)

    def time_sessions(self, stopwatch: Callable[[], int], stats: StatsPage) -> None:
        """Have each session decision that is really made put on the page what it took."""
        self.stopwatch = stopwatch
        self.observe_session = partial(stats.observe, Timing.SESSION_DECISION)

    @property
    def config(self) -> ConfigPage:
        """The part of the configuration that the manager has published."""
        return self.snapshot.config

    @property
    def version(self) -> int:
        """The version of the pinned snapshot."""
        return self.snapshot.version

    def ranking(self, excluded: frozenset[int] = frozenset()) -> Ranking:
        """What the next decision weighs beside its readings."""
        if self.has_weighted_choice:
            return Ranking(excluded, is_stale=self.is_stale, draw=self.draws.number())
        if excluded:
            return Ranking(excluded, is_stale=self.is_stale)
        return ANYWHERE_STALE if self.is_stale else ANYWHERE

    def age_ns(self) -> int:
        """How long ago the manager gave its last sign of life."""
        beat_at_ns = self.beat_at_ns()
        return max(0, self.clock_ns - beat_at_ns) if beat_at_ns else 0

    def is_catalog_younger_than(self, age_ns: int) -> bool:
        """Was the catalog made lately?  It outlives managers, but not the whole service."""
        born_at_ns, _ = self._memory.catalog.identity  # 0 on the heap, where nothing is outlived
        return born_at_ns > 0 and self.clock_ns - born_at_ns < age_ns

    def is_behind(self) -> bool:
        """Is there another snapshot than the pinned one?"""
        return self._memory.catalog.version_word() != self.snapshot.version

    def refresh(self) -> bool:
        """Pin the newest snapshot; False when there is none newer or it cannot be read now."""
        if not self.is_behind():
            return False
        catalog = self._memory.catalog
        retries = catalog.retry_count
        changed = catalog.refresh()
        stats = self._memory.stats
        stats.add(Counter.SNAPSHOT_RETRIES, catalog.retry_count - retries)
        if changed is None:
            return False
        # The reader hands each page out once, so what could not be decoded is tried again with
        # what comes next: a damaged page is mended by its next publish.
        self._undecoded.update(changed)
        try:
            snapshot, change = decode_pages(
                self.snapshot,
                self._undecoded,
                self._memory.layout,
                version=catalog.version,
                published_at_ns=catalog.published_at_ns,
            )
        except SnapshotCorrupt:
            stats.add(Counter.BAD_FRAMES)
            return False
        self._undecoded = {}
        self.former_names.follow(self.snapshot, snapshot, change.node_pages)
        self.snapshot = snapshot
        self.index.apply(snapshot, change)
        self._follow_config()
        stats.add(Counter.SNAPSHOT_REFRESHES)
        stats.gauge(Gauge.APPLIED_VERSION, snapshot.version)
        return True

    def prepare(self, kind: Kind) -> None:
        """Bring what a kind remembers up to the pinned snapshot."""
        if kind.version == self.snapshot.version:
            return
        kind.version = self.snapshot.version
        kind.codes = self.index.feasible(kind.requirement)
        types = kind.requirement.types
        kind.judgement = Judgement(
            kind.codes, is_barred=lambda row, word: self.is_marked(row, word, types)
        )
        kind.slowness = self.paces.slowness(types)
        kind.lists = {}
        kind.full_pools_known = {}
        kind.orders = {}
        kind.uses_semantic = {}
        kind.walk = None
        kind.full_until_ns = 0
        mask = 0
        for bit in range(min(64, len(kind.codes))):
            if FEASIBLE in kind.codes[bit::64]:
                mask |= 1 << bit
        kind.class_mask = mask

    def begin_pace(self, kind: Kind) -> Pace | None:
        """A node has done such work: from now on the pace of the kind orders its candidates."""
        kind.pace = self.paces.of(kind.requirement.types)
        kind.slowness = self.paces.slowness(kind.requirement.types)
        return kind.pace

    def candidates(self, kind: Kind, pool_id: int | None) -> "array[int]":
        """Rows of the pool (None: of the whole fleet) whose class can do the kind."""
        rows = kind.lists.get(pool_id)
        if rows is None:
            rows = kind.lists[pool_id] = self.index.candidates(pool_id, kind.requirement)
        return rows

    def pools_of(self, row: int) -> tuple[int, ...]:
        """The pools of the node in a row."""
        record = self.index.record(row)
        return record.pools if record is not None else ()

    def home_of(self, row: int) -> str:
        """The instance to which the node in a row is connected; empty: ours."""
        record = self.index.record(row)
        return record.instance if record is not None else ""

    def class_number(self, row: int) -> int:
        """The capability class of the node in a row, as its standing says now."""
        number: int = self.standing[row] >> CLASS_SHIFT & CLASS_MASK
        return number

    def capability(self, row: int) -> CapabilityClass | None:
        """The capability class itself, None while its page has not been read."""
        return self.snapshot.class_of(self.class_number(row))

    def uses_semantic(self, kind: Kind, row: int) -> bool:
        """Does a job of this kind on this node have its semantic repair as well?"""
        number = self.standing[row] >> CLASS_SHIFT & CLASS_MASK
        known = kind.uses_semantic.get(number)
        if known is not None:
            return known
        capability = self.snapshot.class_of(number)
        if capability is None:
            return False
        is_used = "semantic" in capability.types_ready and uses_semantic(
            capability, kind.requirement
        )
        kind.uses_semantic[number] = is_used
        return is_used

    def node_id(self, row: int) -> str:
        """The id of the node in a row, "" when the snapshot has none there."""
        record = self.index.record(row)
        return record.node_id if record is not None else ""

    def is_marked(self, row: int, word: int, types: tuple[str, ...]) -> bool:
        """Is one of these services marked as lacking its model on this node, still?"""
        generation = word >> GENERATION_SHIFT
        capability = self.snapshot.class_of(word >> CLASS_SHIFT & CLASS_MASK)
        versions = capability.versions if capability is not None else ()
        return any(
            mark.generation == generation
            and mark.service in types
            and mark.until_ns > self.clock_ns
            and (not mark.version or (mark.service, mark.version) in versions)
            for mark in self.snapshot.marks_of(row)
        )

    def lacking(self, types: tuple[str, ...]) -> frozenset[int]:
        """Rows of nodes that have just said that they lack the model of one of these services."""
        lanes, places = self.lane_generations, self.lacks.places(types, self.now_ns)
        return frozenset(row for row, generation in places if lanes[row] == generation)

    def set_lane(self, row: int, generation: int) -> None:
        """From now on our lane is up to this generation; 0 and NO_ROOM_FOR_US: see above."""
        self.lane_generations[row] = generation
        self.sample = None

    def free_slots(self) -> dict[int, int]:
        """By pool: about how many slots are free."""
        return {
            pool_id: self.room.free(pool_id, self._rows_of, self.now_ns)
            for pool_id in self.snapshot.pool_view.pools
        }

    def _rows_of(self, pool_id: int) -> Iterator[int]:
        return chain(*self.index.buckets(pool_id).values())

    def expect(self, job_count: int) -> None:
        """So many jobs may come at once, and share the next sample of this turn."""
        readings = min(READINGS_A_JOB_MIN * job_count, self.sample_max)
        if readings > self.sample_next:
            self.sample_next = readings

    def change_room(self, row: int, slots: int) -> None:
        """This worker has given back (or, negative, taken) slots of this row."""
        self.sample = None
        if self.has_weighted_pools:
            for pool_id in self.pools_of(row):
                self.room.change(pool_id, slots)

    def release(self, row: int) -> bool:
        """Give a slot back; False when the ledger says that none was held."""
        self.release_count += 1
        self.released.append(row)
        self.sample = None
        if self.has_weighted_pools:
            self.change_room(row, +1)
        return self.own.release(row)
