"""Nodes of a life: the real Node, and handlers that do all that a handler may."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from sdk_lives.asking import nonces, weighted
from sdk_lives.virtual import PROGRAM, Program, SdkProcess

from pointsman.errors import HandlerUnstoppable, NodeRefused
from pointsman.jobs import Job, JobError, Reply
from pointsman.node import Node
from pointsman.node_core.events import StartJob
from pointsman.node_store import NodeState
from pointsman_sim.history import Violation
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.process import World
from pointsman_wire.control_messages import Hardware, Service
from pointsman_wire.errors import Code

if TYPE_CHECKING:
    from sdk_lives.life import Life

ADDRESS = "127.0.0.1:7400"
RESTART_NS = (50 * MS, 3 * S)
PAIRS = [("en", "es"), ("es", "en"), ("en", "fr")]
ABILITIES: tuple[dict[str, Any], ...] = (
    {"services": ["nmt"], "nmt": PAIRS},
    {"services": ["asr", "nmt", "tts"], "asr": ["en", "es"], "nmt": PAIRS, "tts": ["es", "en"]},
    {"services": ["asr", "nmt"], "asr": ["en"], "nmt": PAIRS[:1]},
)
MANNERS = {
    "answers": 12,
    "streams": 4,
    "says nothing": 1,
    "fails": 1,
    "refuses": 1,
    "raises": 1,
    "returns a number": 0.5,
    "hangs": 0.5,
    "stays": 0.5,
    "pauses": 0.3,
    "changes": 0.3,
}


def answer(job: Job) -> str:
    """Return what a good handler says: the marks of what it was given."""
    return "of " + " ".join(mark.decode() for mark in nonces(job.payload))


class NodeProgram(Program):
    """A machine that runs one node after the other, on what the last one has kept."""

    def __init__(self, life: "Life", index: int) -> None:
        world = life.world
        super().__init__(world, f"node-{index}")
        self._life = life
        self.dice = dice = Dice(world.seed, f"sdk {self.name}")
        self.room = dice.pick((1, 2, 4))
        self.abilities = ABILITIES[1] if index == 0 else dice.pick(ABILITIES)
        self.is_blocking = dice.chance(0.2)
        self.slow_ns = dice.pick((50 * MS, 400 * MS, 2 * S))
        self.has_manners = True
        self.forgotten = 0
        self.kept = NodeState()
        self.node: Node | None = None
        self._task: asyncio.Task[None] | None = None

    # ---- life

    def start(self) -> None:
        """Run, unless it does."""
        if not self._life.is_over and (self._task is None or self._task.done()):
            self._task = self._life.begin(self._live(), self.name)

    async def _live(self) -> None:
        PROGRAM.set(self)
        while True:
            self.node = node = self._new_node()
            with suppress(NodeRefused, HandlerUnstoppable):
                await node.run()
            if node._trouble is not None:
                self._is_over(node)
            self.kept = node._kept
            await asyncio.sleep(self.dice.between(*RESTART_NS) / S)

    def _is_over(self, node: Node) -> None:
        """A node that is refused is made anew; one that cannot end a handler ends its process."""
        self.world.history.note(self.name, "is over", repr(node._trouble))
        if isinstance(node._trouble, NodeRefused):
            self.forget()
            node._kept = self.kept

    def _new_node(self) -> Node:
        name = f"{self.name}.{self.forgotten}" if self.forgotten else self.name
        node = Node(
            ADDRESS,
            node_id=name,
            max_concurrency=self.room,
            hardware=Hardware(),
            report_load=False,
            drain_s=2.0,
            **self.abilities,
        )
        node._kept = self.kept
        node.handler(self._work_blocking if self.is_blocking else self._work)
        self.world.history.note(self.name, "starts", name)
        return node

    def died(self) -> None:
        """The process was killed: its handlers with it; another one is started on its disk."""
        node, task = self.node, self._task
        if node is None or node._running is None or task is None:
            return
        running = node._running
        self.kept = running._store.state
        for handler in [*running._runner._tasks.values(), task]:
            handler.cancel()
        running._runner._jobs.clear()
        self._task = None
        self.world.schedule.after(self.dice.between(*RESTART_NS), self.start)

    def forget(self) -> None:
        """Lose what was stored: the next life is a new node."""
        self.forgotten += 1
        self.kept = NodeState()
        if self.node is not None and self.node._running is not None:
            self.node._running._store.state = self.kept

    def look(self, process: SdkProcess, command: Any) -> None:
        """No handler runs beyond the slots."""
        if isinstance(command, StartJob):
            for mark in nonces(command.payload):
                self._life.judge_start(mark)
            running = process.core.jobs.running
            at_work = self.running.keys() | {command.run}
            if len(running) > self.room or len(at_work) > self.room:
                words = f"{self.name} runs {len(at_work)} jobs and may run {self.room}"
                raise Violation("I4", words)

    @property
    def running(self) -> dict[int, Job]:
        """Handlers at work."""
        node = self.node
        return {} if node is None or node._running is None else node._running._runner._jobs

    # ---- its owner

    def wish(self, dice: Dice) -> None:
        """Want something of it."""
        node = self.node
        if node is None:
            return
        wish = dice.pick(("pause", "services", "drain"))
        self.world.history.note(self.name, "wishes", wish)
        if wish == "pause":
            node.set_pause(True)
        elif wish == "services":
            node.set_services([*self._services(dice.pick(("running", "stopped")))])
        else:
            self._life.begin(node.drain(dice.pick((None, 0.0, 1.0))), f"{self.name} drains")

    def please(self) -> None:
        """Take every wish back."""
        if self.node is not None:
            self.node.set_pause(False)
            self.node.set_services([*self._services("running")])

    def _services(self, status: str) -> Iterable[Service]:
        for number, kind in enumerate(self.abilities["services"]):
            service = Service(id=kind, kind=kind)
            yield service if number else replace(service, status=status)

    # ---- handlers

    async def _work(self, job: Job) -> Any:
        dice, process = self.dice, self.process
        manner = self._manner()
        await asyncio.sleep(dice.skewed(MS, self.slow_ns, 2) / S)
        if manner == "streams":
            for number in range(dice.between(1, 4)):
                await job.partial(f"{number} {answer(job)}")
                await job.progress(20.0 * number)
                await asyncio.sleep(dice.skewed(0, self.slow_ns, 2) / S)
        elif manner == "hangs":
            await asyncio.get_running_loop().create_future()
        elif manner == "stays":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(dice.between(1, 8))
            if process is self.process and process is not None and process.is_alive:
                await asyncio.sleep(dice.pick((0.05, 0.4, 3.0)))
        elif self.node is not None and manner in ("pauses", "changes"):
            self._meddle(self.node, manner)
        return self._reply(job, manner)

    def _work_blocking(self, job: Job) -> Any:
        manner = self._manner()
        if manner == "streams":
            job.partial_nowait(f"0 {answer(job)}")
            job.progress_nowait(50.0)
        return self._reply(job, manner)

    def _manner(self) -> str:
        return weighted(self.dice, MANNERS) if self.has_manners else "answers"

    def _meddle(self, node: Node, manner: str) -> None:
        schedule = self.world.schedule
        if manner == "pauses":
            node.set_pause(True, "a handler asks for it")
        else:
            node.set_services([*self._services("stopped")])
        schedule.after(self.dice.between(MS, 2 * S), self.please)

    def _reply(self, job: Job, manner: str) -> Any:
        code = self.dice.pick((Code.INTERNAL_ERROR, Code.MODEL_NOT_AVAILABLE, "NO_MOOD"))
        match manner:
            case "fails":
                raise JobError(code, "as drawn", retryable=self.dice.pick((None, True, False)))
            case "refuses":
                raise JobError(Code.INVALID_MESSAGE, "as drawn")
            case "raises":
                raise LookupError("as drawn")
            case "returns a number":
                return 5
            case "says nothing":
                return Reply(status="completed_no_text")
        return Reply(answer(job), meta={"of": job.request_id}, content_type="text/plain")

    def behave(self) -> None:
        """Let its handlers answer from now on."""
        self.has_manners = False


def thread_class(world: World) -> type:
    """Return what a blocking handler runs in: it comes back at once, but at a later time."""
    dice = Dice(world.seed, "threads")

    class LateThread:
        def __init__(self, target: Callable[..., None], args: tuple[Any, ...], **_: Any) -> None:
            self._call = lambda: target(*args)

        def start(self) -> None:
            """Have it done in a moment."""
            world.schedule.after(dice.skewed(MS, 2 * S, 2), self._call)

    return LateThread


class Threads:
    """Stands in for the module of that name in pointsman.handlers."""

    def __init__(self, world: World) -> None:
        self.Thread = thread_class(world)
        self.get_ident = threading.get_ident
