"""Unix sockets of a worker: the uplink dials for ever, bells ring, lost rings are nothing."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from shells.socket_harness import until

from pointsman_shm.paths import InstancePaths
from pointsman_shm.uplink import (
    FromWorker,
    ManagerWelcome,
    ModelUnavailable,
    SnapshotPublished,
    UplinkMessage,
    WorkerHello,
    WorkerPressed,
)
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_workers.shell import uplink as uplink_module
from pointsman_workers.shell.bells import Bells
from pointsman_workers.shell.uplink import Uplink

HELLO = WorkerHello(worker_index=1, pid=77, epoch=5)


@pytest.fixture
def paths(tmp_path: Path) -> InstancePaths:
    return InstancePaths(instance="t", state_dir=tmp_path, runtime_dir=tmp_path)


class Manager:
    """The other end of uplinks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[UplinkMessage] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._talk, str(self.path))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        frames = FrameDecoder()
        decoder: HeaderDecoder[UplinkMessage] = HeaderDecoder(FromWorker)
        while data := await reader.read(65536):
            self.heard += [decoder.decode(header) for header, _ in frames.feed(data)]
        writer.close()

    async def die(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()
        await asyncio.sleep(0)
        self.path.unlink(missing_ok=True)


async def test_the_uplink_says_who_it_is_on_every_new_connection(paths: InstancePaths) -> None:
    heard: list[UplinkMessage] = []
    uplink = Uplink(paths.manager_uplink, HELLO, heard.append)
    await asyncio.sleep(0.05)
    assert not uplink.is_up
    assert uplink.tell(WorkerPressed(step=1)) is False
    for _ in range(2):
        manager = Manager(paths.manager_uplink)
        await manager.start()
        await until(lambda manager=manager: manager.heard == [HELLO])  # type: ignore[misc]
        await until(lambda: uplink.is_up)
        assert uplink.tell(WorkerPressed(step=1)) is True
        await until(lambda manager=manager: len(manager.heard) == 2)  # type: ignore[misc]
        manager.writers[0].write(encode_frame(ManagerWelcome(2, "uid")))
        manager.writers[0].write(encode_frame(SnapshotPublished(9)))
        await until(lambda: len(heard) == 2)
        assert heard == [ManagerWelcome(2, "uid"), SnapshotPublished(9)]
        heard.clear()
        await manager.die()
        await until(lambda: not uplink.is_up)
    await uplink.close()


async def test_nonsense_on_the_uplink_ends_that_connection_only(paths: InstancePaths) -> None:
    heard: list[UplinkMessage] = []
    manager = Manager(paths.manager_uplink)
    await manager.start()
    uplink = Uplink(paths.manager_uplink, HELLO, heard.append)
    await until(lambda: manager.heard)
    manager.writers[0].write(b"\xff" * 64)
    await until(lambda: len(manager.heard) == 2)
    manager.writers[1].write(encode_frame(SnapshotPublished(1)))
    await until(lambda: heard)
    await uplink.close()
    await manager.die()


async def test_a_manager_that_does_not_read_makes_nothing_pile_up(
    paths: InstancePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink_module, "UNSENT_BYTES_MAX", 10_000)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.manager_uplink))
        listener.listen(1)
        uplink = Uplink(paths.manager_uplink, HELLO, lambda message: None)
        await until(lambda: uplink.is_up)
        told = [uplink.tell(ModelUnavailable(1, 1, "x" * 1000)) for _ in range(5000)]
        assert told[0] is True
        assert told[-1] is False
        await uplink.close()


async def test_a_bell_rings_at_the_right_worker(paths: InstancePaths) -> None:
    rung: list[tuple[int, int]] = []
    mine = Bells(paths, 0, lambda *ring: rung.append(ring))
    other = Bells(paths, 1, lambda *ring: None)
    assert other.ring(0, 2**20 - 1) is True
    assert other.ring(0, 3) is True
    await until(lambda: len(rung) == 2)
    assert rung == [(1, 2**20 - 1), (1, 3)]
    assert other.ring(2, 3) is False, "worker 2 is away"
    mine.close()
    assert other.ring(0, 3) is False
    other.close()
    assert not paths.bell(0).exists()


async def test_a_full_bell_and_foreign_datagrams_are_nothing(paths: InstancePaths) -> None:
    rung: list[tuple[int, int]] = []
    mine = Bells(paths, 0, lambda *ring: rung.append(ring))
    other = Bells(paths, 1, lambda *ring: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"not a ring at all", str(paths.bell(0)))
        stranger.sendto(b"", str(paths.bell(0)))
    rings = [other.ring(0, number) for number in range(10_000)]
    assert rings[0] is True
    assert rings[-1] is False
    await until(lambda: len(rung) == sum(rings))
    assert other.ring(0, 1) is True
    mine.close()
    other.close()


async def test_the_bells_file_is_private(paths: InstancePaths) -> None:
    bells = Bells(paths, 0, lambda *ring: None)
    assert os.stat(paths.bell(0)).st_mode & 0o777 == 0o600
    bells.close()
