"""The admin socket of a process: one frame asks, one frame answers, in turn.

What a query asks is known at once; an order (order_messages) may take a while to be carried out.
This user, root and a group of operators give orders, a group of readers only asks; nobody else is
answered (unix_sockets.access_of).  What a process cannot answer is answered by an `error`, as
is what is no question at all.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import msgspec

from pointsman_wire.admin_messages import AdminAnswer, AdminQuery
from pointsman_wire.errors import Code
from pointsman_wire.framing import (
    LENGTH_BYTES,
    PREFIX_BYTES,
    FrameTooLarge,
    HeaderDecoder,
    MessageError,
    encode_frame,
)
from pointsman_wire.limits import HEADER_BYTES_MAX
from pointsman_wire.messages import Error, Message, error_answer
from pointsman_wire.order_messages import (
    ONLY_ASKED,
    LogLevel,
    LogLevelOrder,
    Order,
    OrderAnswer,
)
from pointsman_wire.queries.operating_messages import Audit, AuditLine, AuditQuery
from pointsman_wire.sockets.unix_sockets import (
    NO_GROUPS,
    Access,
    Groups,
    access_of,
    is_same_user,
    is_service_user,
    peer_words,
)

QUERY_BYTES_MAX = 64 * 1024
ANSWER_S = 5.0
ORDER_S = 30.0
CONNECTIONS_MAX = 32
_BREATH_S = 0.1

_PREFIX = struct.Struct("<II")
_decode_query: Callable[[bytes], Message] = HeaderDecoder[Message](AdminQuery | Order).decode
_decode_answer: Callable[[bytes], Message] = HeaderDecoder[Message](
    AdminAnswer | OrderAnswer
).decode


Obey = Callable[[Order], Awaitable[OrderAnswer | None]]


class AdminError(Exception):
    """A process could not be asked, or did not answer; the text says which and why."""


def _check_prefix(prefix: bytes, bytes_max: int) -> tuple[int, int]:
    """Return the sizes of what follows: (the rest of the frame, the header in it)."""
    length, header_bytes = _PREFIX.unpack(prefix)
    if not header_bytes + LENGTH_BYTES <= length <= bytes_max:
        raise AdminError(f"a frame of {length} bytes was announced, at most {bytes_max} are taken")
    return length - LENGTH_BYTES, header_bytes


def _encode_answer(answer: AdminAnswer | OrderAnswer) -> bytes:
    try:
        return encode_frame(answer)
    except FrameTooLarge as error:
        return encode_frame(error_answer(Code.INTERNAL_ERROR, f"{error}: ask for less"))


async def ask(path: Path, query: AdminQuery, *, timeout_s: float = ANSWER_S) -> AdminAnswer:
    """Put one question to the process whose admin socket is at `path`.

    Returns its answer; an `error` answer is returned as well.  Raises AdminError when nothing
    listens there, when it is not ours, and when no answer comes within timeout_s.
    """
    return cast(AdminAnswer, await _converse(path, query, timeout_s))


async def give_order(path: Path, order: Order, *, timeout_s: float = ORDER_S) -> OrderAnswer:
    """Give an order to the process whose admin socket is at `path`; otherwise as `ask`."""
    return cast(OrderAnswer, await _converse(path, order, timeout_s))


async def _converse(path: Path, query: AdminQuery | Order, timeout_s: float) -> Message:
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(path, query)
    except TimeoutError:
        raise AdminError(f"{path}: no answer within {timeout_s:g} s; the process hangs") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise AdminError(f"{path}: {error}; is the process running?") from error
    except MessageError as error:
        raise AdminError(f"{path}: {error}; install one version everywhere") from error


async def _ask(path: Path, query: AdminQuery | Order) -> Message:
    if sys.platform == "win32":
        raise AdminError("admin sockets are unix sockets: ask on the host of the service")
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        peer = cast(socket.socket, writer.get_extra_info("socket"))
        if not is_same_user(peer) and not is_service_user(peer, path):
            raise AdminError(f"{path} is served by another user: look who made it")
        writer.write(encode_frame(query))
        prefix = await reader.readexactly(PREFIX_BYTES)
        rest_bytes, header_bytes = _check_prefix(prefix, HEADER_BYTES_MAX)
        header = (await reader.readexactly(rest_bytes))[:header_bytes]
        return _decode_answer(header)
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:  # the other end was faster
            pass


def obeying_level(
    process: str, set_level: Callable[[str], str], others: Obey | None = None
) -> Obey:
    """Return what obeys orders about the level of this process's log, and `others` the rest."""

    async def obey(order: Order) -> OrderAnswer | None:
        if isinstance(order, LogLevelOrder):
            return LogLevel(process=process, level=order.level, before=set_level(order.level))
        return None if others is None else await others(order)

    return obey


class Witness(Protocol):
    """Writes down who ordered what, and what came of it."""

    def saw(self, who: str, order: str, fields: dict[str, str], outcome: str) -> None:
        """An order was carried out, or refused."""

    def latest(self, count: int) -> list[dict[str, object]]:
        """Return the newest records, the newest first, each with the fields of an AuditLine."""


class Oversight(NamedTuple):
    """Which groups of people may ask and order, and who writes down what they ordered."""

    groups: Groups = NO_GROUPS
    witness: Witness | None = None


BY_OWNER = Oversight()


class AdminServer:
    """Answers queries at a listening unix socket (unix_sockets.listen_at), which it closes.

    `answer` gets each query and must return at once; None stands for "not answered here".
    `obey` gets each order, where orders are taken; None as above.  Begins when
    it is made, inside a running loop.
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[AdminQuery], AdminAnswer | None],
        *,
        obey: Obey | None = None,
        query_s: float = ANSWER_S,
        oversight: Oversight = BY_OWNER,
    ) -> None:
        self._listener = listener
        self._groups = oversight.groups
        self._witness = oversight.witness
        self._obey = obey
        self._answer = answer
        self._query_s = query_s
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)
        self._talks: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    async def close(self) -> None:
        """Stop listening and end every connection."""
        tasks = [self._accepting, *self._talks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            await self._room.acquire()
            try:
                sock, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # it left at once, or descriptors are short: others may go on
                await asyncio.sleep(_BREATH_S)
                self._room.release()
                continue
            sock.setblocking(False)
            task = self._loop.create_task(self._talk(sock))
            self._talks.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._talks.discard(task)
        self._room.release()

    async def _talk(self, sock: socket.socket) -> None:
        with sock:
            try:
                access = access_of(sock, self._groups)
                if access != "none":
                    await self._answer_all(sock, access)
            except (OSError, TimeoutError):
                return  # it left, or said nothing for too long: nobody is there to be told

    async def _answer_all(self, sock: socket.socket, access: Access) -> None:
        is_sound = True
        while is_sound:
            answer: AdminAnswer | OrderAnswer | None
            try:
                async with asyncio.timeout(self._query_s):
                    query = _decode_query(await self._read_header(sock))
                answer = await self._outcome(query, sock, access)
            except MessageError as error:
                answer = error_answer(Code.INVALID_MESSAGE, str(error))
            except AdminError as error:
                answer = error_answer(Code.INVALID_MESSAGE, str(error))
                is_sound = False
            if answer is None:
                answer = error_answer(Code.NOT_FOUND, "this process cannot answer that")
            async with asyncio.timeout(self._query_s):
                await self._loop.sock_sendall(sock, _encode_answer(answer))

    async def _outcome(
        self, query: Message, sock: socket.socket, access: Access
    ) -> AdminAnswer | OrderAnswer | None:
        if isinstance(query, AuditQuery) and self._witness is not None:
            found = self._witness.latest(query.limit)
            return Audit(lines=[*filter(None, map(_line_of, found))])
        if not isinstance(query, Order):
            return self._answer(cast(AdminQuery, query))
        answer: OrderAnswer | None
        if access != "change":
            words = "members of admin.read_group may ask, and order nothing"
            answer = error_answer(Code.UNAUTHORIZED, words)
            self._testify(query, answer, sock)
            return answer
        if self._obey is None:
            return None
        try:
            async with asyncio.timeout(ORDER_S):
                answer = await self._obey(query)
        except TimeoutError:
            words = f"no outcome within {ORDER_S:g} s; it may yet be carried out"
            answer = error_answer(Code.INTERNAL_ERROR, words)
        if answer is not None and not isinstance(query, ONLY_ASKED):
            self._testify(query, answer, sock)
        return answer

    def _testify(self, order: Order, answer: OrderAnswer, sock: socket.socket) -> None:
        if self._witness is not None:
            self._witness.saw(*testimony(order, answer, peer_words(sock)))

    async def _read_header(self, sock: socket.socket) -> bytes:
        prefix = await self._read(sock, PREFIX_BYTES)
        rest_bytes, header_bytes = _check_prefix(prefix, QUERY_BYTES_MAX)
        return (await self._read(sock, rest_bytes))[:header_bytes]

    async def _read(self, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self._loop.sock_recv(sock, size - len(data))
            if not piece:
                raise ConnectionResetError("the asking end left")
            data += piece
        return data


def _line_of(record: dict[str, object]) -> AuditLine | None:
    """What somebody else wrote into the file, or another version, is passed over."""
    try:
        return msgspec.convert(record, AuditLine)
    except msgspec.ValidationError:
        return None


def testimony(
    order: Message, answer: Message, asked_by: str
) -> tuple[str, str, dict[str, str], str]:
    """Return who, which order, with what, and its outcome; nothing of an answer that succeeded."""
    fields = msgspec.to_builtins(order)
    name = str(fields.pop("type"))
    by = fields.pop("by", "")
    who = f"{by}, through {asked_by}" if by else asked_by
    outcome = "done"
    if isinstance(answer, Error):
        outcome = f"{answer.error.code}: {answer.error.message}"
    return who, name, {key: str(value) for key, value in fields.items()}, outcome
