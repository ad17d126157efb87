"""Peers that do not speak, do not end what they began, or do not read: each is ended in time."""

import asyncio
import socket
import time
from typing import Any

import pytest
from shells.socket_harness import (
    HELLO,
    PREAMBLE,
    NotingCore,
    Peer,
    accepted,
    beat,
    driving,
    socket_pair,
    until,
)

from pointsman_wire.framing import encode_frame
from pointsman_wire.link import Accepted, Close, Closed, Congested, Connection, Relieved, Send
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import ClientHeartbeatAck, Partial, Submit
from pointsman_wire.sockets.bounds import ConnectionLimits, Strangers
from pointsman_wire.sockets.slowness import congestion_of


async def test_a_silent_peer_is_told_and_closed() -> None:
    """N14."""
    core = NotingCore()
    async with driving(core, limits=ConnectionLimits(first_frame_s=0.1)) as driver:
        peer = await accepted(driver)
        [(error, _)] = await peer.read_to_the_end()
        assert isinstance(error, Error)
        assert error.error.retryable, "its machine may have been asleep: it is to come back"
        assert core.closings() == ["no first message came within 0.1 s"]
        peer.close()


async def test_n14_the_deadline_of_a_frame_counts_from_its_first_byte() -> None:
    frame = encode_frame(Submit(request_id="r"), b"x" * 100)
    core = NotingCore()
    async with driving(core, limits=ConnectionLimits(frame_arrival_s=0.2)) as driver:
        peer = await accepted(driver)
        await peer.send(beat(1))
        began_at_s = time.monotonic()
        for byte in frame:
            if core.closings():
                break
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.01)
        assert core.closings() == ["a frame did not arrive whole within 0.2 s"]
        assert time.monotonic() - began_at_s < 1.0
        peer.close()


async def test_a_peer_between_frames_may_be_silent() -> None:
    limits = ConnectionLimits(first_frame_s=0.05, frame_arrival_s=0.05)
    core = NotingCore()
    async with driving(core, limits=limits) as driver:
        peer = await accepted(driver)
        await peer.send(beat(1))
        await peer.send(beat(2)[:5])
        await peer.send(beat(2)[5:])
        await until(lambda: len(core.frames()) == 2)
        await asyncio.sleep(0.3)
        assert core.closings() == []
        assert not driver._watch._watched
        peer.close()


async def test_n14_hundreds_of_half_hellos_cost_no_cpu_and_end_at_the_deadline() -> None:
    core = NotingCore()
    limits = ConnectionLimits(first_frame_s=1.0)
    async with driving(core, limits=limits) as driver:
        peers = [await accepted(driver) for _ in range(200)]
        for peer in peers:
            await peer.send(beat(1)[:3])
        await until(lambda: len(core.events(Accepted)) == 200)
        cpu_s = time.process_time()
        began_at_s = time.monotonic()
        await asyncio.sleep(0.6)
        used_s = time.process_time() - cpu_s
        assert used_s < 0.2 * (time.monotonic() - began_at_s)
        assert core.closings() == []
        await until(lambda: len(core.closings()) == 200)
        for peer in peers:
            peer.close()


async def test_a_slow_consumer_is_closed_when_too_many_bytes_wait() -> None:
    """I9, N5, N6."""
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    limits = ConnectionLimits(queue_bytes_max=100_000, stall_s=30.0)
    async with driving(core, limits=limits) as driver:
        peer, number = await slow_peer(core, driver)
        sent = 0
        while not core.closings():
            driver.post([Send(number, Partial(seq=sent), b"x" * 20_000)])
            sent += 1
            assert sent < 1000
            await asyncio.sleep(0)
        assert core.closings()[0].startswith("slow consumer: ")
        assert "100000 bytes" in core.closings()[0]
        peer.close()


async def test_a_slow_consumer_is_closed_when_too_many_frames_wait() -> None:
    """I9, N5, N6."""
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    limits = ConnectionLimits(queue_frames_max=50, stall_s=30.0)
    async with driving(core, limits=limits) as driver:
        peer, number = await slow_peer(core, driver)
        driver.post([Send(number, Partial(), b"x" * 1_000_000)] * 8)
        await asyncio.sleep(0.05)
        for seq in range(60):
            driver.post([Send(number, Partial(seq=seq))])
        await until(core.closings)
        assert "50 frames" in core.closings()[0]
        peer.close()


async def test_a_slow_consumer_is_closed_after_a_stall_and_not_while_it_reads() -> None:
    """N1, N5, N6: a window that stays shut, whoever shuts it."""
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    limits = ConnectionLimits(stall_s=0.2)
    async with driving(core, limits=limits) as driver:
        peer, number = await slow_peer(core, driver)
        driver.post([Send(number, Partial(), b"x" * 1_000_000)] * 8)
        for _ in range(20):
            await peer.read()
            await asyncio.sleep(0.03)
        assert core.closings() == []
        await until(core.closings)
        assert core.closings() == ["slow consumer: nothing was read for 0.2 s"]
        peer.close()


@pytest.mark.parametrize("count", [3, 60])
async def test_n6_the_core_is_told_once_that_a_client_does_not_read_and_once_that_it_has(
    count: int,
) -> None:
    """By bytes (three large frames) or by frames (sixty, behind those that the kernel took)."""
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    limits = ConnectionLimits(congested_bytes=1_500_000, congested_frames=50)
    size = 1_000_000 if count == 3 else 10
    async with driving(core, limits=limits) as driver:
        peer, number = await slow_peer(core, driver)
        driver.post([Send(number, Partial(), b"x" * 1_000_000)])
        await until(lambda: next(iter(driver.alive)).unread_bytes)
        assert core.events(Congested) == [], "below the marks nothing is said"
        for seq in range(count):
            driver.post([Send(number, Partial(seq=seq), b"x" * size)])
            await asyncio.sleep(0)
        await until(lambda: core.events(Congested))
        assert core.events(Relieved) == []
        await peer.read_until(count + 1)
        await until(lambda: core.events(Relieved))
        driver.post([Send(number, Partial(), b"small")])
        await peer.read_until(count + 2)
        assert core.events(Congested) == [Congested(number)]
        assert core.events(Relieved) == [Relieved(number)]
        assert core.closings() == []
        peer.close()


async def test_nobody_is_told_of_the_queue_of_a_node_or_without_marks() -> None:
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    for role, marks in ((Role.LANE, 1), (Role.SESSION, 0)):
        limits = ConnectionLimits(congested_bytes=marks, stall_s=30.0)
        opening = Accepted(Connection(1), Preamble(role, None))
        assert congestion_of(opening, limits, core.executed.append) is None


async def slow_peer(core: NotingCore, driver: Any) -> tuple[Peer, Connection]:
    peer = await accepted(driver)
    await peer.send(beat(1))
    await until(lambda: core.frames())
    return peer, core.events(Accepted)[0].connection


async def test_what_was_queued_for_a_slow_reader_arrives_whole_and_in_order() -> None:
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    async with driving(core) as driver:
        peer, number = await slow_peer(core, driver)
        for seq in range(200):
            driver.post([Send(number, Partial(seq=seq), bytes([seq]) * 20_000)])
            await asyncio.sleep(0)
        driver.post([Close(number, "done")])
        got = await peer.read_to_the_end()
        assert [(message.seq, payload[:1]) for message, payload in got] == [  # type: ignore[attr-defined]
            (seq, bytes([seq])) for seq in range(200)
        ]
        assert core.closings() == ["done"]
        peer.close()


async def test_the_last_frame_reaches_a_peer_that_still_sends() -> None:
    """Closing with unread bytes would reset the connection and destroy the frame."""
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    async with driving(core) as driver:
        peer = await accepted(driver, is_tcp=True)
        await peer.send(beat(1))
        await until(lambda: core.frames())
        number = core.events(Accepted)[0].connection
        driver.post([Send(number, ClientHeartbeatAck(number=9)), Close(number, "enough")])
        await peer.send(beat(2) * 2000)
        assert await peer.read_to_the_end() == [(ClientHeartbeatAck(number=9), b"")]
        peer.close()


async def test_an_ended_connection_whose_peer_stays_is_closed_after_lingering() -> None:
    core = NotingCore(lambda event: event if isinstance(event, list) else ())
    async with driving(core, limits=ConnectionLimits(linger_s=0.05)) as driver:
        peer, number = await slow_peer(core, driver)
        driver.post([Close(number, "enough")])
        await until(lambda: driver.connection_count == 0)
        assert len(core.events(Closed)) == 1
        peer.close()


async def test_a_peer_that_leaves_amid_a_frame_is_told_apart() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver)
        await peer.send(beat(1) + beat(2)[:5])
        peer.close()
        await until(core.closings)
        assert core.closings() == ["the peer ended the connection in the middle of a frame"]


async def test_strangers_above_the_bounds_are_turned_away_until_others_are_known() -> None:
    """I9, N14."""
    core = NotingCore()
    strangers = Strangers(total_max=3, per_address_max=2)
    async with driving(core, strangers=strangers) as driver:
        first = await accepted(driver, address="192.0.2.1")
        second = await accepted(driver, address="192.0.2.1")
        await until(lambda: len(core.events(Accepted)) == 2)
        third = await accepted(driver, address="192.0.2.1")
        assert await third.read() is False
        fourth = await accepted(driver, address="127.0.0.1")
        await until(lambda: len(core.events(Accepted)) == 3)
        fifth = await accepted(driver, address="127.0.0.1")
        assert await fifth.read() is False
        await first.send(beat(1))
        await until(lambda: strangers.count == 2)
        for peer in (first, second, third, fourth, fifth):
            peer.close()
        await until(lambda: strangers.count == 0)


async def test_a_connection_that_broke_before_its_adoption_disturbs_nobody() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        ours, sock = socket_pair()
        sock.close()
        driver.adopt(ours, PREAMBLE)
        other = await accepted(driver)
        await other.send(beat(1))
        await until(lambda: core.frames())
        assert len(core.events(Accepted)) == 1
        assert driver.strangers.count == 0
        other.close()


async def test_n1_a_dead_peer_is_noticed_by_the_kernel_too() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        ours, sock = socket_pair(is_tcp=True)
        watched = ours.dup()
        sock.send(HELLO)
        driver.adopt(ours, PREAMBLE)
        await until(lambda: core.events(Accepted))
        names = ("NODELAY", "KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT")
        options = [getattr(socket, f"TCP_{name}") for name in names]
        values = [watched.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert values == [1, 15, 5, 3, 30_000]
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        watched.close()
        sock.close()
