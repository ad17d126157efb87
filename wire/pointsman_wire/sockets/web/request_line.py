"""What a peeked HTTP request asks for: a session of some worker, or the console.

Only the request line is looked at, and nothing is taken from the socket: whoever owns the
connection reads the request whole.
"""

from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import parse_qs

from pointsman_wire.limits import SESSION_ID_LENGTH_MAX

HTTP_METHODS = tuple(
    f"{method} ".encode()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE")
)
REQUEST_LINE_BYTES_MAX = 4_096
SESSION_PATH = "/session"
_QUERY_FIELDS_MAX = 16


class Wanted(Enum):
    """Who shall own the connection."""

    INCOMPLETE = auto()  # the request line is not there yet
    SESSION = auto()
    CONSOLE = auto()
    NOTHING = auto()  # it is no request line, or one too long


class RequestLine(NamedTuple):
    """What a request line says; `session_id` is "" when the client leaves it to the server.

    `length` is how much of one that is incomplete has come.
    """

    wanted: Wanted
    session_id: str = ""
    fault: str = ""
    length: int = 0


def is_http(data: bytes) -> bool:
    """Do these bytes begin like an HTTP request?"""
    return data.startswith(HTTP_METHODS)


def read_request_line(data: bytes) -> RequestLine:
    """Judge the first bytes of a connection that begins like an HTTP request."""
    line, ending, _ = data.partition(b"\n")
    if not ending:
        if len(data) >= REQUEST_LINE_BYTES_MAX:
            return RequestLine(
                Wanted.NOTHING, fault=f"the request line passes {REQUEST_LINE_BYTES_MAX} bytes"
            )
        return RequestLine(Wanted.INCOMPLETE, length=len(data))
    if not line.isascii():
        return RequestLine(Wanted.NOTHING, fault="the request line has bytes that are no ASCII")
    words = line.removesuffix(b"\r").split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return RequestLine(Wanted.NOTHING, fault="the request line is none of HTTP/1")
    path, _, query = words[1].decode("ascii").partition("?")
    if path != SESSION_PATH:
        return RequestLine(Wanted.CONSOLE)
    return _session(query)


def _session(query: str) -> RequestLine:
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:
        return RequestLine(
            Wanted.NOTHING, fault=f"the query has more than {_QUERY_FIELDS_MAX} fields"
        )
    ids = fields.get("id", [""])
    if len(ids) > 1:
        return RequestLine(Wanted.NOTHING, fault="the query names more than one session id")
    if len(ids[0]) > SESSION_ID_LENGTH_MAX:
        text = f"the session id passes {SESSION_ID_LENGTH_MAX} characters"
        return RequestLine(Wanted.NOTHING, fault=text)
    return RequestLine(Wanted.SESSION, session_id=ids[0])
