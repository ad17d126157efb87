"""What the page offers to choose from, told from what workers say of the fleet's coverage."""

import asyncio
import tempfile
from pathlib import Path

from pointsman_sched.console.languages import LanguageDesk, Languages, Pair, languages_of
from pointsman_wire.admin_messages import AdminAnswer, AdminQuery
from pointsman_wire.queries.explain_messages import Coverage, CoverageLine, CoverageQuery
from pointsman_wire.sockets.admin import AdminServer
from pointsman_wire.sockets.unix_sockets import listen_at

LINES = [
    CoverageLine(service="asr", src_lang="en", nodes=2),
    CoverageLine(service="nmt", src_lang="en", tgt_lang="es", nodes=3),
    CoverageLine(service="nmt", src_lang="en", tgt_lang="fr", nodes=1),
    CoverageLine(service="tts", tgt_lang="es", nodes=1),
    CoverageLine(service="asr+nmt+tts", src_lang="en", tgt_lang="es", nodes=1),
]
OFFERED = Languages(
    pairs=[Pair("en", "es", True), Pair("en", "fr", False)], hears=["en"], speaks=["es"], nodes=3
)


def test_pairs_are_those_that_some_node_translates_with_what_can_be_heard_and_spoken() -> None:
    assert languages_of(LINES) == OFFERED


def test_what_a_tenant_alone_may_use_and_what_no_node_can_do_now_is_not_offered() -> None:
    lines = [
        CoverageLine(service="nmt", src_lang="en", tgt_lang="ja", tenant="acme", nodes=1),
        CoverageLine(service="nmt", src_lang="en", tgt_lang="ko", nodes=0),
        CoverageLine(service="nmt", src_lang="en", tgt_lang="it", feature="formal", nodes=1),
    ]
    assert languages_of(lines) == Languages()


async def test_the_next_worker_is_asked_when_one_is_away_and_not_for_every_page() -> None:
    asked: list[AdminQuery] = []

    def answer(query: AdminQuery) -> AdminAnswer | None:
        asked.append(query)
        return Coverage(lines=LINES) if isinstance(query, CoverageQuery) else None

    with tempfile.TemporaryDirectory(prefix="pm-") as name:
        away, there = Path(name, "a.sock"), Path(name, "b.sock")
        server = AdminServer(listen_at(there), answer)
        desk = LanguageDesk([away, there])
        try:
            answers = await asyncio.gather(*(desk.now() for _ in range(3)))
            assert [*answers, await desk.now()] == [OFFERED] * 4
        finally:
            await server.close()
        assert len(asked) == 1


async def test_when_no_worker_answers_the_page_is_told_so() -> None:
    assert "No worker" in (await LanguageDesk([Path("/nowhere/w.sock")]).now()).error
