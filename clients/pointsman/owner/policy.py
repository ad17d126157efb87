"""Judges twice a second whether the owner wants the node to pause.

Every probe is asked in each round unless it is still busy with the last one; each counts by its
last answer.  A probe that fails, or has said nothing for 2 s, does not pause the node: that is
told once in the log, and the others go on.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from pointsman.handlers import is_async
from pointsman.owner.probes import (
    Probe,
    printable,
    probe_words,
    reason_of,
)

JUDGE_EVERY_S = 0.5
ANSWER_S = 2.0
_log = logging.getLogger("pointsman.node")


class OwnerPolicy:
    """Asks the probes; `tell` gets the reason to pause whenever it has changed, "" for none."""

    def __init__(self, probes: Sequence[Probe], tell: Callable[[str], None]) -> None:
        self._asked = [_Asked(probe) for probe in probes]
        self._tell = tell
        self._reason = ""

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            await asyncio.gather(self.judge(), asyncio.sleep(JUDGE_EVERY_S))

    async def judge(self) -> None:
        """One round: ask, wait half a second at most, tell what came of it."""
        questions = [asked.ask() for asked in self._asked]
        await asyncio.wait(questions, timeout=JUDGE_EVERY_S)
        for asked in self._asked:
            asked.settle()
        reason = printable("; ".join(asked.reason for asked in self._asked if asked.reason))
        if reason != self._reason:
            self._reason = reason
            self._tell(reason)

    async def end(self) -> None:
        """Ask no more."""
        questions = [asked.question for asked in self._asked if asked.question is not None]
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)


class _Asked:
    """One probe: its last answer, and the question that is under way."""

    def __init__(self, probe: Probe) -> None:
        self.reason = ""
        self.question: asyncio.Task[str] | None = None
        self._probe = probe
        self._words = probe_words(probe)
        self._asked_at_s = 0.0
        self._trouble = ""

    def ask(self) -> asyncio.Task[str]:
        """Ask, unless the last question has no answer yet."""
        if self.question is None:
            loop = asyncio.get_running_loop()
            self._asked_at_s = loop.time()
            self.question = loop.create_task(_answer(self._probe, self._words))
        return self.question

    def settle(self) -> None:
        """Take the answer, if there is one."""
        question = self.question
        assert question is not None, self._words
        if not question.done():
            if asyncio.get_running_loop().time() - self._asked_at_s >= ANSWER_S:
                self._failed(f"has not answered for {ANSWER_S:g} s")
            return
        self.question = None
        error = question.exception()
        if error is not None:
            self._failed(f"failed: {type(error).__name__}: {error}")
            return
        self.reason, self._trouble = question.result(), ""

    def _failed(self, trouble: str) -> None:
        self.reason = ""
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("owner policy: probe %r %s; it pauses nothing", self._words, trouble)


async def _answer(probe: Probe, words: str) -> str:
    answer: object = probe() if is_async(probe) else await _in_thread(probe)
    if inspect.isawaitable(answer):
        answer = await answer
    return reason_of(answer, words)


class _Outcome:
    """What a call came to; it catches what the owner's probe raises, for the loop to see."""

    def __init__(self) -> None:
        self.answer: object = None
        self.error: BaseException | None = None

    def __enter__(self) -> "_Outcome":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.error = error
        return isinstance(error, Exception)


async def _in_thread(probe: Probe) -> object:
    """Call a plain probe in a thread that holds up nobody, not even the end of the process."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[object] = loop.create_future()

    def deliver(outcome: _Outcome) -> None:
        if answered.done():
            return
        if outcome.error is not None:
            answered.set_exception(outcome.error)
        else:
            answered.set_result(outcome.answer)

    def call() -> None:
        with _Outcome() as outcome:
            outcome.answer = probe()
        try:
            loop.call_soon_threadsafe(deliver, outcome)
        except RuntimeError:
            return  # the loop is closed: the node has left

    threading.Thread(target=call, name=f"pointsman-{probe_words(probe)}", daemon=True).start()
    return await answered
