"""What one session is used for: all that it offers, at random, several things at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sdk_lives.asking import (
    OPTIONS,
    SOUND,
    TALK,
    drawn,
    judge_error,
    judge_piece,
    judge_result,
    marked,
    weighted,
)

from pointsman.errors import PointsmanError
from pointsman.results import JobPartial, JobResult
from pointsman.session import JobStream, Session
from pointsman.session_core.closing import AT_ONCE_S
from pointsman.talking.hearing import ConnectionChange, Heard
from pointsman.talking.saying import Saying
from pointsman_sim.history import Violation
from pointsman_sim.world.dice import S

if TYPE_CHECKING:
    from sdk_lives.people import ClientProgram

OPEN_MAX = 12  # so many things at a time are asked of one session
# A client gives up by itself so long after a deadline: what may be held back for its order later.
DEADLINE_GRACE_S = 2.0 + 10.0
ROOMS = ("tea", "milk")


class Gone(Exception):
    """Somebody leaves the block of a session by an exception."""


class Broken(Exception):
    """What reads a microphone fails."""


class Conversation:
    """One session, as long as somebody uses it."""

    def __init__(self, program: "ClientProgram", session: Session) -> None:
        self._program = program
        self._life = program.life
        self._session = session
        self._dice = program.dice
        self._name = session.session_id  # a room may give it another
        # All of its utterances are numbered here, or none is.
        self._is_numbered = session.order == "utterance" and program.dice.chance(0.8)
        self._asked_in: dict[int, int] = {}  # by index: in which life of the workers
        self._told: set[int] = set()  # indices of utterances
        self._open: set[asyncio.Task[None]] = set()
        self._acts: dict[Callable[[], Coroutine[Any, Any, None]], float] = {
            self._submit: 10,
            self._submit_twice: 1,
            self._ask_again: 1.5,
            self._submit_impatiently: 2,
            self._stream: 3,
            self._leave_stream: 1,
            self._say: 3,
            self._speak: 2,
            self._feed: 1,
            self._say_impatiently: 1,
            self._join: 1,
            self._leave: 0.5,
        }

    async def live(self) -> None:
        """Do things until it is enough; then leave in one way or another."""
        dice = self._dice
        self._program.begin(self._listen(), "listens")
        for _ in range(dice.skewed(1, 60, 2)):
            if self._program.is_over or self._session.is_over:
                break
            if len(self._open) < OPEN_MAX:
                self._begin()
            await asyncio.sleep(dice.skewed(0, S, 3) / S)
        if self._open and (self._program.is_over or dice.chance(0.2)):
            await asyncio.wait(self._open)  # all is well by now: each is answered
        how = dice.pick(("leave", "close", "drop", "raise"))
        if how in ("close", "drop"):
            await self._close(is_flush=how == "close")
        elif how == "raise":
            raise Gone

    def _begin(self) -> None:
        act = weighted(self._dice, self._acts)
        task = self._program.begin(self._act(act), act.__name__)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _act(self, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whatever comes of it is one of the errors that are documented."""
        with suppress(PointsmanError):
            await act()

    async def _close(self, *, is_flush: bool) -> None:
        session, began_s = self._session, self._life.now_s
        timeout_s = self._dice.pick((None, 0.0, 0.5))
        await session.close(flush=is_flush, timeout_s=timeout_s)
        limit_s = session._close_timeout_s if timeout_s is None else timeout_s
        # What is not answered by then is cancelled, which may take as long as a close at once.
        self._program.judge_time("close", began_s, limit_s + (AT_ONCE_S if is_flush else 0.0))
        if not session.is_over:
            raise Violation("closed", f"{session.session_id} is closed and not over")
        began_s = self._life.now_s
        with suppress(PointsmanError):
            await session.submit(b"too late", services=["nmt"])
            raise Violation("closed", f"{session.session_id} is closed and takes a job")
        self._program.judge_time("a submit after close", began_s, 0.0)

    async def _listen(self) -> None:
        """Hear what others say until the session is over."""
        async for happening in self._session.happenings():
            if isinstance(happening, ConnectionChange) and not happening.is_resumed:
                self._told.clear()  # a session that begins anew begins its order anew
            elif isinstance(happening, Heard) and self._dice.chance(0.5):
                self._session.tell_played(happening, is_over=self._dice.chance(0.5))

    # ---- jobs

    def _request(self) -> tuple[str, bytes, dict[str, Any]]:
        dice, program = self._dice, self._program
        mark = marked(self._life.next_number())
        options = drawn(dice, OPTIONS)
        if self._is_numbered:
            options["utterance_index"] = self._next_index()
        name = "" if dice.chance(0.2) else f"r-{mark.decode()}"
        if name:
            program.past.setdefault(self._session.session_id, []).append((name, mark, options))
        return name, mark, options

    def _next_index(self) -> int:
        """Most come one after the other."""
        indices, whose = self._program.indices, self._name
        indices[whose] = index = indices.get(whose, -1) + self._dice.pick((1, 1, 1, 1, 2))
        self._asked_in[index] = self._life.worker_lives
        return index

    def _judge_order(self, index: int | None) -> None:
        """Utterances are told in their order, but for what was said to be missing."""
        if index is None or self._asked_in.pop(index, -1) != self._life.worker_lives:
            return  # a new worker does not know of all that the one before it was asked for
        passed_over = index in self._told
        for missing in self._session.missing:
            first = missing.utterance_index
            passed_over |= first <= index < first + missing.count
        if index < max(self._told, default=0) and not passed_over:
            words = f"{self._program.name}: utterance {index} was told after {max(self._told)}"
            raise Violation("order", words)
        self._told.add(index)

    def _body(self, mark: bytes) -> bytes:
        return mark + b"." * self._dice.skewed(0, 3_000)

    async def _submitted(
        self, name: str, body: bytes, mark: bytes, options: dict[str, Any]
    ) -> None:
        began_s = self._life.now_s
        options = {**options, "request_id": name} if name else options
        try:
            result = await self._session.submit(body, **options)
        except PointsmanError as error:
            judge_error(error, name)
        else:
            judge_result(result, mark)
            self._judge_order(options.get("utterance_index"))
        if deadline_s := options.get("deadline_s"):
            self._program.judge_time(f"a submit {name}", began_s, deadline_s + DEADLINE_GRACE_S)

    async def _submit(self) -> None:
        name, mark, options = self._request()
        await self._submitted(name, self._body(mark), mark, options)

    async def _submit_twice(self) -> None:
        """Twice at once under one id: it is one job, unless it is not the same."""
        name, mark, options = self._request()
        body = self._body(mark)
        other = b"another" if self._dice.chance(0.2) else body
        self._program.begin(self._act(lambda: self._submitted(name, body, mark, options)), "twin")
        if self._dice.chance(0.5):
            await asyncio.sleep(self._dice.skewed(0, S) / S)
        await self._submitted(name, other, mark, options)

    async def _ask_again(self) -> None:
        """What was asked before is asked once more, with what was said then."""
        if past := self._program.past.get(self._session.session_id):
            name, mark, options = self._dice.pick(past)
            options = {key: value for key, value in options.items() if key != "utterance_index"}
            await self._submitted(name, mark, mark, options)

    async def _submit_impatiently(self) -> None:
        """Give up after a while: then the job is to stop."""
        name, mark, options = self._request()
        if name:
            self._program.past[self._session.session_id].pop()  # nobody asks for it again
        with suppress(TimeoutError):
            async with asyncio.timeout(self._dice.skewed(0, 3 * S, 3) / S):
                await self._submitted(name, self._body(mark), mark, options)
                return
        self._life.cancelled(mark)

    async def _stream(self) -> None:
        name, mark, options = self._request()
        options = {**options, "request_id": name} if name else options
        stream = self._session.stream(self._body(mark), **options)
        await self._read(stream, mark)
        try:
            judge_result(await stream.result(), mark)
        except PointsmanError as error:
            judge_error(error, name)

    async def _read(self, stream: JobStream, mark: bytes) -> None:
        place = (0, -1)
        with suppress(PointsmanError):
            async for piece in stream:
                judge_piece(piece, mark)
                is_anew = piece.seq == 0 and piece.attempt != place[0]  # perhaps as a new job
                if (piece.attempt, piece.seq) <= place and not is_anew:
                    raise Violation("order", f"a piece came after one of {place}: {piece}")
                place = (piece.attempt, piece.seq)

    async def _leave_stream(self) -> None:
        """Leave early: the job is to stop."""
        name, mark, options = self._request()
        if name:
            self._program.past[self._session.session_id].pop()
        options = {**options, "request_id": name} if name else options
        async with self._session.stream(self._body(mark), **options) as stream:
            await asyncio.sleep(self._dice.skewed(0, S, 3) / S)
            is_left = not stream.outcome.done()
        if is_left:
            self._life.cancelled(mark)
        if self._dice.chance(0.5):
            await asyncio.wait([stream.outcome])

    # ---- talk

    def _talk(self) -> tuple[bytes, dict[str, Any]]:
        options = drawn(self._dice, TALK)
        if self._is_numbered:
            options["utterance_index"] = self._next_index()
        if self._dice.chance(0.3):
            options["to"] = [self._dice.pick(self._life.listeners())]
        return marked(self._life.next_number()), options

    async def _said(self, saying: Saying, mark: bytes) -> None:
        """Read what comes of it, to its end."""
        async for step in saying:
            if isinstance(step, JobPartial):
                judge_piece(step, mark)
        try:
            results = await saying.results()
            if self._dice.chance(0.5):
                results = [*results, await saying.result()]
        except PointsmanError as error:
            results = []
            if not saying.failures:
                raise Violation("whose", f"{saying.utterance_id} says nothing of {error}") from None
        self._judge_results(saying, results, mark)

    def _judge_results(self, saying: Saying, results: list[JobResult], mark: bytes) -> None:
        for result in results:
            judge_result(result, mark)
            if not result.request_id.startswith(saying.utterance_id):
                raise Violation("whose", f"{saying.utterance_id} has {result.request_id}")

    async def _say(self) -> None:
        mark, options = self._talk()
        words = mark.decode() if self._dice.chance(0.7) else mark + b" " * (len(mark) % 2) + SOUND
        saying = self._session.say(words, **options)
        if self._dice.chance(0.2):
            await asyncio.sleep(self._dice.skewed(0, S) / S)
            saying.cancel()
        await self._said(saying, mark)

    async def _speak(self) -> None:
        """In pieces, to the end, or until it is forgotten, or broken off."""
        mark, options = self._talk()
        saying = self._session.speak(partials=self._dice.chance(0.5), **options)
        async for sound in self._pieces(mark):
            saying.push(sound)
        how = self._dice.pick(("end", "end", "end", "cancel", "forget"))
        if how == "end":
            saying.end()
            saying.push(SOUND)  # nobody hears that
        elif how == "cancel":
            saying.cancel()
        await self._said(saying, mark)

    async def _pieces(self, mark: bytes) -> AsyncIterator[bytes]:
        yield mark + b" " * (len(mark) % 2)
        for _ in range(self._dice.between(0, 5)):
            await asyncio.sleep(self._dice.skewed(0, S, 2) / S)
            yield SOUND

    async def _feed(self) -> None:
        mark, options = self._talk()

        async def chunks() -> AsyncIterator[bytes]:
            async for sound in self._pieces(mark):
                yield sound
            if self._dice.chance(0.3):
                raise Broken

        with suppress(Broken):
            await self._said(self._session.audio(chunks(), **options), mark)

    async def _say_impatiently(self) -> None:
        mark, options = self._talk()
        saying = self._session.say(mark.decode(), **options)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._dice.skewed(0, S, 3) / S):
                self._judge_results(saying, await saying.results(), mark)
                return
        await asyncio.wait([saying._over])
        if not self._session.is_over:  # which lets jobs go on, for nobody
            self._life.cancelled(mark)

    # ---- rooms

    async def _join(self) -> None:
        room = self._dice.pick(ROOMS)
        state = await self._session.join(room, lang=self._dice.pick(("en", "es")))
        if state.room != room or not state.members:
            raise Violation("rooms", f"who entered {room} was told of {state}")

    async def _leave(self) -> None:
        self._session.leave()
