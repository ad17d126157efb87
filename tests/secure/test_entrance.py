"""The TLS port in this process: who gets in, who does not, and what a flood gets."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from pointsman_wire.preamble import Secured
from pointsman_wire.secure.certificates import (
    Issued,
    Life,
    make_authority,
    make_request,
    make_server,
    request_key,
    sign_request,
)
from pointsman_wire.secure.contexts import service_context, trusting_context
from pointsman_wire.secure.grants import Grant
from pointsman_wire.secure.pins import pin_of_file
from pointsman_wire.sockets.handover import Origin
from pointsman_workers.shell.secure.entrance import Entrance, EntranceHooks, EntranceLimits

NOW_S = int(time.time())


class Place:
    """A TLS port, its files, and what came of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = make_authority("test", NOW_S)
        self.server = make_server(self.authority, ("localhost", "127.0.0.1"), NOW_S)
        self.address = ("", 0)
        self.inside: asyncio.Queue[tuple[socket.socket, Origin]] = asyncio.Queue(maxsize=1_000)
        self.ended: list[bool] = []
        self.write("server.pem", self.server.certificate)
        self.write("server.key", self.server.key)
        self.write("authority.pem", self.authority.certificate)

    def write(self, name: str, *content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(b"".join(content))
        return path

    @property
    def pin(self) -> str:
        return pin_of_file(self.directory / "server.pem")

    def let_in(self, sock: socket.socket, origin: Origin) -> None:
        self.inside.put_nowait((sock, origin))

    def node(
        self, name: str, *, authority: Issued | None = None, begins_s: int = 0, lasts_s: int = 3_600
    ) -> tuple[Path, bytes]:
        """Files of a node's identity, and the digest of its key."""
        key, request = make_request(None, name)
        who = Grant(name=name, pool="east", tenant="büro", labels=(("rack", "7=b"),))
        made = sign_request(
            authority or self.authority, request, who, Life(NOW_S + begins_s, lasts_s)
        )
        public = request_key(request)
        assert made is not None
        assert public is not None
        return self.write(f"{name}.pem", key, made), sha256(public).digest()

    async def dial(
        self, context: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.address
        return await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")


@asynccontextmanager
async def entrance(directory: Path, **limits: float) -> AsyncIterator[Place]:
    place = Place(directory)
    context = service_context(
        directory / "server.pem", directory / "server.key", directory / "authority.pem"
    )
    listener = socket.create_server(("127.0.0.1", 0))
    place.address = listener.getsockname()
    made = Entrance(
        listener,
        context,
        EntranceHooks(place.let_in, place.ended.append),
        EntranceLimits(**limits),  # type: ignore[arg-type]
    )
    try:
        async with asyncio.timeout(20):
            yield place
    finally:
        made.stop_accepting()
        await made.close()
        while not place.inside.empty():
            place.inside.get_nowait()[0].close()
        async with asyncio.timeout(10):
            while made.connection_count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def is_hung_up_on(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except OSError:
        return True


async def until_ended(place: Place, count: int = 1) -> None:
    while len(place.ended) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("by", ["pin", "ca"])
async def test_what_is_said_over_tls_comes_out_plain_and_back(tmp_path: Path, by: str) -> None:
    async with entrance(tmp_path) as place:
        context = trusting_context(
            pin=place.pin if by == "pin" else "", ca=tmp_path / "authority.pem"
        )
        reader, writer = await place.dial(context)
        inside, origin = await place.inside.get()
        assert origin == Origin("127.0.0.1", Secured())
        plain_reader, plain_writer = await asyncio.open_connection(sock=inside)
        big = bytes(range(256)) * 8_192  # more than all buffers between hold
        writer.write(big)
        assert await plain_reader.readexactly(len(big)) == big
        plain_writer.write(big)
        plain_writer.write_eof()  # the owner's last words arrive before the end does
        assert await reader.read(-1) == big
        for end in (writer, plain_writer):
            end.close()


async def test_a_slow_reader_slows_its_owner_and_nothing_piles_up(tmp_path: Path) -> None:
    async with entrance(tmp_path) as place:
        reader, writer = await place.dial(trusting_context(pin=place.pin))
        inside, _ = await place.inside.get()
        inside.setblocking(False)
        loop = asyncio.get_running_loop()
        sent, quiet = 0, 0
        piece = b"x" * 65_536
        while quiet < 20:  # until the owner's end takes no more, for a while
            try:
                sent += inside.send(piece)
                quiet = 0
            except BlockingIOError:
                quiet += 1
            await asyncio.sleep(0.01)
            assert sent < 64 * 1024**2
        inside.shutdown(socket.SHUT_WR)
        got = 0
        while data := await reader.read(1 << 20):
            got += len(data)
        assert got == sent
        assert loop.is_running()
        inside.close()
        writer.close()


async def test_another_server_is_not_told_even_the_first_byte(tmp_path: Path) -> None:
    """E3."""
    other = make_authority("other", NOW_S)
    (tmp_path / "other.pem").write_bytes(other.certificate)
    async with entrance(tmp_path) as place:
        for context in (
            trusting_context(pin="sha256:" + "00" * 32),
            trusting_context(ca=tmp_path / "other.pem"),
            trusting_context(),
        ):
            with pytest.raises(ssl.SSLCertVerificationError):
                await place.dial(context)
        # Whoever got in by a handshake that only the client found wrong has said nothing.
        while not place.inside.empty():
            inside, _ = place.inside.get_nowait()
            reader, writer = await asyncio.open_connection(sock=inside)
            assert await is_hung_up_on(reader)
            writer.close()


async def test_x1_tls_1_2_is_refused(tmp_path: Path) -> None:
    async with entrance(tmp_path) as place:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await place.dial(context)
        await until_ended(place)
        assert place.ended == [False]
        assert place.inside.empty()


async def test_a_plain_client_at_the_tls_port_is_hung_up_on(tmp_path: Path) -> None:
    async with entrance(tmp_path) as place:
        reader, writer = await asyncio.open_connection(*place.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while await reader.read(64):  # an alert, perhaps, and then the end
            pass
        writer.close()
        await until_ended(place)
        assert place.ended == [False]
        assert place.inside.empty()


async def test_x2_who_does_not_finish_his_handshake_is_hung_up_on(tmp_path: Path) -> None:
    async with entrance(tmp_path, handshake_s=0.2, handshakes_max=4) as place:
        slow = [await asyncio.open_connection(*place.address) for _ in range(4)]
        for _, writer in slow:
            writer.write(b"\x16\x03\x01")  # the beginning of a hello
        for reader, writer in slow:
            assert await is_hung_up_on(reader)
            writer.close()
        # Their places are free again.
        _, writer = await place.dial(trusting_context(pin=place.pin))
        await until_ended(place, 5)
        writer.close()
        assert place.ended == [False] * 4 + [True]


async def test_x2_one_address_that_ends_no_handshake_leaves_room_for_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here everybody comes from loopback: 127.0.0.2 stands for a host elsewhere.
    far = "127.0.0.2"
    monkeypatch.setattr("pointsman_wire.sockets.bounds.is_loopback", lambda name: name != far)
    async with entrance(tmp_path, handshakes_max=16) as place:
        slow = [
            await asyncio.open_connection(*place.address, local_addr=(far, 0)) for _ in range(16)
        ]
        reader, writer = await place.dial(trusting_context(pin=place.pin))
        await until_ended(place)
        assert place.ended == [True]
        turned_away = [asyncio.create_task(is_hung_up_on(reader)) for reader, _ in slow]
        async with asyncio.timeout(10):
            while sum(task.done() for task in turned_away) < 14:  # 2 of 16 may be one address's
                await asyncio.wait(turned_away, timeout=0.05)
        for task in turned_away:
            task.cancel()
        await asyncio.gather(*turned_away, return_exceptions=True)
        for _, end in [*slow, (reader, writer)]:
            end.close()


async def test_x2_a_flood_of_handshakes_waits_in_the_kernel_and_is_served_in_turn(
    tmp_path: Path,
) -> None:
    per_s = 10
    async with entrance(tmp_path, handshakes_per_s_max=per_s) as place:
        since_s = time.monotonic()
        context = trusting_context(pin=place.pin)
        dials = [asyncio.create_task(place.dial(context)) for _ in range(15)]
        while len(place.ended) < len(dials):
            begun = len(place.ended)
            assert begun <= per_s + per_s * (time.monotonic() - since_s) + 1
            await asyncio.sleep(0.01)
        assert place.ended == [True] * len(dials)
        for dial in dials:
            (await dial)[1].close()


async def test_x2_who_has_given_up_in_the_queue_costs_nobody_behind_them_a_handshake(
    tmp_path: Path,
) -> None:
    """One a second and one at a time: with those that left there would be no turn for long."""
    async with entrance(tmp_path, handshakes_per_s_max=1, handshakes_max=8) as place:
        context = trusting_context(pin=place.pin)
        (await place.dial(context))[1].close()  # the second's only one
        hello = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
        said = hello.read()
        for _ in range(40):
            with socket.create_connection(place.address) as gone:
                gone.sendall(said)
        _, writer = await place.dial(context)
        writer.close()
        await until_ended(place, 2)
        assert place.ended == [True, True]


async def test_e5_the_certificate_that_a_node_shows_says_who_it_is(tmp_path: Path) -> None:
    async with entrance(tmp_path) as place:
        file, digest = place.node("alpha")
        context = trusting_context(pin=place.pin)
        context.load_cert_chain(file)
        _, writer = await place.dial(context)
        inside, origin = await place.inside.get()
        inside.close()
        secured = origin.secured
        assert (secured.name, secured.pool, secured.key_digest) == ("alpha", "east", digest)
        assert secured.ends_at_s == NOW_S + 3_600
        assert (secured.tenant, secured.labels) == ("büro", (("rack", "7=b"),))
        writer.close()


@pytest.mark.parametrize("fault", ["expired", "another authority's", "not yet"])
async def test_a_certificate_that_is_not_in_force_or_not_ours_opens_nothing(
    tmp_path: Path, fault: str
) -> None:
    async with entrance(tmp_path) as place:
        file, _ = {
            "expired": lambda: place.node("old", begins_s=-7_200),
            "not yet": lambda: place.node("new", begins_s=86_400),
            "another authority's": lambda: place.node(
                "alien", authority=make_authority("test", NOW_S)
            ),
        }[fault]()
        context = trusting_context(pin=place.pin)
        context.load_cert_chain(file)
        try:
            reader, writer = await place.dial(context)
        except OSError:  # told so within the handshake
            pass
        else:
            assert await is_hung_up_on(reader)
            writer.close()
        await until_ended(place)
        assert place.ended == [False]
        assert place.inside.empty()
