"""What the demo has done: three jobs for each utterance, and one that nobody can do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pointsman.cli.demo.utterances import SENTENCES, Utterance
from pointsman.cli.submitting import Ended, Wanted, submit_in
from pointsman.engines.abilities import Abilities
from pointsman.engines.speech import TEXT_TYPE, WAV_TYPE
from pointsman.errors import PointsmanError
from pointsman.session import Session

SRC, TGT, IMPOSSIBLE = "en", "es", "ja"
FALLBACK_WORDS = SENTENCES[0]  # for the text job where nothing was said, or heard
JOB_S = 120.0
WEB_NUMBER = 0  # no utterance of its own: one more job, through another door
BUSY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """A node of the demo and the services that it shall offer."""

    name: str
    services: list[str]
    is_two_way: bool = False  # also back, in writing: so that two can talk on the page

    def options(self) -> list[str]:
        """Return how the command line says it; only the languages of the demo are offered."""
        pairs, spoken = f"{SRC}:{TGT}", TGT
        if self.is_two_way:
            pairs, spoken = f"{pairs},{TGT}:{SRC}", f"{TGT},{SRC}"
        languages = {"asr": ["--asr", SRC], "nmt": ["--nmt", pairs], "tts": ["--tts", spoken]}
        # One machine plays all the nodes, and maybe others: how busy it is must not matter.
        words = ["--engines", "speech", "--no-report-load", "--services", ",".join(self.services)]
        return words + [word for service in self.services for word in languages[service]]


def cast_of(there: Abilities) -> list[NodePlan]:
    """Return the nodes with what can be offered here; one that can do nothing stays at home."""
    able = services_of(there)
    cast = [("studio", ["asr", "nmt", "tts"]), ("desk", ["nmt", "tts"]), ("ears", ["asr"])]
    is_two_way = (TGT, SRC) in there.nmt and SRC in there.tts
    plans = [
        NodePlan(
            name=name,
            services=[service for service in services if service in able],
            is_two_way=is_two_way,
        )
        for name, services in cast
    ]
    return [plan for plan in plans if plan.services]


def services_of(there: Abilities) -> list[str]:
    """Return the services that can be offered here in the languages of the demo."""
    can = {"asr": SRC in there.asr, "nmt": (SRC, TGT) in there.nmt, "tts": TGT in there.tts}
    return [service for service, is_there in can.items() if is_there]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One job of the demo: what is sent, and where its sound goes."""

    title: str
    number: int
    wanted: Wanted
    file: Path | None = None


@dataclass
class Record:
    """What became of the jobs; `problems` is empty when all came through."""

    ended: list[tuple[Task, Ended]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Screen(Protocol):
    """Who shows the tour."""

    def working(self, task: Task) -> None: ...

    def came_through(self, task: Task, ended: Ended) -> None: ...

    def went_wrong(self, task: Task, error: PointsmanError) -> None: ...


def title_of(services: Sequence[str]) -> str:
    """Return what a job is called."""
    if services == ["asr"]:
        return "recognition"
    into = "speech" if "tts" in services else "text"
    return f"speech to {into}" if "asr" in services else f"text to {into}"


@dataclass(frozen=True, kw_only=True)
class Tour:
    """A client's walk through what the nodes can do, in one session."""

    session: Session
    services: Sequence[str]
    folder: Path
    screen: Screen
    record: Record

    async def hear_and_tell(self, number: int, utterance: Utterance) -> None:
        """Have everything done to one utterance that can be done here."""
        words = utterance.words
        if "asr" in self.services:
            chain = await self._run(self._task(number, utterance, self.services))
            words = words or (chain.heard if chain else "") or FALLBACK_WORDS
            if len(self.services) > 1:
                await self._run(self._task(number, utterance, ["asr"]))
        text = utterance._replace(words=words or FALLBACK_WORDS)
        rest = [service for service in self.services if service != "asr"]
        for services in [["nmt"], rest] if "asr" not in self.services else [["nmt"]]:
            if services and set(services) <= set(rest):
                await self._run(self._task(number, text, services))

    def _task(self, number: int, utterance: Utterance, services: Sequence[str]) -> Task:
        is_sound, is_spoken = "asr" in services, "tts" in services
        wanted = Wanted(
            payload=utterance.wav if is_sound else utterance.words.encode(),
            content_type=WAV_TYPE if is_sound else TEXT_TYPE,
            services=tuple(services),
            src=SRC,
            # Recognition alone has no target: any node that understands the source may do it.
            tgt="" if services == ["asr"] else TGT,
            timeout_s=JOB_S,
            wait_busy_s=BUSY_S,
        )
        return Task(
            title=title_of(services),
            number=number,
            wanted=wanted,
            file=self.folder / f"{number}.{TGT}.wav" if is_spoken else None,
        )

    async def _run(self, task: Task) -> Ended | None:
        """Have one job done, and note what became of it."""
        self.screen.working(task)
        try:
            ended = await submit_in(self.session, task.wanted)
        except PointsmanError as error:
            self.record.problems.append(f"{task.title}: {error}")
            self.screen.went_wrong(task, error)
            return None
        if task.file and ended.result.payload:
            await asyncio.to_thread(task.file.write_bytes, ended.result.payload)
        self.record.ended.append((task, ended))
        self.screen.came_through(task, ended)
        return ended

    async def say_in_writing(self, utterance: Utterance) -> None:
        """Have one job done that is no sound, if something here can do one."""
        words = utterance._replace(words=utterance.words or FALLBACK_WORDS)
        rest = [service for service in self.services if service != "asr"]
        await self._run(self._task(WEB_NUMBER, words, rest[:1] or ["asr"]))

    async def try_the_impossible(self) -> PointsmanError | None:
        """Ask for what no node can do; return the refusal, which is what is expected."""
        wanted = Wanted(
            payload=b"hello",
            content_type=TEXT_TYPE,
            services=("nmt",),
            src=SRC,
            tgt=IMPOSSIBLE,
            wait_none_s=0.0,
            timeout_s=JOB_S,
        )
        try:
            await submit_in(self.session, wanted)
        except PointsmanError as error:
            if error.breakdown:
                return error
        self.record.problems.append(f"{SRC} to {IMPOSSIBLE} was not refused with a reason")
        return None
