"""Connections of the console that strangers would keep: each request must come, and come whole."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pointsman_sched.console.hall import Hall
from pointsman_wire.preamble import Preamble, Role

PATIENCE_S = 20.0
ASKED = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def answer(_: Request) -> PlainTextResponse:
    return PlainTextResponse("well")


async def take_body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    routes = [Route("/", answer), Route("/body", take_body, methods=["POST"])]
    made = Hall(Starlette(routes=routes), connections_max=4, request_s=0.2)
    yield made
    await made.close()


class Visitor:
    """The far end of a connection."""

    def __init__(self, hall: Hall) -> None:
        self.sock, near = socket.socketpair()
        self.sock.setblocking(False)
        hall.serve(near, {})

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def hear(self) -> bytes:
        hearing = asyncio.get_running_loop().sock_recv(self.sock, 4096)
        return await asyncio.wait_for(hearing, PATIENCE_S)


@pytest.mark.parametrize(
    "nonsense", [ASKED + b"Bad Header\r\n\r\n", b"GET /\x01\x02 HTTP/1.1\r\n\r\n"]
)
async def test_who_says_nonsense_is_told_so_and_nobody_else_is(
    hall: Hall, nonsense: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger must not be able to fill the log of the service, line by line."""
    visitor = Visitor(hall)
    await visitor.say(nonsense)
    assert (await visitor.hear()).startswith(b"HTTP/1.1 400 ")
    visitor.sock.close()
    assert not caplog.records


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (ASKED + b"\r\n", b"GET / HTTP/1.1\r\nX-Slow: "),
        (ASKED + b"Content-Length: 99\r\n\r\n", b"a"),
    ],
    ids=["a second request", "the body of one that was answered"],
)
async def test_n14_who_was_answered_once_may_not_keep_a_connection_with_half_a_request(
    hall: Hall, first: bytes, rest: bytes
) -> None:
    """Every byte makes uvicorn forget its limit, so that a stranger could hold all connections."""
    visitor = Visitor(hall)
    with visitor.sock:
        await visitor.say(first)
        assert (await visitor.hear()).startswith(b"HTTP/1.1 200")
        await visitor.say(rest)
        assert await visitor.hear() == b""


async def test_n14_a_body_that_an_answer_waits_for_must_come_too(hall: Hall) -> None:
    visitor = Visitor(hall)
    with visitor.sock:
        await visitor.say(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
        assert await visitor.hear() == b""


async def test_requests_that_come_whole_are_answered_one_after_the_other(hall: Hall) -> None:
    visitor = Visitor(hall)
    with visitor.sock:
        for _ in range(3):
            await visitor.say(ASKED)
            await visitor.say(b"\r\n")
            assert (await visitor.hear()).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.25)  # longer than a request may take: nothing is under way


async def test_one_address_cannot_keep_all_others_out() -> None:
    hall = Hall(Starlette(routes=[Route("/", answer)]), connections_max=16, request_s=PATIENCE_S)
    preamble = Preamble(Role.SESSION, None, is_web=True)
    far: list[socket.socket] = []

    def come(address: str) -> Visitor:
        visitor = Visitor.__new__(Visitor)
        visitor.sock, near = socket.socketpair()
        visitor.sock.setblocking(False)
        far.append(visitor.sock)
        hall.adopt(near, preamble, address, 0)
        return visitor

    held = [come("2001:db8::1"), come("2001:db8::2")]
    assert await come("2001:db8::3").hear() == b"", "of one network, which has its share already"
    for address in ("10.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"):
        visitor = come(address)
        await visitor.say(ASKED + b"\r\n")
        assert (await visitor.hear()).startswith(b"HTTP/1.1 200 ")
    held[0].sock.close()
    refused_count = hall.refused_count
    for _ in range(200):
        await asyncio.sleep(0.01)
        visitor = come("2001:db8::4")
        if not hall.refused_count - refused_count:
            break
        refused_count = hall.refused_count
    await visitor.say(ASKED + b"\r\n")
    assert (await visitor.hear()).startswith(b"HTTP/1.1 200 "), "one has left"
    for sock in far:
        sock.close()
    await hall.close()
