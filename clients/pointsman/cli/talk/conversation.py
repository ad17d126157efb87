"""A conversation: what is given is said, and all that comes of it is told as it comes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pointsman.cli.endings import FAILED, Trouble
from pointsman.cli.submitting import Ended, exit_code_of
from pointsman.cli.talk.given import (
    ORDERS_HELP,
    Given,
    Order,
    SoundFile,
    Spoken,
    Words,
    sound_file,
)
from pointsman.cli.talk.keeping import Keeper
from pointsman.cli.talk.told import Came, Overheard, Said, Watched
from pointsman.cli.talk.wishes import Manner
from pointsman.errors import PointsmanError, SessionError
from pointsman.results import JobResult
from pointsman.session import Session
from pointsman.talking.hearing import Happening, Heard
from pointsman.talking.saying import Saying
from pointsman_wire.talk.talk_messages import UiEvent

# More at a time the service refuses; input that comes faster waits.
OPEN_MAX = 8
# Tells a piece of news: number of the utterance, 0 for none, and what it is.
Tell = Callable[[int, Any], None]


class Conversation:
    """One session and who talks in it; `exit_code` is that of the worst that happened."""

    def __init__(self, session: Session, tell: Tell, keeper: Keeper, manner: Manner) -> None:
        self.exit_code = 0
        self._manner = manner
        self._session = session
        self._tell = tell
        self._keeper = keeper
        self._number = 0
        self._is_over = False
        self._room = asyncio.Semaphore(OPEN_MAX)
        self._open: set[asyncio.Task[None]] = set()
        self._speaking: Saying | None = None

    async def run(self, turns: AsyncIterator[Given], *, stays: bool) -> None:
        """Say all that is given; with `stays`, listen on.  Raises SessionError, Trouble."""
        listening = asyncio.create_task(self._listen())
        saying = asyncio.create_task(self._say_all(turns))
        try:
            await asyncio.wait({listening, saying}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
                raise Trouble("the service has ended the session", code=FAILED)
            saying.result()
            if stays:
                await listening
        finally:
            listening.cancel()
            saying.cancel()
            for task in self._open:
                task.cancel()
            await asyncio.gather(listening, saying, *self._open, return_exceptions=True)

    async def _say_all(self, turns: AsyncIterator[Given]) -> None:
        async for given in turns:
            await self._take(given)
            if self._is_over:
                break
        await asyncio.gather(*self._open)

    async def _take(self, given: Given) -> None:
        match given:
            case Words(text):
                await self._say(text, text)
            case SoundFile(name, sound):
                await self._say(name, sound)
            case Spoken(piece):
                await self._speak(piece)
            case Order(name, value):
                await self._obey(name, value)

    # ---- what we say

    async def _say(self, words: str, content: str | bytes) -> None:
        await self._room.acquire()
        try:
            manner = self._manner.lines if isinstance(content, str) else self._manner.sounds
            saying = self._session.say(content, **manner)
        except ValueError as error:
            self._room.release()
            self._tell(0, Trouble(str(error)))
            self.exit_code = self.exit_code or FAILED
            return
        self._follow(words, saying)

    async def _speak(self, piece: bytes | None) -> None:
        if piece is None:
            if self._speaking is not None:
                self._speaking.end()
            self._speaking = None
            return
        if self._speaking is None:
            await self._room.acquire()
            self._speaking = self._session.speak(**self._manner.sounds, partials=True)
            self._follow("(sound)", self._speaking)
        self._speaking.push(piece)

    def _follow(self, words: str, saying: Saying) -> None:
        self._number += 1
        self._tell(self._number, Said(words, saying.utterance_id))
        task = asyncio.create_task(self._followed(self._number, saying))
        self._open.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._open.discard(task)

    async def _followed(self, number: int, saying: Saying) -> None:
        began_at_ns = time.monotonic_ns()
        told: set[str] = set()
        async for step in saying:
            if isinstance(step, UiEvent):
                told.add(step.text.strip())
            self._tell(number, step)
        results: list[JobResult] = []
        try:
            results = await saying.results()
        except PointsmanError as error:
            if not saying.failures:
                self._failed(number, error)
        for failure in saying.failures.values():
            self._failed(number, failure)
        for result in results:
            total_ms = (time.monotonic_ns() - began_at_ns) / 1e6
            ended = Ended(result=result, total_ms=total_ms)
            lang = result.request_id.removeprefix(saying.utterance_id).lstrip(":")
            written = self._keep(result.payload, result.content_type, "said", lang)
            self._tell(number, Came(ended, written, ended.text not in told))

    def _keep(self, payload: bytes, content_type: str, *words: str) -> Path | None:
        try:
            return self._keeper.keep(payload, content_type, *words)
        except Trouble as trouble:
            self._tell(0, trouble)
            self.exit_code = self.exit_code or FAILED
            return None

    def _failed(self, number: int, error: PointsmanError) -> None:
        self._tell(number, error)
        self.exit_code = max(self.exit_code, exit_code_of(error))

    # ---- what is ordered at a terminal

    async def _obey(self, name: str, value: str) -> None:
        try:
            match name, value:
                case "quit", "":
                    self._is_over = True
                case "leave", "":
                    self._session.leave()
                case "join", room if room:
                    await self._session.join(room)
                case "wav", path if path:
                    await self._take(await asyncio.to_thread(sound_file, path))
                case _:
                    raise Trouble(f"/{name}: there is no such order", todo=ORDERS_HELP)
        except (Trouble, SessionError, ValueError) as error:
            self._tell(0, error if not isinstance(error, ValueError) else Trouble(str(error)))

    # ---- what others say

    async def _listen(self) -> None:
        async for happening in self._session.happenings():
            self._tell(0, self._seen(happening))

    def _seen(self, happening: Happening) -> Any:
        if isinstance(happening, Heard):
            name = self._name_of(happening.speaker)
            written = self._keep(happening.payload, happening.content_type, "heard", name)
            return Overheard(name, happening, written)
        if isinstance(happening, UiEvent):
            return Watched(self._name_of(happening.listener or happening.speaker), happening)
        return happening

    def _name_of(self, session_id: str) -> str:
        names = {member.session: member.name for member in self._session.room.members}
        return names.get(session_id) or session_id
