"""The admin socket of a process: one frame asks, one frame answers, in turn.

Only this user and root are answered.  What a process cannot answer is answered by an `error`, as
is what is no question at all.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pointsman_wire.admin_messages import AdminAnswer, AdminQuery
from pointsman_wire.errors import Code
from pointsman_wire.framing import (
    LENGTH_BYTES,
    PREFIX_BYTES,
    HeaderDecoder,
    MessageError,
    encode_frame,
)
from pointsman_wire.limits import HEADER_BYTES_MAX
from pointsman_wire.messages import Error, Message, error_info
from pointsman_wire.unix_sockets import is_same_user

QUERY_BYTES_MAX = 64 * 1024
ANSWER_S = 5.0
CONNECTIONS_MAX = 32

_PREFIX = struct.Struct("<II")
_decode_query: Callable[[bytes], Message] = HeaderDecoder[Message](AdminQuery).decode
_decode_answer: Callable[[bytes], Message] = HeaderDecoder[Message](AdminAnswer).decode


class AdminError(Exception):
    """A process could not be asked, or did not answer; the text says which and why."""


async def _read_header(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    """Return the header of one frame; its payload, if any, is dropped.

    Raises AdminError for a frame above the bound, asyncio.IncompleteReadError at the end.
    """
    length, header_bytes = _PREFIX.unpack(await reader.readexactly(PREFIX_BYTES))
    if not header_bytes + LENGTH_BYTES <= length <= bytes_max:
        raise AdminError(f"a frame of {length} bytes was announced, at most {bytes_max} are taken")
    rest = await reader.readexactly(length - LENGTH_BYTES)
    return rest[:header_bytes]


async def ask(path: Path, query: AdminQuery, *, timeout_s: float = ANSWER_S) -> AdminAnswer:
    """Put one question to the process whose admin socket is at `path`.

    Returns its answer; an `error` answer is returned as well.  Raises AdminError when nothing
    listens there, when it is not ours, and when no answer comes within timeout_s.
    """
    if sys.platform == "win32":
        raise AdminError("admin sockets are unix sockets: ask on the host of the service")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                sock = cast(socket.socket, writer.get_extra_info("socket"))
                if not is_same_user(sock):
                    raise AdminError(f"{path} is served by another user: look who made it")
                writer.write(encode_frame(query))
                return cast(
                    AdminAnswer, _decode_answer(await _read_header(reader, HEADER_BYTES_MAX))
                )
            finally:
                writer.close()
    except TimeoutError:
        raise AdminError(f"{path}: no answer within {timeout_s:g} s; the process hangs") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise AdminError(f"{path}: {error}; is the process running?") from error
    except MessageError as error:
        raise AdminError(f"{path}: {error}; install one version everywhere") from error


class AdminServer:
    """Answers queries at a listening unix socket (unix_sockets.listen_at), which it closes.

    `answer` gets each query and must return at once; None stands for "not answered here".
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[AdminQuery], AdminAnswer | None],
        *,
        query_s: float = ANSWER_S,
    ) -> None:
        self._listener = listener
        self._answer = answer
        self._query_s = query_s
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to answer."""
        if sys.platform == "win32":
            raise AdminError("admin sockets are unix sockets")
        self._server = await asyncio.start_unix_server(
            self._talk, sock=self._listener, limit=QUERY_BYTES_MAX
        )

    async def close(self) -> None:
        """Stop listening and end every connection."""
        assert self._server is not None
        self._server.close()
        for talk in [*self._talks]:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._talks.add(task)
        try:
            if len(self._talks) <= CONNECTIONS_MAX and is_same_user(
                writer.get_extra_info("socket")
            ):
                await self._answer_all(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return  # it left, or said nothing for too long: nobody is there to be told
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_sound = True
        while is_sound:
            try:
                async with asyncio.timeout(self._query_s):
                    query = _decode_query(await _read_header(reader, QUERY_BYTES_MAX))
                answer = self._answer(cast(AdminQuery, query))
            except MessageError as error:
                answer = Error(error_info(Code.INVALID_MESSAGE, str(error)))
            except AdminError as error:
                answer = Error(error_info(Code.INVALID_MESSAGE, str(error)))
                is_sound = False
            if answer is None:
                answer = Error(error_info(Code.NOT_FOUND, "this process cannot answer that"))
            writer.write(encode_frame(answer))
            async with asyncio.timeout(self._query_s):
                await writer.drain()
