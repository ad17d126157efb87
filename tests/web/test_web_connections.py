"""WebSockets on real sockets, spoken by a library that is not ours, against a small core."""

import asyncio
import json
import socket
import time

import aiohttp
import pytest
from shells.socket_harness import NotingCore, echo, until
from web.web_harness import (
    CONTINUED,
    PING,
    REQUEST,
    TEXT,
    binary,
    browser,
    frame,
    hear,
    raw_socket,
    web_place,
)

from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Accepted, Close, Received, Send
from pointsman_wire.session_messages import ClientHeartbeat, ClientHeartbeatAck, Submit
from pointsman_wire.shards import shard_of
from pointsman_wire.sockets.bounds import ConnectionLimits

BEAT = {"type": "client_heartbeat", "number": 1}


async def test_a_message_goes_there_and_back_as_text() -> None:
    core = NotingCore(echo)
    async with web_place(core) as place, browser(place.url()) as opened:
        assert opened.protocol == "pointsman.v1"
        await opened.send_json(BEAT)
        assert await hear(opened) == (BEAT, b"")
        [accepted] = core.events(Accepted)
        assert accepted.preamble.is_web
        assert accepted.peer == "127.0.0.1"
    await until(lambda: core.closings(), "the end told to the core")


async def test_a_payload_travels_behind_the_json_of_a_binary_frame() -> None:
    core = NotingCore(echo)
    payload = bytes(range(256)) * 100
    async with web_place(core) as place, browser(place.url()) as opened:
        await opened.send_json(BEAT)
        await hear(opened)
        await opened.send_bytes(binary({"type": "submit", "request_id": "r"}, payload))
        assert await hear(opened) == ({"type": "submit", "request_id": "r"}, payload)
    [_, (message, body)] = core.frames()
    assert message == Submit(request_id="r")
    assert body == payload


async def test_a_client_that_offers_no_protocol_is_served_too() -> None:
    async with (
        web_place(NotingCore(echo)) as place,
        browser(place.url(), protocols=()) as opened,
    ):
        await opened.send_json(BEAT)
        assert await hear(opened) == (BEAT, b"")


async def test_a_session_that_names_its_id_goes_to_its_worker() -> None:
    core = NotingCore(echo)
    ids = [f"s-{number}" for number in range(12)]
    ours = [session_id for session_id in ids if shard_of(session_id, 3) == 0]
    async with web_place(core, workers=3) as place:
        for session_id in ours:
            async with browser(place.url(f"/session?id={session_id}")) as opened:
                await opened.send_json(BEAT)
                await hear(opened)
        assert place.given == []
        for session_id in ids:
            if session_id not in ours:
                await is_hung_up(place.url(f"/session?id={session_id}"))
                assert place.given[-1] == shard_of(session_id, 3)
    assert len(core.events(Accepted)) == len(ours)


async def is_hung_up(url: str) -> None:
    """The harness closes what it is to hand over."""
    with pytest.raises(aiohttp.ClientError):
        async with browser(url):
            raise AssertionError(f"{url} was served here")


async def test_other_requests_go_to_the_console_when_there_is_one() -> None:
    async with web_place(NotingCore(), has_console=True) as place:
        await is_hung_up(place.url("/"))
        assert set(place.given) == {-2}


async def test_without_a_console_a_request_is_answered_in_words() -> None:
    async with (
        web_place(NotingCore()) as place,
        aiohttp.ClientSession() as session,
        session.get(place.url("/")) as answer,
    ):
        assert answer.status == 404
        assert "console does not run" in await answer.text()


@pytest.mark.parametrize(
    ("target", "status"), [("/session?id=a&id=b", 400), ("/session?id=" + "x" * 129, 400)]
)
async def test_a_target_that_names_no_session_is_refused_in_words(target: str, status: int) -> None:
    async with web_place(NotingCore()) as place:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with browser(place.url(target)):
                pass
        assert refused.value.status == status


async def test_a_plain_request_for_a_session_is_told_to_upgrade() -> None:
    async with (
        web_place(NotingCore()) as place,
        aiohttp.ClientSession() as session,
        session.get(place.url()) as answer,
    ):
        assert answer.status == 426


async def test_a_page_of_another_origin_is_refused_and_a_listed_one_is_not() -> None:
    core = NotingCore(echo)
    async with web_place(core, allowed_origins=("https://app.example",)) as place:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with browser(place.url(), origin="https://evil.example"):
                pass
        assert refused.value.status == 403
        assert core.events(Accepted) == []
        for origin in ("https://app.example", f"http://127.0.0.1:{place.port}"):
            async with browser(place.url(), origin=origin) as opened:
                await opened.send_json(BEAT)
                await hear(opened)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000 + "]" * 1_000,
        '{"type": "submit", "meta": ' + '{"a":' * 900 + "1" + "}" * 900 + "}",
        '{"type": "client_heartbeat", "number": NaN}',
        '{"type": "client_heartbeat", "number": 1e999}',
        '{"type": "submit", "meta": {"n": 123456789012345678901234567890}}',
        '{"type": "no_such_message"}',
        '{"type": "client_heartbeat", "number": -1}',
        "not JSON at all",
        "",
    ],
    ids=["deep", "deep meta", "NaN", "infinite", "big number", "unknown", "bounds", "no", "none"],
)
async def test_n13_json_that_is_no_message_is_told_to_the_core_as_unreadable(text: str) -> None:
    core = NotingCore(echo)
    async with web_place(core) as place, browser(place.url()) as opened:
        await opened.send_str(text)
        await opened.send_json(BEAT)
        assert await hear(opened) == (BEAT, b"")
    frames = core.frames()
    assert isinstance(frames[0][0], Unreadable)
    assert frames[1][0] == ClientHeartbeat(number=1)


async def test_n13_of_duplicate_keys_the_last_counts() -> None:
    async with web_place(NotingCore(echo)) as place, browser(place.url()) as opened:
        await opened.send_str('{"type": "client_heartbeat", "number": 1, "number": 2}')
        assert (await hear(opened))[0]["number"] == 2


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff\xff\xff\x7f{}", b"\x05\x00\x00\x00{}"])
async def test_n13_a_binary_frame_that_is_none_ends_that_connection_only(data: bytes) -> None:
    async with web_place(NotingCore(echo)) as place, browser(place.url()) as other:
        async with browser(place.url()) as opened:
            await opened.send_bytes(data)
            error, _ = await hear(opened)
            assert error["type"] == "error"
            closed = await opened.receive(timeout=10)
            assert closed.type is aiohttp.WSMsgType.CLOSE
            assert closed.data == 1008
        await other.send_json(BEAT)
        assert await hear(other) == (BEAT, b"")


async def test_n13_a_message_above_the_bound_is_closed_with_1009() -> None:
    async with web_place(NotingCore(echo)) as place, browser(place.url()) as opened:
        await opened.send_json(BEAT)
        await hear(opened)
        await opened.send_bytes(bytes(2 * 1024 * 1024 + 1))
        closed = await opened.receive(timeout=10)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_before_the_first_message_the_bound_is_the_handshakes() -> None:
    async with web_place(NotingCore(echo)) as place, browser(place.url()) as opened:
        await opened.send_str(json.dumps({"type": "submit", "request_id": "x" * 20_000}))
        closed = await opened.receive(timeout=10)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_a_bomb_that_deflates_is_not_even_understood() -> None:
    """permessage-deflate is not offered, whoever asks for it."""
    async with (
        web_place(NotingCore(echo)) as place,
        aiohttp.ClientSession() as session,
        session.ws_connect(place.url(), compress=15) as opened,
    ):
        assert not opened.compress


async def test_a_message_in_pieces_is_one_message() -> None:
    core = NotingCore(echo)
    text = json.dumps({"type": "client_heartbeat", "number": 7}).encode()
    async with web_place(core) as place, raw_socket(place.port) as raw:
        pieces = [text[:5], text[5:6], text[6:]]
        await raw.send(frame(TEXT, pieces[0], is_last=False))
        await raw.send(frame(PING, b"between"))
        await raw.send(frame(CONTINUED, pieces[1], is_last=False))
        await raw.send(frame(CONTINUED, pieces[2]))
        await until(lambda: core.frames(), "the message")
    assert core.frames() == [(ClientHeartbeat(number=7), b"")]


@pytest.mark.parametrize("is_last", [True, False], ids=["half a frame", "half a message"])
async def test_a_message_that_does_not_arrive_whole_ends_its_connection(is_last: bool) -> None:
    core = NotingCore(echo)
    beat = frame(TEXT, json.dumps(BEAT).encode())
    limits = ConnectionLimits(frame_arrival_s=0.4)
    async with web_place(core, limits=limits) as place, raw_socket(place.port) as raw:
        await raw.send(beat)
        await until(lambda: core.frames(), "the first message")
        half = frame(TEXT, json.dumps(BEAT).encode(), is_last=is_last)
        await raw.send(half[:-3] if is_last else half)
        await until(lambda: core.closings(), "the deadline")
    assert "did not arrive whole within 0.4 s" in core.closings()[0]


async def test_a_frame_that_is_not_masked_breaks_the_protocol() -> None:
    core = NotingCore(echo)
    async with web_place(core) as place, raw_socket(place.port) as raw:
        await raw.send(b"\x81\x02{}")
        await until(lambda: core.closings(), "the end")
        assert b"\x03\xea" in await raw.read(), "close code 1002"


async def test_a_turn_takes_its_share_and_leaves_the_rest_for_later() -> None:
    core = NotingCore(echo)
    limits = ConnectionLimits(frames_a_turn_max=8)
    async with web_place(core, limits=limits) as place, browser(place.url()) as opened:
        for number in range(100):
            await opened.send_json({"type": "client_heartbeat", "number": number})
        for number in range(100):
            assert (await hear(opened))[0].get("number", 0) == number
    assert max(len(event.frames) for event in core.events(Received)) <= 8


async def test_the_server_says_why_it_ends_a_session() -> None:
    def answer(event: object) -> list[object]:
        if isinstance(event, Received):
            return [
                Send(event.connection, ClientHeartbeatAck(number=9)),
                Close(event.connection, "the session was closed"),
            ]
        return []

    async with web_place(NotingCore(answer)) as place, browser(place.url()) as opened:
        await opened.send_json(BEAT)
        assert (await hear(opened))[0] == {"type": "client_heartbeat_ack", "number": 9}
        closed = await opened.receive(timeout=10)
        assert closed.type is aiohttp.WSMsgType.CLOSE
        assert closed.extra == "the session was closed"


async def test_a_peer_that_answers_no_ping_is_gone() -> None:
    core = NotingCore(echo)
    async with (
        web_place(core, ping_s=0.2) as place,
        aiohttp.ClientSession() as session,
        session.ws_connect(place.url(), autoping=False) as deaf,
    ):
        await deaf.send_json(BEAT)
        await until(lambda: core.closings(), "the end of a deaf peer")
    assert "no answer to a ping" in core.closings()[0]


async def test_n14_half_a_request_costs_nothing_and_ends_at_the_deadline() -> None:
    async with web_place(NotingCore(), guest_s=0.6) as place:
        peers = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(50)]
        for peer in peers:
            peer.sendall(b"GET /session?id=slow")
        await until(lambda: place.doorway.guest_count == 50, "the guests")
        began_s = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - began_s < 0.25, "nobody spins while a line is incomplete"
        await until(lambda: place.doorway.guest_count == 0, "the deadline")
        for peer in peers:
            peer.close()


async def test_a_request_that_comes_byte_by_byte_is_served() -> None:
    core = NotingCore(echo)
    async with web_place(core) as place:
        loop = asyncio.get_running_loop()
        sock = socket.create_connection(("127.0.0.1", place.port))
        sock.setblocking(False)
        for byte in REQUEST:
            await loop.sock_sendall(sock, bytes([byte]))
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), 10)
        assert answer.startswith(b"HTTP/1.1 101")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
        sock.close()
