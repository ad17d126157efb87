"""The server's host: its memory, its files, its processes, and a supervisor that restarts them.

The host itself never dies here: connections to a dead process are kept for its successor, as the
listening socket and the other workers keep them.
"""

import gc

from pointsman_sched.core.events import RegistryEntry
from pointsman_shm.config import Config
from pointsman_shm.state_files import TICKET_KEY_SIZE, ticket_key_for
from pointsman_sim.parts.manager_part import ManagerProcess
from pointsman_sim.parts.uplinks import Uplinks
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_sim.world.dice import MS, Dice
from pointsman_sim.world.journal_disk import JournalDisk
from pointsman_sim.world.memory import HostMemory
from pointsman_sim.world.process import World
from pointsman_sim.world.wires import Wire
from pointsman_wire.preamble import Role
from pointsman_workers.core.events import BellRang, RingWorker

MANAGER = -1
RESTART_NS = (20 * MS, 1_500 * MS)


class Instance:
    """One instance of the service."""

    def __init__(self, world: World, config: Config, worker_count: int) -> None:
        self._world = world
        self._dice = Dice(world.seed, "host")
        self.config = config
        self.worker_count = worker_count
        self.memory = self._new_memory()
        # What lies on the disk.
        self.uid = self._dice.entropy(8).hex()
        self._ticket_key = self._dice.entropy(TICKET_KEY_SIZE)
        self.registry: list[RegistryEntry] = []
        self._epochs = [0] * worker_count
        self.job_names: list[dict[int, str]] = [{} for _ in range(worker_count)]
        self.disks = [
            JournalDisk(world.schedule, Dice(world.seed, f"disk {index}"))
            for index in range(worker_count)
        ]
        self._manager_lives = 0
        self._is_memory_ready = False
        # What runs.
        self.manager: ManagerProcess | None = None
        self.workers: list[WorkerProcess | None] = [None] * worker_count
        self.uplinks = Uplinks(world, self)
        # Connections whose owner is dead, by worker index or MANAGER.
        self._kept: dict[int, list[Wire]] = {}
        world.network.host = self

    def _new_memory(self) -> HostMemory:
        now_ns = self._world.schedule.now_ns
        return HostMemory(self.config.nodes.max_nodes, self.worker_count, born_at_ns=now_ns)

    @property
    def ticket_key(self) -> bytes:
        """Return the key of lane tickets as long as this memory lasts."""
        return ticket_key_for(self._ticket_key, (self.memory.born_at_ns, 0))

    def start(self) -> None:
        """Start every process, the manager first."""
        self.start_manager()
        for index in range(self.worker_count):
            self.start_worker(index)

    # ---- processes

    def start_manager(self) -> None:
        """Start a manager over what the last one left."""
        if self.manager is not None:
            return
        self._manager_lives += 1
        if not self._is_memory_ready:
            self._is_memory_ready = True
            self.memory = self._new_memory()
        self._world.history.note("manager", "starts")
        self.manager = ManagerProcess(self._world, self, self._manager_lives)
        self._take_up(MANAGER)
        for index in range(self.worker_count):
            self.uplinks.connect(index)

    def start_worker(self, index: int) -> None:
        """Start a worker: its shard's epoch is raised and stored before anything else."""
        if self.workers[index] is not None:
            return
        if not self._is_memory_ready:  # a worker waits for the manager to make the segments
            self._world.schedule.after(50 * MS, lambda: self.start_worker(index))
            return
        self._epochs[index] += 1
        self._world.history.note(f"worker-{index}", "starts", f"epoch {self._epochs[index]}")
        self.workers[index] = WorkerProcess(self._world, self, index, self._epochs[index])
        self._take_up(index)
        self.uplinks.connect(index)

    def manager_died(self) -> None:
        """Start another manager in a while."""
        self.manager = None
        for index in range(self.worker_count):
            self.uplinks.broken(index)
        self._world.schedule.after(self._dice.between(*RESTART_NS), self.start_manager)

    def worker_died(self, index: int) -> None:
        """Start another worker in a while."""
        self.workers[index] = None
        name = f"worker-{index}"
        self._world.struck("worker_death", name, level="journal", shard=index)
        self.uplinks.broken(index)
        self._world.schedule.after(
            self._dice.between(*RESTART_NS), lambda: self.start_worker(index)
        )

    def crash(self) -> None:
        """Every process dies and the shared memory with them; the files stay."""
        for process in (self.manager, *self.workers):
            if process is not None:
                process.kill()
        self._is_memory_ready = False

    def let_go(self) -> None:
        """The run is over: nothing of those that still live shall be kept."""
        for worker in self.workers:
            if worker is not None:
                worker.let_go()
        gc.collect()  # by itself it comes so seldom that many runs' catalogs add up

    def lose_power(self) -> int:
        """Everything dies, and a tail of what was not synced is lost; return how many turns."""
        self.crash()
        self._world.struck("power_loss", "host", level="fsync")
        return sum(disk.lose_power() for disk in self.disks)

    def ring(self, ringer: WorkerProcess, command: RingWorker) -> None:
        """Carry a ring to another worker; now and then one is lost."""
        if self._dice.chance(0.02):
            return
        event = BellRang(ringer.index, command.class_number)
        self._world.schedule.after(
            self._dice.between(20_000, MS), lambda: self._rung(command.worker_index, event)
        )

    def _rung(self, index: int, event: BellRang) -> None:
        worker = self.workers[index]
        if worker is not None:
            worker.post(event)

    # ---- connections

    def arrived(self, wire: Wire) -> None:
        """Give a connection to its owner, or keep it for the owner's successor."""
        owner = self._owner_of(wire)
        process = self.manager if owner == MANAGER else self.workers[owner]
        if process is None:
            self._kept.setdefault(owner, []).append(wire)
        else:
            self._world.network.adopt(wire, process)

    def _owner_of(self, wire: Wire) -> int:
        role, key = wire.preamble.role, wire.preamble.key
        if role is Role.CONTROL:
            return MANAGER
        if key is None:
            return self._dice.between(0, self.worker_count - 1)
        return key % self.worker_count

    def _take_up(self, owner: int) -> None:
        """A successor is there: it gets the connections that were kept for it."""
        for wire in self._kept.pop(owner, []):
            if not wire.ends[1].is_over:
                self.arrived(wire)
