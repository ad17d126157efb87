"""Sessions over WebSocket through a real service, spoken by a library that is not ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from live.journal import Journal
from live.nodes import live_node, running_node
from live.service import LiveService
from live.sessions import session_ids
from web.web_harness import binary, browser, hear

from pointsman import Job, JobFailed, JobPartial, JobStream, Node, Reply, connect
from pointsman_wire.shards import shard_of


async def say(
    opened: aiohttp.ClientWebSocketResponse, message: dict[str, Any], payload: bytes = b""
) -> None:
    if payload:
        await opened.send_bytes(binary(message, payload))
    else:
        await opened.send_json(message)


async def heard(opened: aiohttp.ClientWebSocketResponse, kind: str) -> tuple[dict[str, Any], bytes]:
    """The next message of this type, whatever comes before it."""
    while True:
        message, payload = await hear(opened)
        if message["type"] == kind:
            return message, payload


async def test_a_browsers_job_is_placed_and_its_result_survives_a_lost_connection(
    service: LiveService, journal: Journal
) -> None:
    """Both workers; the session is taken up again, by its id in the target and its token."""
    url = f"http://{service.address}/session"
    async with live_node(service.address, journal, "wb"):
        for shard in (0, 1):
            [session_id] = session_ids(shard, 1, prefix="web")
            async with browser(f"{url}?id={session_id}") as opened:
                init = {
                    "type": "session_init",
                    "session_id": session_id,
                    "src_lang": "en",
                    "tgt_lang": "wb",
                }
                await say(opened, init)
                ack, _ = await heard(opened, "session_init_ack")
                assert ack.get("shard", 0) == shard
                submit = {"type": "submit", "request_id": "r-1", "services": ["nmt"]}
                await say(opened, submit, b"hello")
                accepted, _ = await heard(opened, "job_accepted")
                assert accepted["jobs"][0]["request_id"] == "r-1"
            async with browser(f"{url}?id={session_id}") as opened:
                again = {**init, "resume_token": ack["resume_token"], "unfinished": ["r-1"]}
                await say(opened, again)
                resumed, _ = await heard(opened, "session_init_ack")
                assert resumed["resumed"]
                result, payload = await heard(opened, "result")
                assert (result["request_id"], result["node_id"]) == ("r-1", "n-wb")
                assert payload == b"olleh", "which is what these nodes do"
                await say(opened, {"type": "session_close"})
                await heard(opened, "session_closed")


async def test_without_an_id_the_server_makes_one_of_the_worker_that_answered(
    service: LiveService,
) -> None:
    async with browser(f"http://{service.address}/session") as opened:
        await say(opened, {"type": "session_init", "src_lang": "en", "tgt_lang": "es"})
        ack, _ = await heard(opened, "session_init_ack")
    async with browser(f"http://{service.address}/session?id={ack['session_id']}") as opened:
        again = {
            "type": "session_init",
            "session_id": ack["session_id"],
            "resume_token": ack["resume_token"],
        }
        await say(opened, again)
        resumed, _ = await heard(opened, "session_init_ack")
        assert resumed["resumed"]


async def test_what_nobody_can_do_is_refused_with_the_reason_in_json(service: LiveService) -> None:
    async with browser(f"http://{service.address}/session") as opened:
        await say(opened, {"type": "session_init", "src_lang": "en", "tgt_lang": "xx"})
        await heard(opened, "session_init_ack")
        await say(opened, {"type": "submit", "services": ["nmt"], "wait_none_s": 0})
        refused, _ = await heard(opened, "error")
    assert refused["error"]["code"] == "NO_AVAILABLE_NODE"
    assert refused["error"]["breakdown"]["best_reason"]


async def test_what_cannot_be_read_is_refused_under_the_id_that_it_has(
    service: LiveService,
) -> None:
    """Else whoever asked for it would wait for ever."""
    asked: list[dict[str, Any]] = [
        {"type": "submit", "request_id": "r-1", "timeout_s": -1},
        {"type": "submit", "request_id": "r-2", "meta": {"x": "\x01" * 160_000}},
        {"type": "utterance", "utterance_id": "u-1", "text": "x" * 20_000},
        {"type": "submit", "request_id": 7},
        {"type": "submit", "request_id": "x" * 200},
    ]
    async with browser(f"http://{service.address}/session") as opened:
        await say(opened, {"type": "session_init", "src_lang": "en", "tgt_lang": "xx"})
        ack, _ = await heard(opened, "session_init_ack")
        number = ack.get("session_number", 0)
        told = []
        for message in asked:
            await say(opened, {**message, "session_number": number})
            refused, _ = await heard(opened, "error")
            assert refused["error"]["code"] == "INVALID_MESSAGE"
            told.append(refused.get("request_id", ""))
    assert told == ["r-1", "r-2", "u-1", "", ""]


async def test_the_python_client_over_websocket_reaches_every_worker(
    service: LiveService, journal: Journal
) -> None:
    """Named sessions of both workers, and one whose id the server makes."""
    ids = [*session_ids(0, 4, prefix="ws"), *session_ids(1, 4, prefix="ws"), ""]

    async def converse(session_id: str) -> None:
        async with connect(
            f"ws://{service.address}", session_id=session_id, src="en", tgt="wc"
        ) as session:
            assert session.session_id == session_id or not session_id
            result = await session.submit("straight", services=["nmt"])
            assert result.text == "thgiarts"

    async with live_node(service.address, journal, "wc"):
        await asyncio.gather(*map(converse, ids))


async def test_a_result_that_outgrows_the_bound_in_json_is_told_as_what_it_is(
    service: LiveService, journal: Journal
) -> None:
    """Control characters are six bytes each there; over the binary protocol it comes whole."""
    node = Node(service.address, services=["nmt"], nmt=[("en", "we")], node_id="n-we")

    @node.handler
    async def handle(job: Job) -> Reply:
        meta = {"x": "\x01" * 400_000}
        await job.partial(b"piece", meta=meta)
        await job.partial(b"small")
        return Reply(b"done", meta=meta)

    options = {"src": "en", "tgt": "we", "session_id": "outgrows"}
    async with running_node(node), asyncio.timeout(20):
        async with connect(f"ws://{service.address}", **options) as session:  # type: ignore[arg-type]
            stream = session.stream(b"x", services=["nmt"], request_id="r")
            assert [piece.payload async for piece in untold(stream)] == [b"small"]
            with pytest.raises(
                JobFailed, match=r"2400\d{3} bytes, its meta as JSON, at most 2097152"
            ) as failed:
                await stream.result()
            assert failed.value.code == "INVALID_MESSAGE"
            assert "without ws://" in failed.value.hint
        async with connect(service.address, **options) as session:  # type: ignore[arg-type]
            result = await session.submit(b"x", services=["nmt"], request_id="r")
            assert (result.payload, len(result.meta["x"])) == (b"done", 400_000)


async def untold(stream: JobStream) -> AsyncIterator[JobPartial]:
    """Its pieces; how it ended is asked for later."""
    with suppress(JobFailed):
        async for piece in stream:
            yield piece


async def into_the_room(
    opened: aiohttp.ClientWebSocketResponse, session_id: str, lang: str
) -> None:
    init = {"type": "session_init", "session_id": session_id, "src_lang": lang}
    await say(opened, init)
    await heard(opened, "session_init_ack")
    await say(opened, {"type": "room_join", "room": "tea", "lang": lang})
    await heard(opened, "room_state")


async def test_what_one_says_in_a_room_in_pieces_the_other_hears(
    service: LiveService, journal: Journal
) -> None:
    """The nodes here turn every payload round, and so does this."""
    url = f"http://{service.address}/session"
    first, second = session_ids(shard_of("tea", 2), 2, prefix="talk")
    async with (
        live_node(service.address, journal, "tk"),
        browser(f"{url}?id={first}") as ann,
        browser(f"{url}?id={second}") as ben,
    ):
        await into_the_room(ann, first, "en")
        await into_the_room(ben, second, "tk")
        piece = {"type": "audio_chunk", "utterance_id": "u-1", "services": ["nmt"]}
        await say(ann, {**piece, "seq": 1, "is_final": True}, b"<end")
        await say(ann, {**piece, "seq": 0}, b"begin>")
        result, payload = await heard(ben, "result")
        assert (result["speaker"], result["request_id"]) == (first, "u-1")
        assert payload[::-1].startswith(b"RIFF")
        assert payload[::-1].endswith(b"begin><end")
        own, _ = await heard(ann, "result")
        assert "speaker" not in own
