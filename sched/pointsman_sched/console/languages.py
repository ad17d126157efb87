"""What the fleet can translate now, for the page that lets people choose: asked of any worker."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import msgspec

from pointsman_wire.admin_messages import AdminAnswer
from pointsman_wire.queries.explain_messages import Coverage, CoverageLine, CoverageQuery
from pointsman_wire.sockets.admin import AdminError, ask

ANSWER_S = 2.0
KEPT_S = 1.0  # however many pages ask, workers are asked once in so long
LINES_MAX = 1_000


class Pair(msgspec.Struct, frozen=True):
    """A pair that a node translates; `speech`: one node also hears and speaks it."""

    src: str
    tgt: str
    speech: bool


class Languages(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs, the languages that are heard and spoken, and nodes at the least; or an error."""

    pairs: list[Pair] = []
    hears: list[str] = []
    speaks: list[str] = []
    nodes: int = 0
    error: str = ""


def languages_of(lines: Sequence[CoverageLine]) -> Languages:
    """Sum up coverage for people; what only some tenants may use is left out.  Pure."""
    open_to_all = [line for line in lines if not line.tenant and not line.feature and line.nodes]
    by_service: dict[str, set[tuple[str, str]]] = {}
    for line in open_to_all:
        by_service.setdefault(line.service, set()).add((line.src_lang, line.tgt_lang))
    whole = by_service.get("asr+nmt+tts", set())
    return Languages(
        pairs=[Pair(*pair, pair in whole) for pair in sorted(by_service.get("nmt", set()))],
        hears=sorted({src for src, _ in by_service.get("asr", set())}),
        speaks=sorted({tgt for _, tgt in by_service.get("tts", set())}),
        nodes=max((line.nodes for line in open_to_all), default=0),
    )


class LanguageDesk:
    """Asks the workers in turn until one answers, and keeps the answer for a moment."""

    def __init__(self, workers: Sequence[Path]) -> None:
        self._workers = workers  # admin sockets
        self._kept = Languages()
        self._until_s = 0.0
        self._turn = asyncio.Lock()  # who comes while somebody asks gets that answer

    async def now(self) -> Languages:
        """Return what the fleet can translate, or an error in words."""
        async with self._turn:
            if monotonic() >= self._until_s:
                self._kept = await self._ask()
                self._until_s = monotonic() + KEPT_S
            return self._kept

    async def _ask(self) -> Languages:
        query = CoverageQuery(limit=LINES_MAX)
        for path in self._workers:
            try:
                answer: AdminAnswer = await ask(path, query, timeout_s=ANSWER_S)
            except AdminError:
                continue  # it is being restarted: another one knows the same
            if isinstance(answer, Coverage):
                return languages_of(answer.lines)
        return Languages(error="No worker says what the fleet can do; trying again.")
