"""ManagementState: the truth about the fleet, and the few ways in which it is shown.

Everything that a turn of the core may touch hangs here; the modules beside this one are functions
over it.  `show_row` alone writes a node's standing word, `touch_record` alone has its page built
anew: so a change is visible exactly when one of them was called.
"""

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pointsman_sched.core.events import Alarm, RegistryEntry
from pointsman_sched.core.fleet.class_interner import ClassesFull, ClassInterner
from pointsman_sched.core.fleet.damping import RegistrationDamping
from pointsman_sched.core.fleet.health import BadWindow
from pointsman_sched.core.fleet.homecoming import Homecoming
from pointsman_sched.core.fleet.intervals import STEPS, Intervals, to_ns
from pointsman_sched.core.fleet.model_marks import ModelMarks
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.node_table import NodeTable
from pointsman_sched.core.fleet.node_timers import NodeTimers
from pointsman_sched.core.fleet.pauses import Pauses
from pointsman_sched.core.fleet.quarantine import Quarantine
from pointsman_sched.core.fleet.relief import Relief
from pointsman_sched.core.fleet.row_allocator import RowAllocator
from pointsman_sched.core.fleet.worker_views import WorkerViews
from pointsman_sched.core.joining.identities import Identities
from pointsman_sched.core.joining.introductions import Introductions
from pointsman_sched.core.joining.lobby import Lobby
from pointsman_sched.core.joining.pairing import PairingCodes
from pointsman_sched.core.outbox import Outbox
from pointsman_sched.core.setup import ManagerSetup, SharedMemory
from pointsman_shm.config import NodesConfig
from pointsman_shm.config_live import tenant_places
from pointsman_shm.logs.events import Event
from pointsman_shm.mass_loss import MassLossGuard
from pointsman_shm.memory.catalog_layout import CLASSES_PER_PAGE
from pointsman_shm.memory.rows import GENERATION_SHIFT, PERCENT_UNKNOWN, RowFlag, pack_standing
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.rules.pool_planner import Moves, PoolPlanner
from pointsman_shm.snapshot.records import CapabilityClass, NodeRecord
from pointsman_wire.link import Connection
from pointsman_wire.preamble import Secured

NEVER_NS = 1 << 63

if TYPE_CHECKING:
    from pointsman_sched.core.federation.rounds import Federation
    from pointsman_sched.core.orders.rebuild import Rebuild

# A registry remembers this many times the fleet; then the node ids longest gone are forgotten.
KNOWN_PER_NODE = 10
MARKED = int(RowFlag.MARKED)
PAUSED = int(RowFlag.PAUSED)
DRAINED = int(RowFlag.DRAINED)


class Peer:
    """One control connection; `node` is set exactly while it is that node's connection."""

    __slots__ = ("address", "is_ended", "is_overdue", "look_at_ns", "node", "secured")

    def __init__(self, address: str, secured: Secured | None = None) -> None:
        self.address = address
        # What TLS has proven; None on the plaintext port.
        self.secured = secured
        # When to look whether its certificate is in force still; was it told that it is late?
        self.look_at_ns = 0 if secured is not None else NEVER_NS
        self.is_overdue = False
        self.node: Node | None = None
        # We closed it: what still comes from it is not heard.
        self.is_ended = False

    def certificate_lasts(self, begins_at_s: int, ends_at_s: int) -> None:
        """It was given a newer certificate, of the same name and key."""
        assert self.secured is not None
        self.secured = msgspec.structs.replace(
            self.secured, begins_at_s=begins_at_s, ends_at_s=ends_at_s
        )
        self.is_overdue = False


class ManagementState:
    """All state of the registry core."""

    def __init__(self, setup: ManagerSetup) -> None:
        config = setup.config
        # The configuration in force; what config_live.py names of it may change while we run.
        self.config = config
        self.config_version = 1
        # Where workers count what listed tenants do: who stays keeps his place.
        self.tenant_places = tenant_places(config.tenants.listed)
        # Another one that is being put in force.
        self.rebuild: Rebuild | None = None
        # The planner that was in force before, while it is taken apart.
        self.retired: PoolPlanner | None = None
        nodes = config.nodes
        memory = setup.memory
        self.setup = setup
        self._take_memory(memory)
        self._begin_time(setup.started_at_ns)
        self.outbox = Outbox()
        self.peers: dict[Connection, Peer] = {}
        # Those that have not registered yet.
        self.strangers: set[Connection] = set()
        self.lobby = Lobby()
        self.nodes = NodeTable(nodes.max_nodes)
        generations = [word >> GENERATION_SHIFT for word in memory.rows.standing]
        self.rows = RowAllocator(generations, memory.ledger.held)
        self.classes = ClassInterner(
            classes_max=nodes.classes_max,
            per_owner_max=nodes.classes_per_owner_max,
            per_page=CLASSES_PER_PAGE,
        )
        self.planner = PoolPlanner(config.pools)
        self.timers = NodeTimers()
        self.intervals = Intervals(nodes)
        self.intervals_ns = self.intervals.by_step_ns(0, 1)  # as of the begin of the turn
        self.relief = Relief()
        self.homecoming = Homecoming(to_ns(nodes.mass_loss_hold_s))
        self._set_patience(nodes)
        self.identities = Identities(setup.registry, KNOWN_PER_NODE * nodes.max_nodes)
        self.pairing = PairingCodes(setup.entropy)
        self.introductions = Introductions(setup.entropy)
        self.revoked_told: dict[str, RegistryEntry] = {}  # bounded: joining/revocations.py
        self.workers = WorkerViews(memory.worker_stats, setup.started_at_ns)
        self.pauses = Pauses(nodes.max_nodes)
        self.silent_count = 0
        # The other instances; None while this one is on its own.
        self.federation: Federation | None = None
        # Pages of the catalog that no longer say what is true.
        self.dirty: set[int] = set()

    def _take_memory(self, memory: SharedMemory) -> None:
        """What is asked for again and again of the memory that others read."""
        self.layout = memory.layout
        self.stats = memory.stats
        self.beat_words = memory.rows.heartbeat_at_ns
        self.load_words = memory.rows.load
        self.held = memory.ledger.held

    def _begin_time(self, now_ns: int) -> None:
        """What `begin_turn` sets anew."""
        self.now_ns = now_ns
        # How long this process did not run while it should have; deadlines do not count it.
        self.late_ns = 0
        # The core's clock: it stands still while the process was late.
        self.clock_ns = now_ns
        self.has_paused = False  # in this turn it was told that it was late
        self.wall_ms = 0  # the wall clock, as nodes are told it
        self.heartbeat_count = 0  # of this turn, counted when it ends
        self.overload_percent = PERCENT_UNKNOWN  # from there on a node is skipped; unknown: never

    def _set_patience(self, nodes: NodesConfig) -> None:
        """What is borne of nodes before something follows from it."""
        self.bad_window = BadWindow(
            in_a_row=nodes.bad_in_a_row, of_window=nodes.bad_of_window, window=nodes.bad_window
        )
        self.guard = MassLossGuard(
            percent=nodes.mass_loss_percent,
            nodes_min=nodes.mass_loss_nodes_min,
            hold_ns=to_ns(nodes.mass_loss_hold_s),
        )
        self.damping = RegistrationDamping(
            free_max=nodes.flap_free_max,
            backoff_max_ns=to_ns(nodes.flap_backoff_max_s),
            calm_ns=to_ns(nodes.flap_calm_s),
            known_max=KNOWN_PER_NODE * nodes.max_nodes,
        )
        self.quarantine = Quarantine(
            takeovers_max=nodes.takeovers_max,
            lasts_ns=to_ns(nodes.quarantine_s),
            known_max=nodes.max_nodes,
        )
        self.marks = ModelMarks(
            last_ns=to_ns(nodes.model_mark_s),
            per_node_max=nodes.model_marks_max,
            window_ns=to_ns(nodes.model_marks_window_s),
        )

    def begin_turn(self, now_ns: int) -> None:
        """Note what holds for all of a turn, however many nodes beat in it."""
        assert now_ns >= self.now_ns, "the clock is monotonic"
        self.now_ns = now_ns
        self.clock_ns = now_ns - self.late_ns
        self.has_paused = False
        self.wall_ms = (now_ns + self.setup.wall_clock_offset_ns) // 1_000_000
        self.intervals_ns = self._by_step_ns()
        self.overload_percent = self.config.nodes.resource_threshold_percent or PERCENT_UNKNOWN

    def was_late(self, late_ns: int) -> None:
        """This process did not run for so long."""
        self.late_ns += late_ns
        self.clock_ns -= late_ns
        self.has_paused = True

    @property
    def wall_s(self) -> int:
        """Return the wall clock's seconds, in which the life of certificates is written."""
        return (self.now_ns + self.setup.wall_clock_offset_ns) // 1_000_000_000

    def interval_ns(self, row: int) -> int:
        """Return how often a node shall beat: more rarely while a process has too much to do."""
        return self._by_step_ns()[row % STEPS]

    def _by_step_ns(self) -> tuple[int, ...]:
        factor = self.relief.factor
        if self.workers.is_any_pressed(self.clock_ns):
            factor = max(factor, 2)
        return self.intervals.by_step_ns(self.nodes.live_count, factor)

    def remember(self, entry: RegistryEntry) -> None:
        """Note whose key proves a node id now; whoever is forgotten for it is so on disk too."""
        for gone in self.identities.admit(entry, self.nodes.by_id.__contains__):
            self.outbox.record(gone)

    def intern_class(self, capability: CapabilityClass, node_id: str) -> int | ClassesFull:
        """Return the number of a class; a new one is published with whatever comes next."""
        known_count = len(self.classes.classes)
        number = self.classes.intern(capability, node_id)
        if isinstance(number, int) and number == known_count:
            self.dirty.add(self.layout.class_page(number))
        return number

    def show_row(self, node: Node) -> None:
        """Write the node's standing word: at once, workers judge by it from now on."""
        flags = node.flags & ~MARKED
        if self.marks.is_marked(node.row, node.generation):
            flags |= MARKED
        node.flags = flags
        if self.pauses.pools and self.is_paused(node):
            flags |= PAUSED
        if node.is_drained_by_operator:
            flags |= DRAINED
        self.setup.memory.rows.standing[node.row] = pack_standing(
            generation=node.generation,
            class_number=node.class_number,
            state=node.state,
            flags=RowFlag(flags),
            slots_max=node.slots_max,
        )  # PUBLISH: the row's other words were written before
        if self.federation is not None and not node.instance:
            self.federation.shown.note_words(node.row)

    def is_paused(self, node: Node) -> bool:
        """Has an operator paused a pool of the node?"""
        paused = self.pauses.pools
        return any(pool in paused for pool in self.planner.pools_of(node.node_id))

    def touch_record(self, node: Node) -> None:
        """Have the node's record built and its page published anew."""
        node.record = None
        self.dirty.add(self.layout.node_page(node.row))
        self.tell_others(node)

    def tell_others(self, node: Node) -> None:
        """Have other instances told who is in the row and what it can do."""
        if self.federation is not None and not node.instance:
            self.federation.shown.note_record(node.row)

    def follow_record(self, node: Node) -> None:
        """Have the page published anew if it would say something else of the node.

        Not for its epoch alone, which is in its row: a fleet that registers anew with a new
        manager is as its pages have it, and no worker has to read them again.
        """
        known = node.record
        if known is None or known.epoch != node.epoch:
            self.tell_others(node)
        if known is None or replace(known, epoch=node.epoch) != node.record_in(known.pools):
            self.touch_record(node)

    def record_of(self, node: Node) -> NodeRecord:
        """Return what the node's page holds of it."""
        pools = self.planner.pools_of(node.node_id)
        if node.record is None or node.record.pools != pools:
            node.record = node.record_in(pools)
        return node.record

    def enter_pools(self, node: Node) -> None:
        """Put a living node into the pools that its class and health make."""
        moves = self.planner.add(
            node.node_id, node.class_number, node.capability, is_ready=node.is_ready
        )
        self._apply(moves, node)

    def leave_pools(self, node: Node) -> None:
        """Take a node out of its pools."""
        self._apply(self.planner.remove(node.node_id), node)

    def count_ready(self, node: Node) -> None:
        """Count a node in its pools as Ready or not, as it is now."""
        self.planner.set_ready(node.node_id, node.is_ready)
        self._apply({}, node)

    def _apply(self, moves: Moves, node: Node) -> None:
        """Publish what the pool planner decided, for every node that it moved."""
        self.dirty.add(self.layout.pools)
        if self.rebuild is not None:
            self.rebuild.note(node.node_id)
        for node_id, pools in moves.items():
            moved = self.nodes.by_id.get(node_id)
            if moved is None:
                continue
            if moved.record is None or moved.record.pools != pools:
                self.touch_record(moved)
            if self.pauses.pools:
                self.show_row(moved)

    def set_silent(self, node: Node, is_silent: bool) -> None:
        """Count a node as silent or heard; the mass-loss guard lives on this count."""
        if node.is_silent is not is_silent:
            node.is_silent = is_silent
            self.silent_count += 1 if is_silent else -1
            self.count_fleet()

    def count_fleet(self) -> None:
        """Tell the guard how many of the fleet are silent; the alarm is given once a loss."""
        silent, live = self.silent_count, self.nodes.live_count
        if self.guard.observe(self.clock_ns, silent, live):
            self.stats.add(Counter.MASS_LOSSES)
            words = (
                f"{silent} of {live} nodes went silent at once: nobody is declared dead until they "
                f"are back, for at most {self.config.nodes.mass_loss_hold_s:g} s; look at the "
                "network first"
            )
            self.outbox.wish(Alarm(words, Event.FLEET_ALARM))
