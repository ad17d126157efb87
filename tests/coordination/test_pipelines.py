"""Pipelines on one connection: replies to whom they belong, or everybody hears that none came."""

import asyncio
from typing import Any, cast

import pytest

from pointsman_wire.coordination.errors import Refusal
from pointsman_wire.coordination.reach import pipelines as module
from pointsman_wire.coordination.reach.pipelines import NEVER_S, Broken, Pipelines, Replies


class Socket:
    """Stands for a stream and its transport."""

    def __init__(self) -> None:
        self.transport = self
        self.written = b""
        self.is_aborted = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """What comes goes there now."""
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def abort(self) -> None:
        """Hang up."""
        self.is_aborted = True


class Bench:
    """Pipelines on such a socket, and what was told of which."""

    def __init__(self) -> None:
        self.socket = Socket()
        self.pipelines = Pipelines(cast(Any, self.socket))
        self.told: dict[str, Replies] = {}
        self.came = asyncio.Event()

    def send(self, name: str, count: int, until_s: float = NEVER_S) -> bool:
        """Send so many commands under a name."""

        def done(replies: Replies) -> None:
            assert name not in self.told
            self.told[name] = replies
            self.came.set()

        return self.pipelines.send(name.encode(), count, done, until_s)


async def test_replies_that_come_in_pieces_go_to_their_pipelines_in_order() -> None:
    bench = Bench()
    assert all([bench.send("a", 2), bench.send("b", 1), bench.send("c", 1)])
    assert bench.socket.written == b"abc"
    for at, byte in enumerate(b"+OK\r\n-OOM full\r\n*2\r\n:1\r\n$-1\r\n:7\r\n"):
        bench.pipelines.data_received(bytes([byte]))
        assert ("a" in bench.told) == (at >= 15)
    assert bench.told == {"a": [b"OK", Refusal("OOM", "full")], "b": [[1, None]], "c": [7]}


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"+OK\r\n+OK\r\n+more\r\n"])
async def test_what_was_not_asked_for_ends_the_connection(data: bytes) -> None:
    bench = Bench()
    bench.send("a", 1)
    bench.send("b", 1)
    bench.pipelines.data_received(data)
    assert bench.socket.is_aborted
    assert bench.told.keys() == {"a", "b"}
    assert not bench.send("c", 1)
    assert bench.told.keys() == {"a", "b"}


async def test_the_end_of_the_connection_is_told_to_all_who_wait_and_once() -> None:
    bench = Bench()
    bench.send("a", 2)
    bench.send("b", 1)
    bench.pipelines.data_received(b"+OK\r\n")
    bench.pipelines.connection_lost(None)
    bench.pipelines.give_up("we hung up")
    assert bench.told == dict.fromkeys("ab", Broken("it has hung up"))
    assert bench.pipelines.is_over


async def test_a_pipeline_that_is_not_answered_in_time_ends_the_connection() -> None:
    """R6: one that is answered in time does not, and one that may wait does not by itself."""
    bench = Bench()
    now_s = asyncio.get_running_loop().time()
    bench.send("waits", 1)
    bench.send("answered", 1, now_s)
    bench.pipelines.data_received(b":1\r\n:2\r\n")
    bench.send("late", 1, now_s + 0.001)
    bench.send("after it", 1, now_s + 1_000)
    async with asyncio.timeout(10):
        while "late" not in bench.told:
            bench.came.clear()
            await bench.came.wait()
    assert (bench.told["waits"], bench.told["answered"]) == ([1], [2])
    assert bench.told["late"] == bench.told["after it"] == Broken("it did not answer in time")


async def test_an_answer_that_lies_in_the_socket_counts_before_the_time_does() -> None:
    """R6: a process that stood still reads before it judges."""
    bench = Bench()
    loop = asyncio.get_running_loop()
    bench.send("a", 1, loop.time())
    bench.pipelines._fire()  # it is time, and the loop looks at its sockets once more
    loop.call_soon(bench.pipelines.data_received, b":1\r\n")
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.told == {"a": [1]}
    assert not bench.pipelines.is_over
    bench.pipelines.give_up("the test ends")


async def test_no_more_wait_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    bench = Bench()
    assert [bench.send(str(number), 1) for number in range(4)] == [True, True, True, False]
    bench.pipelines.data_received(b":1\r\n")
    assert bench.send("4", 1)
    assert bench.socket.written == b"0124"
