"""The public port: looks at first bytes without taking them, and finds or refuses owners."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from shells.socket_harness import Peer, until

from pointsman_wire.messages import Error
from pointsman_wire.preamble import MAGIC, Preamble, Role, encode_preamble
from pointsman_wire.sockets.bounds import Strangers
from pointsman_workers.shell.doorway import MANAGER, Doorway, DoorwayLimits, DoorwayOwners
from pointsman_workers.shell.greetings import NO_CONSOLE, Greeting, read_greeting


class Hall:
    """A doorway, and lists of who was let through."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.adopted: list[tuple[socket.socket, Preamble, str, int]] = []
        self.given: list[tuple[int, socket.socket]] = []
        self.connection_count = 0
        self.is_full = False

    def give(self, owner: int, sock: socket.socket, came_at_ns: int, _: object) -> bool:
        assert came_at_ns <= time.monotonic_ns()
        if not self.is_full:
            self.given.append((owner, sock))
        return not self.is_full

    def owners(self) -> DoorwayOwners:
        return DoorwayOwners(
            worker_index=1,
            worker_count=3,
            adopt=lambda *taken: self.adopted.append(taken),
            give=self.give,
            connection_count=lambda: self.connection_count,
        )

    async def dial(self, data: bytes = b"") -> Peer:
        sock = socket.create_connection(self.listener.getsockname())
        sock.setblocking(False)
        peer = Peer(sock)
        await peer.send(data)
        return peer

    def close(self) -> None:
        for sock in (self.listener, *(taken[0] for taken in self.adopted)):
            sock.close()
        for _, sock in self.given:
            sock.close()


@asynccontextmanager
async def hall(
    *, limits: DoorwayLimits | None = None, strangers: Strangers | None = None
) -> AsyncIterator[tuple[Hall, Doorway]]:
    place = Hall()
    doorway = Doorway(
        place.listener, place.owners(), strangers=strangers or Strangers(), limits=limits
    )
    try:
        yield place, doorway
    finally:
        doorway.close()
        place.close()


async def refused(peer: Peer) -> str:
    """Return the words of the one error frame that ends the connection."""
    [(error, _)] = await peer.read_to_the_end()
    assert isinstance(error, Error)
    peer.close()
    return error.error.message


async def send_for_ever(peer: Peer) -> None:
    for _ in range(2000):
        await peer.send(b"more" * 4096)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("role", "key", "owner"),
    [
        (Role.SESSION, 4, 1),
        (Role.SESSION, 3, 0),
        (Role.SESSION, 2**32 - 1, 0),
        (Role.SESSION, None, 1),
        (Role.TRUNK, 2, 2),
        (Role.TRUNK, None, 1),
        (Role.LANE, 1, 1),
        (Role.LANE, 0, 0),
        (Role.CONTROL, None, MANAGER),
        (Role.CONTROL, 1, MANAGER),
    ],
)
async def test_a_preamble_leads_to_its_owner(role: Role, key: int | None, owner: int) -> None:
    data = encode_preamble(role, key) + b"what follows"
    async with hall() as (place, doorway):
        peer = await place.dial(data)
        await until(lambda: place.adopted or place.given)
        if owner == 1:
            [(sock, preamble, address, came_at_ns)] = place.adopted
            assert came_at_ns <= time.monotonic_ns()
            assert preamble == Preamble(role, key)
            assert address == "127.0.0.1"
        else:
            [(given_to, sock)] = place.given
            assert given_to == owner
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
        assert sock.recv(4096) == data, "nothing was taken from the stream"
        assert doorway.guest_count == 0
        peer.close()


async def test_n4_a_preamble_that_comes_byte_by_byte_is_waited_for() -> None:
    async with hall() as (place, doorway):
        peer = await place.dial()
        for byte in encode_preamble(Role.SESSION, None):
            assert place.adopted == []
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.001)
        await until(lambda: place.adopted)
        assert doorway.guest_count == 0
        peer.close()


async def test_a_lane_to_a_worker_that_does_not_exist_is_refused_in_words() -> None:
    async with hall() as (place, _):
        peer = await place.dial(encode_preamble(Role.LANE, 3))
        assert "worker 3 was dialled, of 3" in await refused(peer)


async def test_another_protocol_version_is_refused_in_words() -> None:
    async with hall() as (place, _):
        wrong = bytearray(encode_preamble(Role.SESSION))
        wrong[4] = 9
        peer = await place.dial(bytes(wrong) + b"x" * 100_000)
        assert "version 9 was offered" in await refused(peer)


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-OpenSSH_9.2p1\r\n", bytes(64)],
    ids=["TLS", "SSH", "zeros"],
)
async def test_n13_foreign_protocols_are_told_what_this_port_is(data: bytes) -> None:
    async with hall() as (place, doorway):
        peer = await place.dial(data)
        assert "binary protocol" in await refused(peer)
        await until(lambda: doorway.guest_count == 0)


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /a HTTP/1.0\n\n"]
)
async def test_a_browser_gets_an_answer_in_its_own_language(request_line: bytes) -> None:
    async with hall() as (place, doorway):
        sock = socket.create_connection(place.listener.getsockname())
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, request_line)
        answer = b""
        while piece := await asyncio.wait_for(loop.sock_recv(sock, 4096), 5):
            answer += piece
        assert answer == NO_CONSOLE
        sock.close()
        await until(lambda: doorway.guest_count == 0)


async def test_n14_hundreds_of_half_preambles_cost_no_cpu_and_end_at_the_deadline() -> None:
    limits = DoorwayLimits(guest_s=1.2, accepts_per_s_max=10_000)
    async with hall(limits=limits) as (place, doorway):
        peers = [await place.dial(MAGIC + b"\x01") for _ in range(250)]
        await until(lambda: doorway.guest_count == 250)
        cpu_s, began_at_s = time.process_time(), time.monotonic()
        await asyncio.sleep(0.6)
        used_s = time.process_time() - cpu_s
        assert used_s < 0.2 * (time.monotonic() - began_at_s)
        assert doorway.guest_count == 250
        healthy = await place.dial(encode_preamble(Role.SESSION))
        await until(lambda: place.adopted)
        await until(lambda: doorway.guest_count == 0)
        assert await peers[0].read() is False
        for peer in (*peers, healthy):
            peer.close()


async def test_a_half_preamble_whose_peer_left_is_forgotten_at_once() -> None:
    async with hall() as (place, doorway):
        peers = [await place.dial(MAGIC[:3]) for _ in range(20)]
        await until(lambda: doorway.guest_count == 20)
        for peer in peers:
            peer.sock.shutdown(socket.SHUT_WR)
        cpu_s = time.process_time()
        await until(lambda: doorway.guest_count == 0)
        assert time.process_time() - cpu_s < 0.5
        for peer in peers:
            peer.close()


async def test_a_refused_peer_that_keeps_sending_is_cut_off() -> None:
    async with hall(limits=DoorwayLimits(parting_s=0.1)) as (place, doorway):
        peer = await place.dial(b"\x00" * 16)
        await until(lambda: doorway.guest_count == 1)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await send_for_ever(peer)
        assert doorway.guest_count == 0
        peer.close()


async def test_strangers_above_the_bound_are_turned_away_and_the_bound_is_given_back() -> None:
    strangers = Strangers(total_max=2)
    async with hall(strangers=strangers) as (place, doorway):
        silent = [await place.dial() for _ in range(2)]
        await until(lambda: doorway.guest_count == 2)
        third = await place.dial()
        assert await third.read() is False
        assert doorway.refused_count == 1
        for peer in silent:
            await peer.send(encode_preamble(Role.SESSION))
        await until(lambda: len(place.adopted) == 2)
        assert strangers.count == 0
        for peer in (*silent, third):
            peer.close()


async def test_n15_connections_above_the_descriptors_share_are_turned_away() -> None:
    async with hall(limits=DoorwayLimits(connections_max=5)) as (place, doorway):
        place.connection_count = 5
        refused_one = await place.dial(encode_preamble(Role.SESSION))
        assert await refused_one.read() is False
        place.connection_count = 4
        peer = await place.dial(encode_preamble(Role.SESSION))
        await until(lambda: place.adopted)
        assert doorway.refused_count == 1
        refused_one.close()
        peer.close()


async def test_n15_without_descriptors_peers_are_turned_away_and_the_loop_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = DoorwayLimits(pause_s=0.02)
    async with hall(limits=limits) as (place, doorway):
        real = place.listener
        calls: list[str] = []

        class Short:
            """Has no descriptor for the first of every two accepts, and none at all at first."""

            def accept(self) -> Any:
                calls.append("accept")
                if len(calls) % 2:
                    raise OSError(24, "Too many open files")
                return real.accept()

            def fileno(self) -> int:
                return real.fileno()

        monkeypatch.setattr(doorway, "_listener", Short())
        peer = await place.dial(encode_preamble(Role.SESSION))
        assert await peer.read() is False
        assert doorway.refused_count == 1
        await asyncio.sleep(0.1)
        assert len(calls) <= 4
        monkeypatch.setattr(doorway, "_listener", real)
        other = await place.dial(encode_preamble(Role.SESSION))
        await until(lambda: place.adopted)
        peer.close()
        other.close()


async def test_n9_accepting_is_bounded_by_rate() -> None:
    limits = DoorwayLimits(accepts_per_s_max=20, pause_s=0.02)
    async with hall(limits=limits) as (place, _):
        peers = [await place.dial(encode_preamble(Role.SESSION)) for _ in range(30)]
        began_at_s = time.monotonic()
        await until(lambda: len(place.adopted) == 30)
        assert time.monotonic() - began_at_s > 0.3
        for peer in peers:
            peer.close()


async def test_n9_who_gave_up_waiting_costs_those_who_wait_no_share_of_the_rate() -> None:
    limits = DoorwayLimits(accepts_per_s_max=4, pause_s=0.02)
    async with hall(limits=limits) as (place, doorway):
        for _ in range(40):
            (await place.dial(encode_preamble(Role.SESSION))).close()
        waiting = [await place.dial(encode_preamble(Role.LANE, 1)) for _ in range(2)]
        await until(lambda: len([taken for taken in place.adopted if taken[1].key == 1]) == 2)
        assert doorway.refused_count >= 30
        assert len(place.adopted) < 12, "it would take ten seconds to accept them all"
        for peer in waiting:
            peer.close()


async def test_when_an_owner_takes_no_more_the_peer_is_hung_up_on() -> None:
    async with hall() as (place, doorway):
        place.is_full = True
        peer = await place.dial(encode_preamble(Role.LANE, 0))
        assert await peer.read() is False
        assert doorway.refused_count == 1
        peer.close()


async def test_a_guest_whose_bytes_lie_there_at_its_deadline_is_let_in() -> None:
    """A worker that was stopped looks before it closes."""
    limits = DoorwayLimits(guest_s=0.2)
    async with hall(limits=limits) as (place, doorway):
        peer = await place.dial(MAGIC)
        await until(lambda: doorway.guest_count == 1)
        peer.sock.send(encode_preamble(Role.SESSION)[4:])
        time.sleep(0.5)  # noqa: ASYNC251
        doorway._check_guests()
        assert len(place.adopted) == 1
        peer.close()


def test_beginnings_are_judged_byte_by_byte() -> None:
    preamble = encode_preamble(Role.LANE, 1)
    for size in range(1, 16):
        assert read_greeting(preamble[:size]) is Greeting.INCOMPLETE
        assert read_greeting(b"OPTIONS * HTTP/1.1"[:size]) is Greeting.INCOMPLETE
    assert read_greeting(preamble) is Greeting.PREAMBLE
    assert read_greeting(b"OPTIONS * HTTP/1.1"[:16]) is Greeting.HTTP
    assert read_greeting(b"\x16") is Greeting.FOREIGN
    assert read_greeting(MAGIC[:2] + b"x") is Greeting.FOREIGN
    assert read_greeting(b"GETT") is Greeting.FOREIGN


async def test_while_overloaded_clients_are_told_so_and_nodes_are_let_in() -> None:
    async with hall() as (place, doorway):
        doorway.is_refusing_clients = True
        for role in (Role.SESSION, Role.TRUNK):
            words = await refused(await place.dial(encode_preamble(role, None)))
            assert "overloaded" in words
        lane = await place.dial(encode_preamble(Role.LANE, 1))
        await until(lambda: place.adopted)
        doorway.is_refusing_clients = False
        client = await place.dial(encode_preamble(Role.SESSION, None))
        await until(lambda: len(place.adopted) == 2)
        lane.close()
        client.close()
