"""A whole cluster: one instance, its nodes, its clients, on one virtual clock."""

from typing import Any

from pointsman_sim.history import History
from pointsman_sim.invariants import Invariants
from pointsman_sim.parts.agent_part import NodeSite
from pointsman_sim.parts.client_part import ClientSite
from pointsman_sim.parts.instance import Instance
from pointsman_sim.settings import Settings, config_of
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.network import Network
from pointsman_sim.world.process import Process, World
from pointsman_sim.world.schedule import Schedule

START_NS = 1_000 * S


class Cluster:
    """Everything that is simulated; nothing runs before `start` and but by `schedule`."""

    def __init__(self, settings: Settings) -> None:
        seed = settings.seed
        self.settings = settings
        self.schedule = Schedule(START_NS)
        self.history = History(self.schedule, settings.tail)
        self.network = Network(seed, self.schedule)
        self.world = World(seed, self.schedule, self.network, self.history)
        self.instance = Instance(self.world, config_of(settings), settings.workers)
        witnesses: list[Any] = []
        self.nodes = [NodeSite(self.world, index, witnesses) for index in range(settings.nodes)]
        self.clients = [
            ClientSite(self.world, index, witnesses) for index in range(settings.clients)
        ]
        self.invariants = Invariants(self.instance, self.nodes, is_calm=not settings.faults)
        self.world.witnesses.append(self.invariants)
        witnesses.append(self.invariants)

    def start(self) -> None:
        """Start the instance, and in the moments after it nodes and clients."""
        dice = Dice(self.settings.seed, "start")
        self.instance.start()
        for node in self.nodes:
            self.schedule.after(dice.between(0, 300 * MS), node.start)
        for client in self.clients:
            self.schedule.after(dice.between(100 * MS, 800 * MS), client.start)

    def processes(self) -> list[Process]:
        """Return every process that lives, in a fixed order."""
        found: list[Process | None] = [self.instance.manager, *self.instance.workers]
        found += [node.process for node in self.nodes]
        found += [client.process for client in self.clients]
        return [process for process in found if process is not None and process.is_alive]
