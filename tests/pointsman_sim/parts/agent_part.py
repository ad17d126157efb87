"""A node: a machine with a disk, and on it one agent process after the other."""

from typing import Any

import msgspec
from msgspec.structs import replace

from pointsman.node_core.agent import AgentCore
from pointsman.node_core.events import (
    AgentSetup,
    DrainWished,
    EndJob,
    GiveUp,
    MeasureResources,
    Notice,
    PauseWished,
    ResourcesMeasured,
    ServicesChanged,
    StartJob,
    StateChanged,
    StopJob,
    Stopped,
    StoreEpoch,
    StoreIdentity,
)
from pointsman.recording.agent_scribe import AgentScribe
from pointsman_sim.parts.abilities import draw_register
from pointsman_sim.parts.handlers import Handlers, Manners
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.process import Process, World
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import AssignAck, JobRefused, NodeProgress, NodeResult
from pointsman_wire.link import Frame, Send

RESTART_NS = (50 * MS, 3 * S)


class Disk(msgspec.Struct):
    """What an agent has stored."""

    node_id: str = ""
    key: str = ""
    epochs: dict[tuple[str, int], int] = {}


class AgentProcess(Process):
    """One life of an agent."""

    def __init__(self, world: World, node: "NodeSite", life: int) -> None:
        super().__init__(world, node.name, life)
        self.node = node
        self.clock_offset_ns = self.dice.between(0, 1_000_000) * S
        self.handlers = Handlers(self, node.manners)
        # The fence under which each run was started, for its result to carry.
        self.fences: dict[int, list[str | int]] = {}
        self.lies_until_ns = 0
        register = msgspec.structs.replace(
            node.register, node_id=node.disk.node_id or node.new_id(), key=node.disk.key
        )
        self.core = AgentCore(
            AgentSetup(register=register, entropy=self.dice.entropy, epochs=dict(node.disk.epochs))
        )
        self.scribe = AgentScribe(self.name, register.max_concurrency)
        self.start(self.core)

    def frames_of(self, command: Send) -> list[Frame]:
        """While it lies, say results twice, for jobs it never had and for older attempts."""
        frames: list[Frame] = [(command.message, command.payload)]
        result = command.message
        is_lying = self.world.schedule.now_ns < self.lies_until_ns
        if not is_lying or not isinstance(result, NodeResult):
            return frames
        job_id, epoch, dispatch = result.job_id, result.epoch - 1, result.dispatch
        lie = self.dice.pick(
            (
                result,
                replace(result, job_id="f" * 32),
                replace(result, epoch=epoch),
                JobRefused(job_id=job_id, epoch=epoch, dispatch=dispatch, code=Code.STALE.value),
                AssignAck(number=1),
                NodeProgress(job_id=job_id, epoch=epoch, dispatch=dispatch, percent=1e9),
            )
        )
        self.world.history.counts["lies"] += 1
        return [*frames, (lie, command.payload)]

    def execute(self, command: Any) -> None:
        """Run handlers, store, measure."""
        if isinstance(command, StartJob):
            fence = self.core.jobs.running[command.run].fence
            self.fences[command.run] = [fence.job_id, fence.epoch, fence.dispatch]
            self.handlers.start(command)
            for witness in self.node.witnesses:
                witness.started(self, command)
        elif isinstance(command, StopJob):
            self.handlers.stop(command.run)
        elif isinstance(command, EndJob):
            self.handlers.end_hard(command.run)
        elif isinstance(command, StoreEpoch):
            self.node.disk.epochs[command.instance_uid, command.shard] = command.epoch
        elif isinstance(command, StoreIdentity):
            self.node.disk.node_id, self.node.disk.key = command.node_id, command.key
        elif isinstance(command, MeasureResources):
            self._measure()
        elif isinstance(command, GiveUp | Stopped):
            self.world.history.note(self.name, "is over", str(command))
            if isinstance(command, GiveUp):
                self.node.forget()  # its owner makes a new node of it
            self.kill()
        else:
            assert isinstance(command, StateChanged | Notice), command

    def died(self) -> None:
        """Its owner, or its machine's supervisor, starts it again."""
        self.node.died()

    def _measure(self) -> None:
        is_loaded = self.dice.chance(self.node.overload_share)
        measured = ResourcesMeasured(
            cpu_percent=float(self.dice.between(86, 100) if is_loaded else self.dice.between(0, 80))
        )
        self.world.schedule.after(self.dice.between(0, 5 * MS), lambda: self.post(measured))


class NodeSite:
    """A machine that is a node."""

    def __init__(self, world: World, index: int, witnesses: list[Any]) -> None:
        self._world = world
        self.name = f"node-{index}"
        self.witnesses = witnesses
        dice = self._dice = Dice(world.seed, self.name)
        self.register = draw_register(dice, index)
        self.manners = Manners(
            slow_ns=dice.pick((100 * MS, S, 4 * S)),
            stuck=dice.pick((0.0, 0.0, 0.02)),
            fails=dice.pick((0.0, 0.05, 0.2)),
            lacks_model=dice.pick((0.0, 0.0, 0.03)),
        )
        self.overload_share = dice.pick((0.0, 0.0, 0.1))
        self.disk = Disk()
        self.process: AgentProcess | None = None
        self.lives = 0
        self.forgotten = 0

    def start(self) -> None:
        """Start the agent, unless it runs."""
        if self.process is None or not self.process.is_alive:
            self.lives += 1
            self._world.history.note(self.name, "starts", self.disk.node_id)
            self.process = AgentProcess(self._world, self, self.lives)

    def died(self) -> None:
        """Start again in a while."""
        self._world.schedule.after(self._dice.between(*RESTART_NS), self.start)

    def new_id(self) -> str:
        """Return the id under which the machine first registers; every third has none."""
        if self._dice.chance(0.3):
            return ""
        return f"{self.name}.{self.forgotten}" if self.forgotten else self.name

    def forget(self) -> None:
        """Lose what was stored: the next life is a new node."""
        self.disk = Disk()
        self.forgotten += 1

    def wish(self, dice: Dice) -> None:
        """Let the owner want something of the node."""
        assert self.process is not None
        services = [
            msgspec.structs.replace(service, status=dice.pick(("running", "running", "stopped")))
            for service in self.register.services
        ]
        wish = dice.pick(
            (PauseWished(True), ServicesChanged(services), DrainWished(3.0, "the owner's wish"))
        )
        self._world.history.note(self.name, "wishes", str(wish))
        self.process.post(wish)

    def behave(self) -> None:
        """Let no handler fail any more, nor the machine be overloaded."""
        self.manners = Manners(fails=0, gives_up=0, lacks_model=0, stuck=0)
        self.overload_share = 0.0
        if self.process is not None:
            self.process.handlers.manners = self.manners

    def please(self) -> None:
        """Take every wish of the owner back."""
        if self.process is not None:
            self.process.post(PauseWished(False))
            self.process.post(ServicesChanged(list(self.register.services)))
