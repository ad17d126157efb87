"""Connections handed to their owner: intact, kept while the owner changes, never left hanging."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shells.socket_harness import (
    PREAMBLE,
    WAIT_S,
    NotingCore,
    Peer,
    driving,
    echo,
    socket_pair,
    until,
)

from pointsman_wire.framing import encode_frame
from pointsman_wire.preamble import Preamble, encode_preamble
from pointsman_wire.session_messages import ClientHeartbeat, Submit
from pointsman_wire.sockets.handover import HandoverLimits, HandoverReceiver, HandoverSender


class Owner:
    """A receiver that keeps what it adopted."""

    def __init__(self, path: Path) -> None:
        self.adopted: list[tuple[socket.socket, Preamble, str]] = []
        self.receiver = HandoverReceiver(path, lambda *taken: self.adopted.append(taken[:3]))

    def close(self) -> None:
        self.receiver.close()
        for sock, _, _ in self.adopted:
            sock.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing more meanwhile."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Frozen:
    """An owner whose channel stands, but which takes nothing from it."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.listener.settimeout(WAIT_S)

    def take(self) -> list[socket.socket]:
        """Thaw: receive what lies on the channel, without a word."""
        channel, _ = self.listener.accept()
        with channel:
            channel.setblocking(False)
            taken: list[socket.socket] = []
            while True:
                try:
                    packet, descriptors, _, _ = socket.recv_fds(channel, 8, 1)
                except BlockingIOError:
                    return taken
                if not packet:
                    return taken
                taken += [socket.socket(fileno=descriptor) for descriptor in descriptors]

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "handover-worker-0.sock"


async def test_an_owner_without_descriptors_waits_for_some_and_does_not_spin(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[object] = []
    accept = HandoverReceiver._accept

    def counted(receiver: HandoverReceiver) -> None:
        tries.append(receiver)
        accept(receiver)

    monkeypatch.setattr(HandoverReceiver, "_accept", counted)
    owner = Owner(path)
    sock, peer = socket_pair()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        with no_descriptors():
            channel.connect(str(path))
            await asyncio.sleep(0.5)
        assert 1 <= len(tries) <= 10
        socket.send_fds(channel, [bytes(16)], [sock.fileno()])
        channel.setblocking(False)
        answer = asyncio.get_running_loop().sock_recv(channel, 8)
        assert await asyncio.wait_for(answer, WAIT_S) == bytes(8)
    for end in (sock, peer, owner):
        end.close()


def hello(number: int = 1) -> bytes:
    return encode_preamble(PREAMBLE.role, PREAMBLE.key) + encode_frame(
        Submit(request_id=f"r-{number}"), b"payload"
    )


def new_pair() -> tuple[socket.socket, Peer]:
    ours, sock = socket_pair(is_tcp=True)
    return ours, Peer(sock)


async def test_pipelined_frames_go_with_their_connection(path: Path) -> None:
    core = NotingCore(echo)
    outcomes: list[bool] = []
    async with driving(core) as driver:
        receiver = HandoverReceiver(path, driver.adopt)
        sender = HandoverSender(path, ended=outcomes.append)
        ours, peer = new_pair()
        peer._decoder = type(peer._decoder)(ClientHeartbeat | Submit)
        frames = [(ClientHeartbeat(number=n), b"") for n in range(50)]
        await peer.send(hello() + b"".join(encode_frame(message) for message, _ in frames))
        await asyncio.sleep(0.01)
        assert sender.give(ours)
        sent = [(Submit(request_id="r-1"), b"payload"), *frames]
        assert await peer.read_until(len(sent)) == sent
        assert outcomes == [True]
        assert sender.offer_count == 0
        peer.close()
        sender.close()
        receiver.close()


async def test_a_hello_that_comes_byte_by_byte_meets_its_owner_whole(path: Path) -> None:
    core = NotingCore()
    async with driving(core) as driver:
        receiver = HandoverReceiver(path, driver.adopt)
        sender = HandoverSender(path, ended=lambda _: None)
        ours, peer = new_pair()
        data = hello()
        for byte in data[:20]:
            await peer.send(bytes([byte]))
        sender.give(ours)
        for byte in data[20:]:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await until(core.frames)
        assert core.frames() == [(Submit(request_id="r-1"), b"payload")]
        peer.close()
        sender.close()
        receiver.close()


async def test_a_successor_gets_everything_that_a_dead_owner_had_not_taken(path: Path) -> None:
    dead = Frozen(path)
    outcomes: list[bool] = []
    sender = HandoverSender(path, ended=outcomes.append)
    pairs = [new_pair() for _ in range(100)]
    for number, (ours, peer) in enumerate(pairs):
        await peer.send(hello(number))
        assert sender.give(ours)
    await asyncio.sleep(0.05)
    assert outcomes == []
    dead.close()
    core = NotingCore(echo)
    async with driving(core) as driver:
        receiver = HandoverReceiver(path, driver.adopt)
        await until(lambda: len(core.frames()) == 100, "adoption by the successor")
        ids = sorted(message.request_id for message, _ in core.frames())
        assert ids == sorted(f"r-{number}" for number in range(100))
        assert outcomes == [True] * 100
        for _, peer in pairs:
            peer.close()
        receiver.close()
    sender.close()


async def test_offers_wait_for_an_owner_that_is_yet_to_come(path: Path) -> None:
    sender = HandoverSender(path, ended=lambda _: None)
    ours, peer = new_pair()
    await peer.send(hello())
    sender.give(ours)
    await asyncio.sleep(0.05)
    owner = Owner(path)
    await until(lambda: owner.adopted)
    peer.close()
    owner.close()
    sender.close()


async def test_a_silent_owner_does_not_leave_its_peers_hanging(path: Path) -> None:
    """shutdown() ends the connection for the copy that the frozen owner may adopt later."""
    frozen = Frozen(path)
    outcomes: list[bool] = []
    limits = HandoverLimits(silence_s=0.2)
    sender = HandoverSender(path, ended=outcomes.append, limits=limits)
    ours, peer = new_pair()
    await peer.send(hello())
    sender.give(ours)
    assert await peer.read() is False
    assert outcomes == [False]
    sender.close()
    for sock in frozen.take():
        with sock, pytest.raises(BrokenPipeError):
            sock.send(b"an answer from the grave")
    peer.close()
    frozen.close()


async def test_an_acknowledgement_that_lies_in_the_channel_counts_before_the_limit(
    path: Path,
) -> None:
    """A sender that was stopped itself first hears what its owner said meanwhile."""
    outcomes: list[bool] = []
    limits = HandoverLimits(silence_s=0.05)
    sender = HandoverSender(path, ended=outcomes.append, limits=limits)
    owner = Frozen(path)
    ours, peer = new_pair()
    await peer.send(hello())
    sender.give(ours)
    channel, _ = owner.listener.accept()
    packet, [descriptor], _, _ = socket.recv_fds(channel, 8, 1)
    channel.send(packet)
    sender._check_silence()
    assert outcomes == [True]
    with socket.socket(fileno=descriptor) as adopted:
        assert adopted.recv(4096) == hello()
    channel.close()
    owner.close()
    peer.close()
    sender.close()


async def test_no_more_than_the_bound_are_on_their_way_to_one_owner(path: Path) -> None:
    frozen = Frozen(path)
    limits = HandoverLimits(outstanding_max=3, offers_max=5, silence_s=30.0)
    sender = HandoverSender(path, ended=lambda _: None, limits=limits)
    pairs = [new_pair() for _ in range(6)]
    for _, peer in pairs:
        await peer.send(hello())
    assert [sender.give(ours) for ours, _ in pairs] == [True] * 5 + [False]
    taken = frozen.take()
    assert len(taken) == 3
    sender.close()
    for _, peer in pairs[:5]:
        assert await peer.read() is False
    pairs[5][0].close()
    for sock in [*taken, *(peer.sock for _, peer in pairs)]:
        sock.close()
    frozen.close()


async def test_a_channel_of_another_user_is_not_served(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(path)
    monkeypatch.setattr("pointsman_wire.sockets.handover.is_same_user", lambda sock: False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.setblocking(False)
        stranger.connect(str(path))
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(stranger, 8), WAIT_S) == b""
    sender = HandoverSender(path, ended=lambda _: None, limits=HandoverLimits(silence_s=0.05))
    ours, peer = new_pair()
    await peer.send(hello())
    sender.give(ours)
    assert await peer.read() is False
    assert owner.adopted == []
    peer.close()
    owner.close()
    sender.close()


async def test_the_owner_learns_the_peers_address_and_preamble(path: Path) -> None:
    owner = Owner(path)
    sender = HandoverSender(path, ended=lambda _: None)
    ours, peer = new_pair()
    await peer.send(hello())
    sender.give(ours)
    await until(lambda: owner.adopted)
    [(sock, preamble, address)] = owner.adopted
    assert preamble == PREAMBLE
    assert address == "127.0.0.1"
    assert not sock.get_inheritable()
    assert sock.recv(4096) == hello()
    peer.close()
    owner.close()
    sender.close()


async def test_the_socket_file_is_private_and_leaves_with_its_owner(path: Path) -> None:
    Owner(path).close()
    assert not path.exists()
    owner = Owner(path)
    assert path.stat().st_mode & 0o777 == 0o600
    owner.close()
