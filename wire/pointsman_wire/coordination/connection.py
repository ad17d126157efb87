"""Connections to Redis servers: the one place where redis-py is used.

A `Line` is one connection.  Exchanges on it are pipelines; several may be under way, and replies
come in order.  redis-py connects and logs in; then its transport is taken over (`reach.pipelines`),
because a stream costs a task for each pipeline and several turns of the loop.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast
from urllib.parse import unquote, urlsplit

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
from pointsman_wire.coordination.reach.pipelines import NEVER_S, Broken, Pipelines, Replies
from pointsman_wire.coordination.settings import RedisSettings

PORT = 6379
SENTINEL_PORT = 26379

Told = Callable[["list[object] | Unanswered"], None]

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
        self._pipelines: Pipelines | None = None

    @property
    def is_open(self) -> bool:
        return self._pipelines is not None and not self._pipelines.is_over

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
        self.close()
        self._pipelines = Pipelines(_taken(connection))

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

    def close(self) -> None:
        """Hang up; whoever waits for a reply is told that none came."""
        pipelines, self._pipelines = self._pipelines, None
        if pipelines is not None:
            pipelines.give_up("we hung up")

    def send(
        self,
        packed: bytes,
        count: int,
        done: Told,
        until_s: float = NEVER_S,
    ) -> None:
        """Send so many commands as one pipeline; `done` is told the replies, or that none came.

        What is not answered at until_s, by the loop's clock, breaks the line.  Refusals are
        replies.  Raises NotReached when the line is not open.
        """
        pipelines = self._pipelines
        if pipelines is None or not pipelines.send(
            packed, count, partial(self._tell, done), until_s
        ):
            raise NotReached(f"Redis at {self.address}: not connected")

    def _tell(self, done: Told, replies: Replies) -> None:
        if isinstance(replies, Broken):
            done(Unanswered(f"Redis at {self.address}: {replies.why}"))
        else:
            done(replies)

    async def exchange(self, commands: Sequence[bytes]) -> list[object]:
        """Send packed commands as one pipeline and return the replies, refusals as `Refusal`.

        Raises NotReached when the line is not open, Unanswered when it broke.
        """
        replies: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

        def done(found: list[object] | Unanswered) -> None:
            if replies.done():
                return
            if isinstance(found, Unanswered):
                replies.set_exception(found)
            else:
                replies.set_result(found)

        self.send(b"".join(commands), len(commands), done)
        asked = self._pipelines
        try:
            return await replies
        except asyncio.CancelledError:
            if asked is not None:
                asked.give_up("a call was given up")
            raise


def _taken(connection: AbstractConnection) -> asyncio.StreamWriter:
    """The stream of a connection that is logged in; redis-py leaves it alone from now on."""
    stream = connection._writer
    assert stream is not None, "a connection that was made has a stream"
    connection._reader = connection._writer = None
    return stream


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
