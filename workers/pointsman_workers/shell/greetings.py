"""What the first bytes of a connection are, and the words for those that are no preamble."""

from enum import Enum, auto

from pointsman_wire.errors import Code
from pointsman_wire.framing import encode_frame
from pointsman_wire.messages import Error, error_info
from pointsman_wire.preamble import MAGIC, PREAMBLE_BYTES

HTTP_METHODS = tuple(
    f"{method} ".encode()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE")
)
_HTTP_WORDS = (
    "This port speaks Pointsman's binary protocol, not HTTP.\n"
    "Dial it with the command line (pointsman submit, pointsman node) or with the library\n"
    "(import pointsman); docs/protocol.md describes the bytes.\n"
)
HTTP_ANSWER = (
    "HTTP/1.1 400 Bad Request\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    f"Content-Length: {len(_HTTP_WORDS)}\r\n"
    "Connection: close\r\n\r\n"
    f"{_HTTP_WORDS}"
).encode()


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
