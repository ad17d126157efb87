"""Who comes back over TLS shows a ticket: the handshake is short, and nobody gets in by it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pointsman.secure.wall_clock import wall_clock_s
from pointsman_wire.secure.certificates import (
    Issued,
    Life,
    make_authority,
    make_request,
    make_server,
    sign_request,
)
from pointsman_wire.secure.contexts import service_context, trusting_context
from pointsman_wire.secure.grants import Grant
from pointsman_wire.secure.pins import pin_of_file

NOW_S = int(wall_clock_s())
ENOUGH_S = 30


class Yard:
    """A server's files, and those of its nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = make_authority("yard", NOW_S)
        (folder / "authority.pem").write_bytes(self.authority.certificate)
        self.server = self.serve("server")
        self.pin = pin_of_file(folder / "server.pem")

    def serve(self, name: str) -> ssl.SSLContext:
        """Another server of the same authority, with a key of its own."""
        made = make_server(self.authority, ("localhost",), NOW_S)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(made.certificate)
        key.write_bytes(made.key)
        return service_context(certificate, key, self.folder / "authority.pem")

    def node(self, name: str, authority: Issued | None = None) -> Path:
        """Key and certificate of a node, in one file."""
        key, request = make_request(None, name)
        grant = Grant(name=name, pool="east")
        certificate = sign_request(authority or self.authority, request, grant, Life(NOW_S, 1_000))
        assert certificate is not None
        file = self.folder / f"{name}.pem"
        file.write_bytes(key + certificate)
        return file


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard(tmp_path_factory.mktemp("yard"))


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that says as whom its peer is known; yields its port."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        subject = dict(part[0] for part in (tls.getpeercert() or {}).get("subject", ()))
        writer.write(f"{subject.get('commonName', 'nobody')}\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def come(port: int, context: ssl.SSLContext) -> tuple[str, bool]:
    """Connect once; return as whom, and whether by a ticket."""
    async with asyncio.timeout(ENOUGH_S):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        name = (await reader.readline()).decode().strip()
        is_short = bool(writer.get_extra_info("ssl_object").session_reused)
        writer.transport.abort()
        return name, is_short


async def is_refused(port: int, context: ssl.SSLContext) -> bool:
    """Is who comes so told nothing?  In TLS 1.3 a client hears of it when it reads."""
    try:
        return (await come(port, context))[0] == ""
    except (ssl.SSLError, ConnectionError):
        return True


async def test_x2_clients_and_nodes_that_come_back_show_their_tickets(yard: Yard) -> None:
    contexts = {
        "nobody": trusting_context(pin=yard.pin),
        "alpha": trusting_context(pin=yard.pin),
        "beta": trusting_context(ca=yard.folder / "authority.pem"),
    }
    async with serving(yard.server) as port:
        for name, context in contexts.items():
            if name != "nobody":
                context.load_cert_chain(yard.node(name))
            came = [await come(port, context) for _ in range(3)]
            assert came == [(name, False), (name, True), (name, True)]
    async with serving(yard.serve("restarted")) as port:
        anew = trusting_context(ca=yard.folder / "authority.pem")
        assert await come(port, anew) == ("nobody", False)


async def test_x2_who_dials_several_times_at_once_comes_in_with_the_ticket_of_before(
    yard: Yard,
) -> None:
    """As a node does, one lane for each worker: a handshake that is under way has none to show."""
    context = trusting_context(pin=yard.pin)
    async with serving(yard.server) as port:
        begin_handshake(context)
        assert await come(port, context) == ("nobody", False)
        begin_handshake(context)
        assert await come(port, context) == ("nobody", True)


def begin_handshake(context: ssl.SSLContext) -> None:
    """Dial, and hear nothing yet."""
    made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        made.do_handshake()


async def test_e4_a_node_that_was_renewed_does_not_come_as_who_it_was(yard: Yard) -> None:
    context = trusting_context(pin=yard.pin)
    context.load_cert_chain(yard.node("old"))
    async with serving(yard.server) as port:
        assert await come(port, context) == ("old", False)
        assert await come(port, context) == ("old", True)
        context.load_cert_chain(yard.node("new"))
        assert await come(port, context) == ("new", False)


async def test_a_ticket_does_not_lead_to_a_server_with_another_key(yard: Yard) -> None:
    context = trusting_context(pin=yard.pin)
    async with serving(yard.server) as port:
        assert await come(port, context) == ("nobody", False)
    async with serving(yard.serve("false")) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="another key"):
            await come(port, context)
    async with serving(yard.server) as port:
        assert (await come(port, context))[0] == "nobody"


async def test_a_ticket_of_one_server_is_worth_nothing_at_another(yard: Yard) -> None:
    """Workers have keys of their own for tickets: a full handshake is what comes of it."""
    context = trusting_context(ca=yard.folder / "authority.pem")
    async with serving(yard.server) as port:
        assert await come(port, context) == ("nobody", False)
    async with serving(yard.serve("other")) as port:
        assert await come(port, context) == ("nobody", False)


async def test_e1_a_certificate_of_a_foreign_authority_gets_no_ticket(yard: Yard) -> None:
    foreign = yard.node("mallory", make_authority("elsewhere", NOW_S))
    context = trusting_context(pin=yard.pin)
    context.load_cert_chain(foreign)
    async with serving(yard.server) as port:
        for _ in range(2):
            assert await is_refused(port, context)
