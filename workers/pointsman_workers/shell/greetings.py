"""What the first bytes of a connection are, and the words for those that are no preamble."""

from enum import Enum, auto
from http import HTTPStatus

from pointsman_wire.errors import Code
from pointsman_wire.framing import encode_frame
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import MAGIC, PREAMBLE_BYTES
from pointsman_wire.sockets.web.request_line import HTTP_METHODS

_NO_CONSOLE_WORDS = (
    "This service shows no pages: its console does not run.\n"
    "Sessions are opened here, over WebSocket at /session, with the command line\n"
    "(pointsman submit) or with the library (import pointsman); docs/protocol.md describes the\n"
    "messages.\n"
)


class Greeting(Enum):
    """What the bytes that came so far can still become."""

    INCOMPLETE = auto()
    PREAMBLE = auto()
    HTTP = auto()
    FOREIGN = auto()


def read_greeting(data: bytes) -> Greeting:
    """Judge the first bytes (at most 16) of a connection.

    Both a preamble and the shortest request line have 16 bytes, so who begins like either is
    waited for until there are so many.
    """
    beginnings = (MAGIC, *HTTP_METHODS)
    if not any(data.startswith(word) or word.startswith(data) for word in beginnings):
        return Greeting.FOREIGN
    if len(data) < PREAMBLE_BYTES:
        return Greeting.INCOMPLETE
    return Greeting.PREAMBLE if data.startswith(MAGIC) else Greeting.HTTP


def http_answer(status: HTTPStatus, words: str, *headers: str) -> bytes:
    """Return the whole answer to an HTTP request, after which the connection ends."""
    body = words.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*head, "", "")).encode() + body


NO_CONSOLE = http_answer(HTTPStatus.NOT_FOUND, _NO_CONSOLE_WORDS)


OVERLOADED = "this worker is overloaded and takes no new clients for now"
OVERLOADED_RETRY_AFTER_MS = 2_000


def refusal(reason: str, code: Code = Code.INVALID_MESSAGE) -> bytes:
    """Return the error frame that is the last thing said on a connection."""
    return encode_frame(Error(error_info(code, reason)))


def overloaded() -> bytes:
    """Return the error frame for a client that comes while the worker is overloaded."""
    return encode_frame(
        Error(error_info(Code.QUEUE_FULL, OVERLOADED, retry_after_ms=OVERLOADED_RETRY_AFTER_MS))
    )


def overloaded_http() -> bytes:
    """Return the same for a browser."""
    retry = f"Retry-After: {OVERLOADED_RETRY_AFTER_MS // 1_000}"
    return http_answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{OVERLOADED}\n", retry)
