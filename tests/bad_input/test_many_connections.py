"""More connections than there are descriptors: the newest are turned away, nobody else suffers."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from live.bystander import bystander
from live.service import LiveService, started
from supervised_service import Place

from pointsman_wire.framing import encode_frame
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import SessionInit

DESCRIPTORS = 160
DIALS = 400
HELLO = encode_preamble(Role.SESSION) + encode_frame(SessionInit())


class NarrowPlace(Place):
    """Where a process may have few descriptors."""

    def command(self, *options: str) -> list[str]:
        narrow = ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh"]
        return [*narrow, *super().command(*options)]


@pytest.fixture
def service() -> Iterator[LiveService]:
    with TemporaryDirectory(prefix="pm-") as name:
        here = NarrowPlace(Path(name))
        try:
            with started(here) as running:
                yield running
                running.stop()
        finally:
            here.remove_segments()


async def is_served(sock: socket.socket) -> bool:
    """Does the service answer on this connection, or has it hung up?"""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(10):
            return bool(await loop.sock_recv(sock, 1000))
    except ConnectionError:
        return False


async def dial(port: int, stack: ExitStack) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock = stack.enter_context(socket.socket())
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    try:
        await loop.sock_sendall(sock, HELLO)
    except ConnectionError:  # turned away already
        pass
    return sock


async def room_comes_back(port: int) -> None:
    with ExitStack() as stack:
        async with asyncio.timeout(10):
            while not await is_served(await dial(port, stack)):
                pass


async def test_connections_above_the_bound_are_turned_away_and_room_comes_back(
    service: LiveService, tmp_path: Path
) -> None:
    """N15: a cap before the last descriptor; who is in goes on; afterwards all is as before."""
    async with bystander(service, tmp_path) as someone:
        workers = [pid for name, pid in service.process.pids().items() if "worker" in name]
        with ExitStack() as stack:
            socks = [await dial(service.port, stack) for _ in range(DIALS)]
            answers = await asyncio.gather(*map(is_served, socks))
            assert 50 < sum(answers) < DIALS - 50, "some are served, some are turned away"
            for pid in workers:
                assert psutil.Process(pid).num_fds() < DESCRIPTORS
            await someone.goes_on()
        await room_comes_back(service.port)
