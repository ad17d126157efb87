"""Programs of a life: each has a connection of one session, or a trunk of several, and opens and
leaves sessions in all ways; killed, it is started again.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from sdk_lives.conversation import ROOMS, Conversation, Gone
from sdk_lives.nodes import ADDRESS
from sdk_lives.virtual import PROGRAM, Program

from pointsman.client_shell import ClientShell
from pointsman.errors import PointsmanError
from pointsman.session import Trunk, connect
from pointsman_sim.history import Violation
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_info

if TYPE_CHECKING:
    from sdk_lives.life import Life

LEFT_S = 20.0  # what a program does by itself is over so long after its session
_DEAD = error_info(Code.SESSION_CLOSED, "the process was killed")


class ClientProgram(Program):
    """A program; its `live` ends once it is told that it is over."""

    def __init__(self, life: "Life", index: int) -> None:
        super().__init__(life.world, f"client-{index}")
        self.life = life
        self.dice = dice = Dice(life.world.seed, f"sdk {self.name}")
        self.is_trunk = dice.chance(0.5)
        self.is_over = False
        # What was asked in sessions of a name, to be asked again: request id, mark, options.
        self.past: dict[str, list[tuple[str, bytes, dict[str, Any]]]] = {}
        self.tasks: set[asyncio.Task[None]] = set()  # of its present life
        self._task: asyncio.Task[None] | None = None
        self._shell: ClientShell | None = None
        self.indices: dict[str, int] = {}  # by session id: the next utterance's

    def start(self) -> None:
        """Run, unless it does."""
        if not self.life.is_over and self._task is None:
            self._task = self.begin(self._live(), "its life")

    def begin(self, acting: Any, name: str) -> asyncio.Task[None]:
        """Do something beside what is being done."""
        task = self.life.begin(acting, f"{self.name} {name}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    @property
    def is_done(self) -> bool:
        """Has it come to its end?"""
        return self.is_over and not self.tasks

    @property
    def open_tickets(self) -> list[str]:
        """What it waits for."""
        return sorted(task.get_name() for task in self.tasks) if self.is_over else []

    def died(self) -> None:
        """The process was killed; nothing of it goes on."""
        self.give_up()
        for task in [*self.tasks]:
            task.cancel()
        self.tasks.clear()
        self._task = None
        self.world.schedule.after(self.dice.between(20 * MS, 3 * S), self.start)

    def give_up(self) -> None:
        """Nobody is served any more."""
        if self._shell is not None:
            self._shell._give_up(_DEAD)

    # ---- what it does

    async def _live(self) -> None:
        PROGRAM.set(self)
        while True:
            with suppress(PointsmanError, Gone):
                await self._connect()
            await self._judge_left()
            if self.is_over:
                return
            await asyncio.sleep(self.dice.between(0, S) / S)

    async def _connect(self) -> None:
        async with AsyncExitStack() as stack:
            if not self.is_trunk:
                began_s, wishes = self.life.now_s, self.wishes(0)
                try:
                    session = await stack.enter_async_context(connect(ADDRESS, **wishes))
                finally:
                    self.judge_time("connect", began_s, wishes["connect_timeout_s"])
                self._shell = session._shell
                await Conversation(self, session).live()
                return
            trunk = await stack.enter_async_context(Trunk(ADDRESS))
            self._shell = shell = trunk._shell
            assert shell is not None
            opened = range(self.dice.between(1, 3))
            talks = [self.begin(self._in_trunk(trunk, n), f"session {n}") for n in opened]
            await asyncio.wait(talks)
            await self._judge_left()
            judge_empty(shell)

    async def _in_trunk(self, trunk: Trunk, number: int) -> None:
        """One session after the other."""
        for _ in range(self.dice.between(1, 3)):
            if self.is_over:
                return
            with suppress(PointsmanError, Gone):
                async with await trunk.open(**self.wishes(number)) as session:
                    await Conversation(self, session).live()

    def wishes(self, number: int) -> dict[str, Any]:
        """Draw the options of a session."""
        dice = self.dice
        if dice.chance(0.05):
            number = dice.between(0, 2)  # of a session that is there perhaps
        return {
            "src": "en",
            "tgt": "es",
            "tenant": dice.pick(("", "", "acme")),
            "session_id": f"s-{self.name}-{number}" if dice.chance(0.6) else "",
            "order": dice.pick(("free", "free", "utterance", "serial")),
            "hears": dice.pick(("", "es", "en")),
            "room": dice.pick(ROOMS) if dice.chance(0.2) else "",
            "connect_timeout_s": dice.pick((0.05, 10.0, 10.0, 60.0)),
            "close_timeout_s": dice.pick((0.0, 2.0, 30.0)),
            **({"mode": "two_way", "lang_a": "en", "lang_b": "es"} if dice.chance(0.2) else {}),
        }

    # ---- what it was promised

    def judge_time(self, what: str, began_s: float, limit_s: float) -> None:
        """Something must be over by now."""
        took_s = self.life.now_s - began_s
        if took_s > limit_s + 1.0 and not self.life.has_stalled(began_s):
            raise Violation("late", f"{self.name}: {what} took {took_s:.1f} s of {limit_s:g}")

    async def _judge_left(self) -> None:
        """All sessions are closed: who waited for anything of them knows."""
        own = {asyncio.current_task(), self._task}
        if left := {task for task in self.tasks if task not in own}:
            _, left = await asyncio.wait(left, timeout=LEFT_S)
        if left:
            names = sorted(task.get_name() for task in left)
            raise Violation("told", f"sessions are over, and still wait: {', '.join(names)}")


def judge_empty(shell: ClientShell) -> None:
    """A trunk whose sessions are all closed keeps nothing of them.  Raises Violation."""
    book = shell.core._book
    kept: dict[str, Any] = {
        "sessions": book.sessions,
        "requests": book.requests,
        "utterances": book.turns,
        "bytes": book.open_bytes,
        "busy": {**book.busy, **book.closing, **book.moving},
        "waiters": {**shell._waiters, **shell._sayings},
        "shell's sessions": shell._sessions,
    }
    for shard, link in book.trunks.items():
        kept[f"link {shard}"] = [
            *link.sessions, *link.by_number, *link.unsent, *link.unacknowledged
        ]  # fmt: skip
        kept[f"window {shard}"] = (link.window_count, link.window_bytes) != (0, 0)
    if left := {name: what for name, what in kept.items() if what}:
        raise Violation("kept", f"all sessions are closed, and still there: {left}")
