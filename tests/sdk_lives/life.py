"""Lives of the client side: programs with the real Session, Trunk and Node, in a whole cluster.

The simulator (pointsman_sim) plays the host, its processes, their disks and the network, and does
its harm; there clients and nodes are bare cores that ask, answer and never leave.  Here they are
the shells that users have, with everything that these offer.  When the sky has cleared:

    every call that somebody waits for comes to its end, with a result or a documented error
    a result is of what was asked, and complete; pieces and utterances come in order
    what was given up is not started any more; no handler runs beyond the slots of its node
    a closed session takes nothing, and who waited for anything of it knows
    nothing is kept of what is over, by client, node or worker; and a job is done again
"""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import msgspec
from sdk_lives.nodes import ADDRESS, NodeProgram, Threads
from sdk_lives.people import ClientProgram
from sdk_lives.virtual import PROGRAM, Program, SdkProcess, SimDriver, VirtualLoop

from pointsman import connect
from pointsman.session_core.events import ClientLimits, ClientSetup
from pointsman_shm.config import Config, TalkConfig
from pointsman_sim.faults import Nemesis
from pointsman_sim.history import History, Violation
from pointsman_sim.parts.instance import Instance
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_sim.quiescence import what_is_left
from pointsman_sim.settings import FAULTS, Settings, config_of
from pointsman_sim.shard_books import ShardBooks
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.network import Network
from pointsman_sim.world.process import Process, World
from pointsman_sim.world.schedule import Schedule

START_NS = 1_000 * S
STOPS_IN_S = 3.0  # where no harm is done, a job that was given up is not started later
PROOF_S = 30.0


def settings_of(seed: int) -> Settings:
    """Draw a small cluster and its faults: one seed in three is calm."""
    dice = Dice(seed, "sdk settings")
    usual = [fault for fault in FAULTS if fault != "agent_lies"]
    faults = tuple(fault for fault in usual if dice.chance(0.4)) if seed % 3 else ()
    return Settings(
        seed=seed,
        duration_s=dice.pick((10.0, 30.0)),
        workers=dice.between(1, 3),
        nodes=dice.between(1, 4),
        clients=dice.between(1, 4),
        faults=faults,
        faults_per_s=dice.pick((0.2, 0.5, 2.0)),
        tail=200,
    )


def life_config(settings: Settings) -> Config:
    """Draw a configuration: the simulator's, with small bounds on who talks."""
    dice, config = Dice(settings.seed, "sdk config"), config_of(settings)
    sessions = msgspec.structs.replace(config.sessions, pending_results_max=dice.pick((3, 20, 200)))
    jobs = msgspec.structs.replace(config.jobs, window_s=dice.pick((10.0, 60.0)))
    talk = TalkConfig(silence_s=1.0, utterances_open_max=4, room_members_max=dice.pick((2, 4)))
    return msgspec.structs.replace(config, jobs=jobs, sessions=sessions, talk=talk)


class Life:
    """One cluster and its programs; to the simulator's nemesis it is a cluster as any."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.schedule = Schedule(START_NS)
        self.loop = VirtualLoop(self.schedule)
        self.history = History(self.schedule, settings.tail)
        self.network = Network(settings.seed, self.schedule)
        self.world = World(settings.seed, self.schedule, self.network, self.history)
        self.instance = Instance(self.world, life_config(settings), settings.workers)
        self.nodes = [NodeProgram(self, index) for index in range(settings.nodes)]
        self.clients = [ClientProgram(self, index) for index in range(settings.clients)]
        self.world.witnesses.append(self)
        self.nemesis = Nemesis(self)  # type: ignore[arg-type]
        self._dice = Dice(settings.seed, "sdk life")
        self._books: dict[str, ShardBooks] = {}
        self._error: BaseException | None = None
        self.is_over = False
        self._number = 0
        self._cancelled: dict[bytes, float] = {}
        self._stalled_s = 0.0

    # ---- what programs use

    @property
    def now_s(self) -> float:
        """The time."""
        return self.schedule.now_ns / S

    def next_number(self) -> int:
        """Return a number that nobody has had."""
        self._number += 1
        return self._number

    def listeners(self) -> list[str]:
        """Return ids of sessions that may be there."""
        return [f"s-{client.name}-{number}" for client in self.clients for number in range(2)]

    def begin(self, acting: Any, name: str) -> asyncio.Task[None]:
        """Have something done; what goes wrong with it is the end of this life."""
        task = self.loop.create_task(acting, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error

    @property
    def worker_lives(self) -> int:
        """How often workers began, all together."""
        return sum(self.instance._epochs)

    def cancelled(self, mark: bytes) -> None:
        """Nobody wants this any more."""
        self._cancelled[mark] = self.now_s

    def judge_start(self, mark: bytes) -> None:
        """A handler begins with this."""
        since_s = self._cancelled.get(mark, self.now_s)
        if self.now_s - since_s > STOPS_IN_S and not self.settings.faults:
            words = f"{mark!r} was given up, and started {self.now_s - since_s:.1f} s later"
            raise Violation("cancelled", words)

    def has_stalled(self, since_s: float) -> bool:
        """Did a program stand still since then?"""
        return self._stalled_s >= since_s

    # ---- what the nemesis uses

    def processes(self) -> list[Process]:
        """Return every process that lives."""
        programs: list[Program] = [*self.nodes, *self.clients]
        found = [self.instance.manager, *self.instance.workers, *(p.process for p in programs)]
        return [process for process in found if process is not None and process.is_alive]

    # ---- who looks on

    def stepped(self, process: Process, _: object) -> None:
        """Judge the process that has just had its turn."""
        if isinstance(process, WorkerProcess):
            books = self._books.get(process.name)
            if books is None or books.life != process.life:
                books = self._books[process.name] = ShardBooks(process)
            books.judge()
        elif isinstance(process, SdkProcess):
            process.core.check_invariants()

    def sent(self, process: Process, command: object) -> None:
        """A frame left a process."""

    # ---- its course

    def live(self) -> None:
        """Live it to the end, or to the first broken promise."""
        with self._played():
            try:
                self.loop.set_exception_handler(self._complained)
                self.loop.run_until_complete(self._course())
            finally:
                self._close()

    async def _course(self) -> None:
        self.instance.start()
        for program in (*self.nodes, *self.clients):
            self.schedule.after(self._dice.between(0, 800 * MS), program.start)
        self.nemesis.start()
        if self.settings.faults:
            self._stall()
        await self._pass(self.settings.duration_s)
        self.nemesis.stop()
        for client in self.clients:
            client.is_over = True
        await self._rest(self._left)
        for node in self.nodes:
            node.behave()
        await self._prove()
        await self._rest(self._kept)

    def _stall(self) -> None:
        """Programs stand still, too."""
        if self.clients[0].is_over:
            return
        client = self._dice.pick(self.clients)
        if client.process is not None and self._dice.chance(0.3):
            self._stalled_s = self.now_s + 8.0
            client.process.freeze(self._dice.between(300 * MS, 8 * S))
        self.schedule.after(self._dice.between(S, 10 * S), self._stall)

    async def _pass(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            await asyncio.sleep(0.2)
            if self._error is not None:
                raise self._error

    def _left(self) -> list[str]:
        return what_is_left(self)  # type: ignore[arg-type]

    def _kept(self) -> list[str]:
        """What is there besides once nobody has a session any more, and none may come back."""
        kept: dict[str, Any] = {}
        for worker in filter(None, self.instance.workers):
            shard, talk, name = worker.core.shard, worker.core._talk, worker.name
            kept[f"sessions of {name}"] = [*shard.sessions]
            kept[f"talks of {name}"] = [*shard.talks]
            kept[f"voices of {name}"] = [*talk.voices.by_session]
            kept[f"rooms of {name}"] = [*talk.rooms.rooms]
            kept[f"sound of {name}"] = talk.hearing.memory.held_bytes
            kept[f"repeated submits of {name}"] = talk._jobs._unsettled
        for node in self.nodes:
            if node.process is not None:
                kept[f"serial runs of {node.name}"] = [*node.process.core._work._lone.runs]
        return [*self._left(), *(f"{name}: {what}" for name, what in kept.items() if what)]

    async def _rest(self, look: Callable[[], list[str]]) -> None:
        """Nobody does harm, or asks: wait until nothing is left of what was begun."""
        since_s = self.now_s
        while left := look():
            if self.now_s - since_s > self.settings.quiet_s:
                waiting = [name for client in self.clients for name in client.open_tickets]
                raise Violation("I1", "; ".join([*left, *waiting]))
            await self._pass(0.4)

    async def _prove(self) -> None:
        """A job is done as on the first day."""
        await self._pass(3.0)
        program = Program(self.world, "proof")
        PROGRAM.set(program)
        async with asyncio.timeout(PROOF_S):
            # A worker may stand still yet: whoever dialled it asks again.
            async with connect(ADDRESS, src="en", tgt="es", connect_timeout_s=None) as session:
                await session.submit(b"<0>", services=["nmt"], wait_busy_s=20.0, wait_none_s=20.0)

    def _complained(self, loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        """Nobody's log may be told that something of ours was never looked at."""
        words = f"{about.get('message')}: {about.get('exception')!r} {about.get('task', '')}"
        self._error = self._error or Violation("log", words)

    @contextmanager
    def _played(self) -> Iterator[None]:
        """While this lasts chance, time and sockets are the world's."""
        dice = self._dice
        limits = ClientLimits(window_count=dice.pick((2, 4_096)), open_count_max=dice.pick((8, 99)))
        driver = patch("pointsman.client_shell.driver_for", lambda *_: SimDriver)
        with (
            driver,
            patch("pointsman.node.driver_for", lambda *_: SimDriver),
            patch("pointsman.client_shell.ClientSetup", partial(ClientSetup, limits=limits)),
            patch("pointsman.handlers.threading", Threads(self.world)),
            patch.object(os, "urandom", dice.entropy),
        ):
            yield

    def _close(self) -> None:
        """Nothing of it goes on."""
        self.is_over = True
        for client in self.clients:
            client.give_up()
        for process in self.processes():
            process.is_alive = False
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=60.0))
        self.loop.close()
        self.instance.let_go()
        gc.collect()
