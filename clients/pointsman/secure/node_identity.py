"""Who a node is: its key, which never leaves its state_dir, and the certificate for it.

<state_dir>/tls/node.pem    key and certificate, replaced as a whole; 0600

    none yet --enrol(secret)--> kept --at 67 % of its life: renew--> kept ... --over--> enrol again
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from pointsman.errors import NodeRefused
from pointsman.node_store import NodeStateError
from pointsman.options import NodeSettings
from pointsman.secure.renewal import Life
from pointsman.secure.wall_clock import wall_clock_s
from pointsman_wire.control_messages import Enrol, Enrolled, ToNode
from pointsman_wire.errors import Code
from pointsman_wire.framing import FrameDecoder, FrameError, encode_frame
from pointsman_wire.limits import HANDSHAKE_BYTES_MAX
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.sockets.tcp import split_address

ENROL_S = 15.0
NEEDS_LIBRARY = "enrolling needs one more library: pip install 'pointsman[tls]'"
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_decode = msgspec.msgpack.Decoder(ToNode).decode
_log = logging.getLogger("pointsman.node")


class Introduced(msgspec.Struct, frozen=True, kw_only=True):
    """With what a node enrols: the secret that an operator gave out, for this name and pool."""

    secret: str
    name: str
    pool: str = ""


class NodeIdentity:
    """The key and certificate of one node; `context` shows them from the next connection on."""

    def __init__(self, state_dir: Path, place: str, context: ssl.SSLContext) -> None:
        self._path = state_dir / "tls" / "node.pem"
        self._place = place
        self._context = context
        self._life: Life | None = None

    async def is_shown(self, introduced: Introduced | None) -> bool:
        """Show the certificate that is kept, or is given now; False when there is none.

        Raises NodeRefused, NodeStateError, OSError, ModuleNotFoundError (the extra `tls`).
        """
        if not self._path.exists():
            if introduced is None:
                return False
            await self.enrol(introduced)
        self.load()
        return True

    def load(self) -> None:
        """Show what is kept from now on.  Raises NodeStateError."""
        try:
            text = self._path.read_text(encoding="ascii")
            self._context.load_cert_chain(self._path)
        except (OSError, ValueError) as error:
            raise NodeStateError(f"{self._path}: {error}; remove it and enrol again") from None
        self._life = life_of(text)
        if self._life.is_over(wall_clock_s()):
            raise NodeStateError(
                f"{self._path}: this certificate is over: remove it, and enrol again with a new "
                "introduction (pointsman enrol)"
            )

    async def enrol(self, introduced: Introduced) -> None:
        """Make a key, get a certificate for it, keep both.  Raises NodeRefused, OSError."""
        key, request = make_request(None, introduced.name)
        wish = Enrol(
            secret=introduced.secret,
            name=introduced.name,
            pool=introduced.pool,
            request=request,
        )
        answer = await _asked(self._place, self._context, wish)
        if isinstance(answer, Error):
            raise NodeRefused(answer.error)
        self._keep(key.decode("ascii"), answer.certificate.decode("ascii"))
        _log.info("node %s: enrolled", answer.name)

    def take(self, certificate: bytes) -> None:
        """Keep a newer certificate for the same key."""
        key = self._path.read_text(encoding="ascii").partition(_CERTIFICATE)[0]
        self._keep(key, certificate.decode("ascii"))
        self.load()

    async def keep_fresh(self, wish: Callable[[bytes], None]) -> None:
        """Wish for a newer certificate in time, again and again while none comes."""
        while self._life is not None:
            await asyncio.sleep(self._life.look_s)
            now_s = wall_clock_s()
            if self._life.is_due(now_s):
                kept = self._path.read_bytes().partition(_CERTIFICATE.encode("ascii"))[0]
                wish(make_request(kept, "renewal")[1])
            if self._life.is_alarming(now_s):
                left_s = self._life.ends_at_s - now_s
                _log.error("the node's certificate ends in %.0f s and is not renewed", left_s)

    def _keep(self, key: str, certificate: str) -> None:
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key + certificate)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)


def introduced_by(settings: NodeSettings) -> Introduced | None:
    """Return the introduction among a node's options."""
    if not settings.enrol:
        return None
    return Introduced(secret=settings.enrol, name=settings.node_id, pool=settings.pool)


def make_request(key: bytes | None, name: str) -> tuple[bytes, bytes]:
    """Return key (PEM) and signing request (DER).  Raises ModuleNotFoundError with words."""
    try:
        from pointsman_wire.secure import certificates
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(NEEDS_LIBRARY, name=error.name) from error
    return certificates.make_request(key, name)


def life_of(pem: str) -> Life:
    """Return when the certificate in a file begins and ends."""
    from pointsman_wire.secure.certificates import life_of as read_life

    start = pem.index(_CERTIFICATE)
    return Life(*read_life(pem[start:].encode("ascii")))


async def _asked(place: str, context: ssl.SSLContext, wish: Enrol) -> Enrolled | Error:
    """Say one thing on a control connection, and return what comes back.  Raises OSError."""
    host, port = split_address(place)
    async with asyncio.timeout(ENROL_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(encode_preamble(Role.CONTROL) + encode_frame(wish))
            await writer.drain()
            return await _answer_in(reader)
        except (FrameError, msgspec.DecodeError) as error:
            return Error(error_info(Code.INVALID_MESSAGE, f"the server's answer: {error}"))
        finally:
            await _hang_up(writer)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close at once: nothing more is said, and a server may never answer the end of its TLS."""
    writer.transport.abort()
    try:
        await writer.wait_closed()
    except OSError:  # the server was faster
        pass


async def _answer_in(reader: asyncio.StreamReader) -> Enrolled | Error:
    decoder = FrameDecoder(HANDSHAKE_BYTES_MAX)
    while data := await reader.read(HANDSHAKE_BYTES_MAX):
        messages = [_decode(header) for header, _ in decoder.feed(data)]
        for message in messages:
            if isinstance(message, Enrolled | Error):
                return message
    raise ConnectionResetError("the server ended the connection without an answer")
