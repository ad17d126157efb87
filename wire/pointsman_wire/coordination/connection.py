"""Connections to Redis servers: the one place where redis-py is used.

A `Line` is one connection.  Exchanges on it are pipelines; several may be under way, and replies
come in order.  An exchange that fails or is cancelled closes the line, because what would come next
is the answer to something else.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis
from redis import crc
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from pointsman_wire.coordination.errors import Refusal, refusal
from pointsman_wire.coordination.reach.greeting import Address
from pointsman_wire.coordination.settings import RedisSettings

PORT = 6379
SENTINEL_PORT = 26379

Command = tuple[str | int | float | bytes, ...]

# redis-py takes the code off the words; the more special class stands before its parent.
_CODES: tuple[tuple[type[RedisError], str], ...] = (
    (NoScriptError, "NOSCRIPT"),
    (MovedError, "MOVED"),
    (AskError, "ASK"),
    (ReadOnlyError, "READONLY"),
    (TryAgainError, "TRYAGAIN"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (ClusterCrossSlotError, "CROSSSLOT"),
    (BusyLoadingError, "LOADING"),
    (OutOfMemoryError, "OOM"),
    (NoPermissionError, "NOPERM"),
    (AuthenticationError, "NOAUTH"),
)


class NotReached(Exception):
    """No connection, or none that may be used: nothing was asked."""


class Unanswered(Exception):
    """It was sent, and no answer came: whether it was done is unknown."""


def slot_of(key: str) -> int:
    """The slot of a key in a Cluster."""
    return crc.key_slot(key.encode())


def main_address(settings: RedisSettings) -> Address:
    """The server that the url names.  Raises ValueError for another kind of url."""
    parts = urlsplit(settings.url)
    if parts.scheme == "unix":
        return Address(unquote(parts.path), 0)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(f"redis.url: {settings.url!r} is not redis://, rediss:// or unix://")
    return Address(parts.hostname, parts.port or PORT)


def sentinel_addresses(settings: RedisSettings) -> list[Address]:
    """Where the Sentinels are."""
    found = []
    for text in settings.sentinels:
        parts = urlsplit(f"//{text}")
        found.append(Address(parts.hostname or "", parts.port or SENTINEL_PORT))
    return found


def _database(settings: RedisSettings) -> int:
    path = urlsplit(settings.url).path.strip("/")
    return int(path) if path.isdigit() and not settings.cluster else 0


class Line:
    """One connection to one server, opened when it is wanted."""

    def __init__(
        self, settings: RedisSettings, address: Address, *, sentinel: bool = False
    ) -> None:
        self.address = address
        self._settings = settings
        self._sentinel = sentinel
        self._connection: AbstractConnection | None = None
        self._last: asyncio.Event | None = None  # set when the last exchange has read

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self) -> None:
        """Connect and log in.  Raises NotReached."""
        connection = self._made()
        try:
            await cast(Any, connection).connect()  # untyped in redis-py
        except (RedisError, OSError, ssl.SSLError) as error:
            await connection.disconnect(nowait=True)
            raise NotReached(f"Redis at {self.address}: {_words(error)}") from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection, self._last = connection, None

    def _made(self) -> AbstractConnection:
        settings, (host, port) = self._settings, self.address
        user, secret = settings.username, settings.password.reveal()
        if self._sentinel:
            user, secret = settings.sentinel_username, settings.sentinel_password.reveal()
        # Any: redis-py's signatures are wide, and every value here is a plain one.
        options: dict[str, Any] = {
            "db": 0 if self._sentinel else _database(settings),
            "username": (user if secret else None) or None,
            "password": secret or None,
            "driver_info": None,  # it would be set by a command more
        }
        if not port:
            return UnixDomainSocketConnection(path=host, **options)
        options |= {"host": host, "port": port}
        if urlsplit(settings.url).scheme != "rediss":
            return Connection(**options)
        return SSLConnection(
            ssl_ca_certs=settings.ca_file,
            ssl_certfile=settings.cert_file,
            ssl_keyfile=settings.key_file,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
            **options,
        )

    async def close(self) -> None:
        """Hang up; whoever waits for a reply is told that none came."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        """Send commands as one pipeline and return the replies, refusals as `Refusal`.

        Raises NotReached when the line is not open, Unanswered when it broke.
        """
        connection = self._connection
        if connection is None:
            raise NotReached(f"Redis at {self.address}: not connected")
        before, mine = self._last, asyncio.Event()
        self._last = mine
        try:
            # Sends without giving way first, so that replies come in the order of `_last`.
            packed = b"".join([hiredis.pack_command(cast(Any, c)) for c in commands])
            await connection.send_packed_command(packed, check_health=False)
            if before is not None:
                await before.wait()
            return [await _reply(connection) for _ in commands]
        except (RedisError, OSError, ssl.SSLError) as error:
            await self._break(connection)
            raise Unanswered(f"Redis at {self.address}: {error}") from error
        except BaseException:
            await self._break(connection)
            raise
        finally:
            mine.set()

    async def _break(self, connection: AbstractConnection) -> None:
        if self._connection is connection:
            self._connection = None
        await connection.disconnect(nowait=True)


async def _reply(connection: AbstractConnection) -> object:
    try:
        reply: object = await connection.read_response(
            disable_decoding=True, disconnect_on_error=False
        )
    except (ResponseError, BusyLoadingError, AuthenticationError) as error:
        return _refusal(error)
    return reply


def _words(error: Exception) -> str:
    """What went wrong while connecting; redis-py wraps a refused login into another error."""
    causes = (error, error.__cause__, error.args[0] if error.args else None)
    refused = (ResponseError, BusyLoadingError, AuthenticationError)
    found = next((cause for cause in causes if isinstance(cause, refused)), None)
    return str(_refusal(found)) if found else str(error)


def _refusal(error: Exception) -> Refusal:
    words = str(error.args[0]) if error.args else ""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if code == "NOAUTH" and "username-password" in words:
        code = "WRONGPASS"
    return Refusal(code, words) if code else refusal(words)
