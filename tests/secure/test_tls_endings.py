"""Servers that never answer the end of a TLS connection: a client's socket is closed all the same.

asyncio waits 30 s for that answer, and a loop that ends before leaves the socket open.
"""

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shells.socket_harness import CLIENT_UNIONS, NotingCore, driving, until

from pointsman.errors import NodeRefused
from pointsman.secure.node_identity import Introduced, NodeIdentity
from pointsman.secure.wall_clock import wall_clock_s
from pointsman_wire.errors import Code
from pointsman_wire.framing import encode_frame
from pointsman_wire.link import Connection, Dial, Dialled, Send
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.secure.certificates import make_authority, make_server
from pointsman_wire.secure.contexts import service_context, trusting_context
from pointsman_wire.session_messages import ClientHeartbeat
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings
from pointsman_wire.sockets.driver import Driver

ENOUGH_S = 20.0


class Server:
    """Takes one connection over TLS."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        now_s = int(wall_clock_s())
        authority = make_authority("yard", now_s)
        made = make_server(authority, ("localhost",), now_s)
        (folder / "authority.pem").write_bytes(authority.certificate)
        (folder / "server.pem").write_bytes(made.certificate)
        (folder / "server.key").write_bytes(made.key)
        names = (folder / name for name in ("server.pem", "server.key", "authority.pem"))
        self._context = service_context(*names)
        self._listener = listener
        listener.settimeout(ENOUGH_S)
        self.address = f"localhost:{listener.getsockname()[1]}"
        self.trusting = trusting_context(ca=folder / "authority.pem")

    def accept(self) -> ssl.SSLSocket:
        sock, _ = self._listener.accept()
        sock.settimeout(ENOUGH_S)
        return self._context.wrap_socket(sock, server_side=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        yield Server(tmp_path, listener)


@contextmanager
def refusing(server: Server) -> Iterator[None]:
    """The server refuses what it is asked, and says nothing after that."""
    is_over = threading.Event()

    def serve() -> None:
        with server.accept() as peer:
            peer.recv(65_536)
            peer.sendall(encode_frame(Error(error_info(Code.UNAUTHORIZED, "not you"))))
            is_over.wait(ENOUGH_S)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def told_by(server: Server, folder: Path) -> str:
    """Enrol in a loop of its own; return why it was refused."""
    identity = NodeIdentity(folder, server.address, server.trusting)
    try:
        asyncio.run(identity.enrol(Introduced(secret="s", name="alpha")))
    except NodeRefused as error:
        return str(error)
    return ""


def test_who_enrols_leaves_no_socket_with_a_server_that_never_says_good_bye(
    server: Server, tmp_path: Path
) -> None:
    gc.collect()
    with refusing(server), warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        assert "not you" in told_by(server, tmp_path)
        gc.collect()
    assert [str(warning.message) for warning in unclosed] == []


async def dialled(
    driver: Driver, core: NotingCore, server: Server
) -> tuple[Connection, ssl.SSLSocket]:
    """Let the driver dial; return its connection, and the server's end."""
    driver.post([Dial(1, Preamble(Role.SESSION, None))])
    peer = await asyncio.to_thread(server.accept)
    await until(lambda: core.events(Dialled))
    return core.events(Dialled)[0].connection, peer


def obey(event: object) -> list[object]:
    """Let a test post the commands it wants carried out."""
    return event if isinstance(event, list) else []


async def test_a_connection_that_its_peer_ends_without_reading_is_closed_with_its_driver(
    server: Server,
) -> None:
    """The end that the peer began waits for what the peer does not read: it is cut off."""
    core = NotingCore(obey)
    settings = DriverSettings(server_address=server.address, tls=server.trusting)
    async with driving(core, settings=settings, unions=CLIENT_UNIONS) as driver:
        number, peer = await dialled(driver, core, server)
        [connection] = driver.alive
        transport = connection.transport
        assert transport is not None
        seen = len(core.steps)
        driver.post([Send(number, ClientHeartbeat(number=1), b"x" * 500_000)] * 20)
        await until(lambda: len(core.steps) > seen)
        peer.setblocking(False)
        with pytest.raises(ssl.SSLError):  # it says so, and finds data instead of our answer
            peer.unwrap()
        await until(transport.is_closing)
        assert driver.alive
    assert not driver.alive
    peer.close()


async def test_a_driver_whose_end_is_cancelled_cuts_off_what_was_ending(server: Server) -> None:
    """So whoever interrupts a client that waits for its server leaves no socket open."""
    core = NotingCore(obey)
    settings = DriverSettings(
        server_address=server.address,
        tls=server.trusting,
        limits=ConnectionLimits(linger_s=3_600.0),
    )
    async with driving(core, settings=settings, unions=CLIENT_UNIONS) as driver:
        _, peer = await dialled(driver, core, server)
        [connection] = driver.alive
        ending = asyncio.create_task(driver.end(3_600.0))
        await until(lambda: connection.transport is None)
        assert driver.alive
        ending.cancel()
        await until(lambda: not driver.alive)
        assert ending.cancelled()
        peer.close()
