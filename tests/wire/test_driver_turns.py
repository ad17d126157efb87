"""One step a turn, one write a turn: the driver gathers what happens and obeys in order."""

import asyncio
import socket
from typing import Any

import pytest
from shells.socket_harness import (
    CLIENT_UNIONS,
    SERVER_UNIONS,
    NotingCore,
    accepted,
    beat,
    driving,
    echo,
    until,
)

from pointsman_wire.framing import encode_frame
from pointsman_wire.limits import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX
from pointsman_wire.link import Accepted, Close, Closed, Dial, DialFailed, Dialled, Received, Send
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role, decode_preamble
from pointsman_wire.session_messages import ClientHeartbeat, ClientHeartbeatAck, Partial
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings
from pointsman_wire.sockets.driver import Driver
from pointsman_wire.sockets.tcp import AddressError, split_address


class Wish(Message, tag="wish", frozen=True):
    """A command of some core's own."""

    number: int


def obey(event: Any) -> list[Any]:
    """Let a test post the commands it wants carried out."""
    return event if isinstance(event, list) else []


async def test_several_readable_sockets_make_one_step() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peers = [await accepted(driver) for _ in range(8)]
        await until(lambda: len(core.events(Accepted)) == 8)
        core.steps.clear()
        for peer in peers:
            peer.sock.send(beat(1))  # no turn of the loop lies between these
        await until(lambda: len(core.events(Received)) == 8)
        assert len(core.steps) == 1
        for peer in peers:
            peer.close()


async def test_n9_what_a_crowd_says_at_once_is_several_steps_and_each_is_answered_at_its_end() -> (
    None
):
    """However many speak at once, time passes in the core between every few of them."""
    core = NotingCore(echo)
    turns: list[int] = []
    async with driving(core, settings=DriverSettings(step_events_max=3)) as driver:
        peers = [await accepted(driver) for _ in range(8)]
        await until(lambda: len(core.events(Accepted)) == 8)
        core.steps.clear()
        driver.observe_turn = turns.append
        for peer in peers:
            peer.sock.send(beat(1))
        await until(lambda: len(core.events(Received)) == 8)
        assert [len(events) for _, events in core.steps] == [3, 3, 2]
        assert [now_ns for now_ns, _ in core.steps] == sorted({now for now, _ in core.steps})
        assert len(turns) == 3
        for peer in peers:
            peer.close()


async def test_what_one_step_sends_on_a_connection_leaves_in_one_write() -> None:
    core = NotingCore(obey)
    async with driving(core) as driver:
        peer = await accepted(driver)
        await until(lambda: core.events(Accepted))
        number = core.events(Accepted)[0].connection
        writes: list[int] = []
        connection = driver._connections[number]
        real: Any = connection._transport

        class Noting:
            def write(self, data: bytes) -> None:
                writes.append(len(data))
                real.write(data)

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        connection._transport = Noting()  # type: ignore[assignment]
        driver.post([Send(number, ClientHeartbeatAck(number=n)) for n in range(100)])
        got = await peer.read_until(100)
        assert [message.number for message, _ in got] == [*range(100)]  # type: ignore[attr-defined]
        assert len(writes) == 1
        peer.close()


async def test_commands_of_the_cores_own_are_executed_in_order_before_anything_is_written() -> None:
    core = NotingCore(obey)
    async with driving(core) as driver:
        peer = await accepted(driver)
        await until(lambda: core.events(Accepted))
        number = core.events(Accepted)[0].connection
        written: list[bytes] = []
        core.executed.clear()

        def execute(command: Any) -> None:
            core.executed.append(command)
            try:
                written.append(peer.sock.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                written.append(b"")

        driver._execute = execute
        driver.post([Wish(1), Send(number, ClientHeartbeatAck(number=7)), Wish(2)])
        await peer.read_until(1)
        assert core.executed == [Wish(1), Wish(2)]
        assert written == [b"", b""]
        peer.close()


async def test_sending_on_a_connection_that_is_gone_is_nothing() -> None:
    core = NotingCore(obey)
    async with driving(core) as driver:
        peer = await accepted(driver)
        await until(lambda: core.events(Accepted))
        number = core.events(Accepted)[0].connection
        driver.post([Close(number, "a"), Send(number, ClientHeartbeatAck()), Close(number, "b")])
        assert await peer.read_to_the_end() == []
        peer.close()
        await until(lambda: driver.connection_count == 0)
        assert core.closings() == ["a"]


@pytest.mark.parametrize("what", ["payload", "header"])
async def test_a_frame_too_large_to_send_ends_its_connection_and_no_other(what: str) -> None:
    core = NotingCore(obey)
    async with driving(core) as driver:
        peers = [await accepted(driver) for _ in range(2)]
        await until(lambda: len(core.events(Accepted)) == 2)
        bad, good = (event.connection for event in core.events(Accepted))
        large = Send(bad, Partial(), bytes(PAYLOAD_BYTES_MAX + 1))
        if what == "header":
            rest = len(encode_frame(Partial(content_type="x" * 70_000))) - 70_000
            large = Send(bad, Partial(content_type="x" * (HEADER_BYTES_MAX - rest + 1)))
        driver.post([Send(bad, ClientHeartbeatAck(number=1)), large])
        driver.post([Send(good, ClientHeartbeatAck(number=2))])
        assert await peers[0].read_to_the_end() == [(ClientHeartbeatAck(number=1), b"")]
        assert await peers[1].read_until(1) == [(ClientHeartbeatAck(number=2), b"")]
        assert "too large" in core.closings()[0]
        for peer in peers:
            peer.close()


async def test_a_step_that_raises_breaks_the_driver_for_good() -> None:
    def fail(event: Any) -> list[Any]:
        raise AssertionError("two owners")

    core = NotingCore(fail)
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    driver = Driver(core, unions=SERVER_UNIONS, execute=core.execute)
    driver.post(ClientHeartbeat())
    with pytest.raises(AssertionError, match="two owners"):
        await driver.broken
    driver.post(ClientHeartbeat())
    await asyncio.sleep(0.02)
    assert len(core.steps) == 1
    assert len(told) == 1
    await driver.end(0.05)


async def test_the_end_flushes_what_was_sent_and_steps_no_more() -> None:
    core = NotingCore(obey)
    driver = Driver(core, unions=SERVER_UNIONS, execute=core.execute)
    driver.start()
    peer = await accepted(driver, is_tcp=True)
    await until(lambda: core.events(Accepted))
    number = core.events(Accepted)[0].connection
    driver.post([Send(number, Partial(seq=seq), b"x" * 100_000) for seq in range(100)])
    await until(lambda: len(core.steps) >= 3)
    steps = len(core.steps)

    async def read_and_leave() -> None:
        await peer.read_to_the_end()
        peer.close()

    reading = asyncio.create_task(read_and_leave())
    await driver.end(5.0)
    await reading
    assert len(peer.messages) == 100
    assert driver.connection_count == 0
    assert len(core.steps) == steps


async def test_a_dialled_connection_says_its_preamble_and_speaks_both_ways() -> None:
    server = NotingCore(echo)
    client = NotingCore(obey)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        settings = DriverSettings(server_address=address)
        async with (
            driving(server) as serving,
            driving(client, settings=settings, unions=CLIENT_UNIONS) as dialling,
        ):
            dialling.post([Dial(5, Preamble(Role.TRUNK, 3))])
            sock, _ = await loop.sock_accept(listener)
            await until(lambda: client.events(Dialled))
            preamble = decode_preamble(sock.recv(16, socket.MSG_PEEK))
            assert preamble == Preamble(Role.TRUNK, 3)
            serving.adopt(sock, preamble, "127.0.0.1")
            [dialled] = client.events(Dialled)
            assert dialled.purpose == 5
            dialling.post([Send(dialled.connection, ClientHeartbeat(number=4), b"body")])
            await until(lambda: server.frames())
            assert server.frames() == [(ClientHeartbeat(number=4), b"body")]
            dialling.post([Close(dialled.connection, "done")])
            await until(lambda: server.closings())
            assert client.closings() == ["done"]


async def test_a_dial_that_nobody_answers_fails_with_words() -> None:
    core = NotingCore(obey)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with driving(core, unions=CLIENT_UNIONS) as driver:
        driver.post([Dial(1, Preamble(Role.SESSION, None), f"127.0.0.1:{port}")])
        driver.post([Dial(2, Preamble(Role.SESSION, None), "nonsense")])
        await until(lambda: len(core.events(DialFailed)) == 2)
        reasons = {event.purpose: event.reason for event in core.events(DialFailed)}
        assert f"127.0.0.1:{port}" in reasons[1]
        assert "HOST:PORT" in reasons[2]
        assert driver.connection_count == 0


async def test_a_dial_without_an_answer_ends_at_its_deadline() -> None:
    """A listener whose backlog is full takes no connection."""
    core = NotingCore(obey)
    with socket.socket() as listener, socket.socket() as filler, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in (filler, second):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        settings = DriverSettings(
            server_address=f"127.0.0.1:{listener.getsockname()[1]}", dial_s=0.1
        )
        async with driving(core, settings=settings, unions=CLIENT_UNIONS) as driver:
            driver.post([Dial(n, Preamble(Role.SESSION, None)) for n in range(4)])
            await until(lambda: core.events(DialFailed))
            assert "no answer within 0.1 s" in core.events(DialFailed)[0].reason


async def test_a_client_may_wait_for_its_first_answer_as_long_as_it_likes() -> None:
    core = NotingCore(obey)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = DriverSettings(
            server_address=f"127.0.0.1:{listener.getsockname()[1]}",
            limits=ConnectionLimits(first_frame_s=0.05),
        )
        async with driving(core, settings=settings, unions=CLIENT_UNIONS) as driver:
            driver.post([Dial(1, Preamble(Role.SESSION, None))])
            await until(lambda: core.events(Dialled))
            await asyncio.sleep(0.2)
            assert core.events(Closed) == []


@pytest.mark.parametrize("address", ["", "host", "host:", ":7", "host:x", "host:0", "host:65536"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(AddressError):
        split_address(address)


def test_addresses_name_host_and_port() -> None:
    assert split_address("localhost:7400") == ("localhost", 7400)
    assert split_address("[::1]:80") == ("::1", 80)
