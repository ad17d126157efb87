"""WebSockets in the hands of who means no good, or does not read, or was stopped meanwhile."""

import asyncio
import json
import socket
import time

import pytest
from shells.socket_harness import NotingCore, echo, until
from web.web_harness import (
    CLOSE,
    CONTINUED,
    PING,
    PONG,
    REQUEST,
    TEXT,
    RawSocket,
    browser,
    frame,
    hear,
    raw_socket,
    web_place,
)

from pointsman_wire.link import Accepted, Close, Closed, Congested, Received, Relieved, Send
from pointsman_wire.session_messages import ClientHeartbeat, Result
from pointsman_wire.sockets.bounds import ConnectionLimits
from pointsman_wire.sockets.web.web_stream import PIECES_MAX

BEAT = json.dumps({"type": "client_heartbeat", "number": 1}).encode()
BULK = bytes(1024 * 1024)


async def answer_to(port: int, request: bytes) -> bytes:
    """What a request gets, to the end of the connection."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        await loop.sock_sendall(sock, request)
        answer = b""
        while piece := await asyncio.wait_for(loop.sock_recv(sock, 4096), 10):
            answer += piece
        return answer


def request_with(*lines: bytes) -> bytes:
    return REQUEST[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (request_with(b"Origin: http://x", b"Origin: http://y"), 400),
        (request_with(b"Host: other", b"Origin: http://x"), 400),
        (request_with(b"no header at all"), 400),
        (request_with(b"Content-Length: 10"), 400),
        (request_with(b"Sec-WebSocket-Key: again"), 400),
        (request_with(b"Origin: http://\xff\xfe"), 403),
        (request_with(b"Origin: http://[::1"), 403),
        (REQUEST.replace(b"id=s-1", b"id=\xc3\xa9"), 400),
        (request_with(*[b"X-%d: %s" % (n, b"y" * 1_000) for n in range(20)]), 431),
        (request_with(*[b"X-%d: y" % n for n in range(200)]), 400),
    ],
    ids=[
        "two origins",
        "two hosts",
        "no header",
        "body",
        "two keys",
        "bytes",
        "bracket",
        "target",
        "large",
        "many",
    ],
)
async def test_n13_a_request_that_is_none_is_answered_in_http(
    request_bytes: bytes, status: int
) -> None:
    core = NotingCore(echo)
    async with web_place(core) as place:
        answer = await answer_to(place.port, request_bytes)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert core.events(Accepted) == []
        async with browser(place.url()) as opened:
            await opened.send_str(BEAT.decode())
            await hear(opened)


async def test_a_request_that_does_not_end_is_answered_408() -> None:
    async with web_place(NotingCore(), limits=ConnectionLimits(first_frame_s=0.3)) as place:
        answer = await answer_to(place.port, REQUEST[:-4])
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "line", [b"X-Forwarded-For: 203.0.113.9", b"forwarded: for=203.0.113.9", b"X-Real-IP: x"]
)
async def test_x1_a_proxy_on_this_host_makes_nobody_local(line: bytes) -> None:
    core = NotingCore(echo)
    async with web_place(core) as place:
        answer = await answer_to(place.port, request_with(line))
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"a proxy on this host" in answer
    assert core.events(Accepted) == []


@pytest.mark.parametrize(
    "preface",
    [
        b"PROXY TCP4 203.0.113.9 127.0.0.1 50000 7400\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    ],
    ids=["version 1", "version 2"],
)
async def test_x1_a_proxys_preface_is_refused(preface: bytes) -> None:
    core = NotingCore(echo)
    async with web_place(core) as place:
        assert b"INVALID_MESSAGE" in await answer_to(place.port, preface + REQUEST)
    assert core.events(Accepted) == []


# ---- frames


@pytest.mark.parametrize(
    "begun",
    [
        frame(TEXT, BEAT)[:2],
        frame(TEXT, BEAT)[:6],
        frame(TEXT, b"", is_last=False),
        frame(TEXT, b"", is_last=False) + frame(PING, b""),
        frame(PING, b"12345")[:6],
    ],
    ids=["half a header", "a header", "a piece of nothing", "and a ping", "a control's"],
)
async def test_n14_whatever_has_begun_must_arrive(begun: bytes) -> None:
    core = NotingCore(echo)
    limits = ConnectionLimits(frame_arrival_s=0.3)
    async with web_place(core, limits=limits) as place, raw_socket(place.port) as raw:
        await raw.send(frame(TEXT, BEAT))
        await until(lambda: core.frames(), "the first message")
        await raw.send(begun)
        await until(lambda: core.closings(), "the deadline")
    assert "did not arrive whole" in core.closings()[0]


async def test_frames_that_came_whole_leave_no_deadline() -> None:
    core = NotingCore(echo)
    sizes = (125, 126, 65_535, 65_536)
    async with (
        web_place(core, limits=ConnectionLimits(frame_arrival_s=0.2)) as place,
        browser(place.url()) as opened,
    ):
        for size in (1, *sizes):
            text = json.dumps({"type": "client_heartbeat", "number": 1})
            await opened.send_str(text + " " * (size - len(text)))
            await hear(opened)
        until_s = time.monotonic() + 0.6
        while time.monotonic() < until_s:
            await asyncio.sleep(0.05)
            assert core.closings() == []


async def test_n13_a_message_in_endless_pieces_ends_its_connection() -> None:
    core = NotingCore(echo)
    async with web_place(core) as place, raw_socket(place.port) as raw:
        await raw.send(frame(TEXT, BEAT))
        await until(lambda: core.frames(), "the first message")
        pieces = frame(CONTINUED, b"", is_last=False) * PIECES_MAX
        await raw.send(frame(TEXT, b"", is_last=False) + pieces)
        await until(lambda: core.closings(), "the end")
    assert f"at most {PIECES_MAX} pieces" in core.closings()[0]


async def test_a_storm_of_pings_is_taken_in_shares_and_all_are_answered() -> None:
    """6 bytes a ping: one read of the socket holds 40,000, which must not be one turn's work."""
    core = NotingCore(echo)
    count = 5_000
    async with web_place(core) as place, raw_socket(place.port) as raw:
        await raw.send(frame(PING, b"") * count + frame(TEXT, BEAT) + frame(CLOSE, b""))
        answered = await raw.read()
        await until(lambda: core.closings(), "the end")
    assert answered.count(bytes([0x80 | PONG, 0])) == count
    assert core.frames() == [(ClientHeartbeat(number=1), b"")]
    assert len(core.steps) >= count // (256 + 2_048 // 6), "others had their turns between"


async def send_for_ever(raw: RawSocket, data: bytes) -> None:
    while True:
        await raw.send(data)


async def test_pongs_for_a_peer_that_does_not_read_are_bounded() -> None:
    core = NotingCore(echo)
    limits = ConnectionLimits(queue_frames_max=500)
    async with web_place(core, limits=limits) as place, raw_socket(place.port) as raw:
        storm = asyncio.create_task(send_for_ever(raw, frame(PING, b"x" * 120) * 500))
        await until(lambda: core.closings(), "the end")
        storm.cancel()
        await asyncio.gather(storm, return_exceptions=True)
    assert core.closings()[0].startswith("slow consumer")


# ---- who does not read


async def test_a_slow_reader_is_told_to_the_core_as_on_binary_connections() -> None:
    def answer(event: object) -> list[object]:
        if isinstance(event, Received):
            return [Send(event.connection, Result(request_id="r"), BULK)] * 8
        return []

    core = NotingCore(answer)
    limits = ConnectionLimits(queue_bytes_max=64 * 1024 * 1024, congested_bytes=100_000)
    async with web_place(core, limits=limits) as place, browser(place.url()) as opened:
        await opened.send_str(BEAT.decode())
        await until(lambda: core.events(Congested), "congestion")
        for _ in range(8):
            assert (await hear(opened))[1] == BULK
        await until(lambda: core.events(Relieved), "relief")


async def test_a_close_while_much_waits_comes_after_all_of_it() -> None:
    def answer(event: object) -> list[object]:
        if isinstance(event, Received):
            bulk = [Send(event.connection, Result(request_id="r"), BULK)] * 4
            return [*bulk, Close(event.connection, "that was all")]
        return []

    async with web_place(NotingCore(answer)) as place, raw_socket(place.port) as raw:
        await raw.send(frame(TEXT, BEAT))
        heard = await raw.read()
    assert len(heard) > 4 * len(BULK)
    assert heard.endswith(b"\x03\xe9that was all")


async def test_messages_before_a_close_in_the_same_read_are_told_before_it() -> None:
    core = NotingCore()
    limits = ConnectionLimits(frames_a_turn_max=8)
    async with web_place(core, limits=limits) as place, raw_socket(place.port) as raw:
        await raw.send(frame(TEXT, BEAT) * 20 + frame(CLOSE, b"\x03\xe8"))
        await until(lambda: core.closings(), "the end")
    kinds = [type(event) for event in core.events()]
    assert kinds == [Accepted, Received, Received, Received, Closed]
    assert len(core.frames()) == 20


def stop_everything(seconds: float) -> None:
    """Nothing of this process runs meanwhile."""
    time.sleep(seconds)


async def test_a_process_that_was_stopped_hears_answers_before_it_judges() -> None:
    """The pong lies in the socket when the timer that judges it is long due."""
    core = NotingCore(echo)
    async with web_place(core, ping_s=0.2) as place, raw_socket(place.port) as raw:
        loop = asyncio.get_running_loop()
        await raw.send(frame(TEXT, BEAT))
        await asyncio.wait_for(loop.sock_recv(raw.sock, 4096), 10)
        assert await asyncio.wait_for(loop.sock_recv(raw.sock, 4096), 10) == b"\x89\x00"
        raw.sock.send(frame(PONG, b""))
        stop_everything(0.5)
        assert await asyncio.wait_for(loop.sock_recv(raw.sock, 4096), 10) == b"\x89\x00"
        assert core.closings() == []
