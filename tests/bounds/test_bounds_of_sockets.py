"""Connections of a process: how many, and how long each may take to say who it is."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from shells.socket_harness import NotingCore, Peer, accepted, beat, driving, socket_pair, until

from pointsman_shm.config import LimitsConfig
from pointsman_shm.descriptors import OWN, connections_max
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.link import Accepted
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role, decode_preamble, encode_preamble
from pointsman_wire.sockets import admin
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings, Strangers
from pointsman_wire.sockets.handover import HandoverReceiver, HandoverSender
from pointsman_wire.sockets.unix_sockets import listen_at
from pointsman_workers.shell.doorway import Doorway, DoorwayLimits, DoorwayOwners

HELLO = encode_preamble(Role.SESSION, 7)


@pytest.mark.parametrize(
    ("descriptors", "percent", "connections"),
    [
        (160, 80, 128 - OWN),
        (1_024, 80, 819 - OWN),
        (20_000, 80, 16_000 - OWN),
        (20_000, 100, 18_000),  # 2,000 are kept, whatever was configured
        (1_024, 100, 1_024 - 204),  # of few, a fifth is
        (1_000_000, 95, 950_000 - OWN),
        (20, 80, 1),
    ],
)
def test_n15_connections_take_a_share_of_the_descriptors_and_leave_some(
    descriptors: int, percent: int, connections: int
) -> None:
    assert connections_max(descriptors, percent) == connections
    assert LimitsConfig().descriptors_percent == 80


async def test_n15_above_its_share_of_descriptors_a_process_adopts_no_connection() -> None:
    """Also what others hand over: a worker's doorway cannot know how many the manager has."""
    core = NotingCore()
    async with driving(core, settings=DriverSettings(connections_max=3)) as driver:
        peers = [await accepted(driver) for _ in range(3)]
        await until(lambda: len(core.events(Accepted)) == 3)
        fourth = await accepted(driver)
        assert await fourth.read() is False
        assert driver.refused_count == 1
        peers[0].close()
        await until(lambda: driver.connection_count == 2)
        fifth = await accepted(driver)
        await fifth.send(beat(1))
        await until(core.frames)
        for peer in (*peers[1:], fourth, fifth):
            peer.close()


async def test_preamble_hand_over_and_first_frame_share_one_deadline(tmp_path: Path) -> None:
    """A guest that gave its preamble late has what is left, at another process too."""
    core = NotingCore()
    path = tmp_path / "handover-worker-0.sock"
    limits = ConnectionLimits(first_frame_s=2.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with driving(core, limits=limits) as driver:
            receiver = HandoverReceiver(path, driver.adopt)
            sender = HandoverSender(path, ended=lambda _: None)
            owners = DoorwayOwners(
                worker_index=0,
                worker_count=2,
                adopt=driver.adopt,
                give=lambda _, sock, came_at_ns, __: sender.give(sock, came_at_ns),
                connection_count=lambda: 0,
            )
            doorway = Doorway(
                listener, owners, strangers=Strangers(), limits=DoorwayLimits(guest_s=2.0)
            )
            peer = Peer(socket.create_connection(listener.getsockname()))
            peer.sock.setblocking(False)
            began_at_s = time.monotonic()
            await until(lambda: doorway.guest_count == 1)
            await asyncio.sleep(1.2)  # the guest takes its time
            await peer.send(HELLO)
            await until(lambda: core.events(Accepted))
            [(error, _)] = await peer.read_to_the_end()
            assert isinstance(error, Error)
            # Two deadlines would have made it 3.2 s.
            assert time.monotonic() - began_at_s < 3.1
            assert core.closings() == ["no first message came within 2 s"]
            peer.close()
            doorway.close()
            sender.close()
            receiver.close()


async def test_a_connection_that_waited_too_long_on_its_way_has_a_moment_all_the_same() -> None:
    """A process that did not run for long finds both the preamble and the first frame."""
    core = NotingCore()
    async with driving(core, limits=ConnectionLimits(first_frame_s=1.0)) as driver:
        ours, sock = socket_pair()
        peer = Peer(sock)
        await peer.send(HELLO + beat(1))
        driver.adopt(ours, decode_preamble(HELLO), "", time.monotonic_ns() - 60 * 10**9)
        await until(core.frames)
        assert core.closings() == []
        peer.close()


async def test_i9_admin_connections_above_the_bound_wait_and_are_answered_later(
    tmp_path: Path,
) -> None:
    path = tmp_path / "admin.sock"
    status = Status(process="test", pid=1, uptime_s=1.0)
    server = admin.AdminServer(listen_at(path), lambda _: status, query_s=20.0)
    silent = []
    for _ in range(admin.CONNECTIONS_MAX + 8):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        silent.append(sock)
    asking = asyncio.create_task(admin.ask(path, StatusQuery(), timeout_s=20.0))
    await until(lambda: len(server._talks) == admin.CONNECTIONS_MAX)
    await asyncio.sleep(0.05)
    assert not asking.done()
    for sock in silent:
        sock.close()
    assert isinstance(await asking, Status)
    await server.close()


def test_n14_whoever_has_a_network_of_addresses_counts_as_one() -> None:
    """I9, A6: every machine has billions of them; IPv4 in IPv6 is what it stands for."""
    strangers = Strangers(total_max=100, per_address_max=2)
    assert [strangers.admit(f"2001:db8:1:2::{n}") for n in range(3)] == [True, True, False]
    assert strangers.admit("2001:db8:1:3::1"), "another network"
    assert [strangers.admit(a) for a in ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1")] == [
        True,
        True,
        False,
    ]
    assert all(strangers.admit(address) for address in ["127.0.0.1", "::1"] * 10), "our own"
    strangers.leave("2001:db8:1:2::9")
    assert strangers.admit("2001:db8:1:2::10")
