"""What a peeked request asks for, and which pages may ask."""

import pytest

from pointsman_wire.limits import SESSION_ID_LENGTH_MAX
from pointsman_wire.sockets.web.origins import is_origin_allowed
from pointsman_wire.sockets.web.request_line import (
    REQUEST_LINE_BYTES_MAX,
    RequestLine,
    Wanted,
    read_request_line,
)


@pytest.mark.parametrize(
    ("line", "session_id"),
    [
        (b"GET /session HTTP/1.1\r\nHost: x", ""),
        (b"GET /session?id=s-1 HTTP/1.1\r\n", "s-1"),
        (b"GET /session?id= HTTP/1.1\r\n", ""),
        (b"GET /session?lang=en&id=a%20b%2Fc HTTP/1.1\r\n", "a b/c"),
        (b"GET /session?id=s%C3%A9 HTTP/1.1\n", "sé"),
    ],
)
def test_a_session_is_asked_for_by_its_path(line: bytes, session_id: str) -> None:
    assert read_request_line(line) == RequestLine(Wanted.SESSION, session_id)


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\n", b"POST /sessions HTTP/1.0\r\n", b"GET /session/ HTTP/1.1\r\n"]
)
def test_everything_else_is_the_consoles(line: bytes) -> None:
    assert read_request_line(line).wanted is Wanted.CONSOLE


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"GET /session\r\n", "none of HTTP/1"),
        (b"GET /session HTTP/2.0\r\n", "none of HTTP/1"),
        (b"GET  /session HTTP/1.1\r\n", "none of HTTP/1"),
        (b"GET\t/session\tHTTP/1.1\r\n", "none of HTTP/1"),
        (b"GET /session?id=\xc3\xa9 HTTP/1.1\r\n", "no ASCII"),
        (b"GET /session?id=a&id=b HTTP/1.1\r\n", "more than one"),
        (b"GET /session?id=" + b"a" * (SESSION_ID_LENGTH_MAX + 1) + b" HTTP/1.1\r\n", "passes 128"),
        (b"GET /session?" + b"a=1&" * 20 + b" HTTP/1.1\r\n", "16 fields"),
        (b"GET /" + b"a" * REQUEST_LINE_BYTES_MAX, "passes 4096 bytes"),
    ],
)
def test_what_is_no_request_line_is_said(line: bytes, fault: str) -> None:
    read = read_request_line(line)
    assert read.wanted is Wanted.NOTHING
    assert fault in read.fault


def test_a_line_is_incomplete_at_every_offset_but_the_last() -> None:
    line = b"GET /session?id=s-1 HTTP/1.1\r\n"
    for end in range(len(line)):
        assert read_request_line(line[:end]) == RequestLine(Wanted.INCOMPLETE, length=end)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "any:1", ()),
        ("http://localhost:7400", "localhost:7400", ()),
        ("https://here.example", "here.example", ()),
        ("https://here.example", "here.example:443", ()),
        ("http://[::1]:7400", "[::1]:7400", ()),
        ("https://app.example", "here.example", ("https://app.example",)),
        ("null", "here.example", ("*",)),
    ],
)
def test_pages_of_the_same_origin_and_listed_ones_may_come(
    origin: str | None, host: str, allowed: tuple[str, ...]
) -> None:
    assert is_origin_allowed(origin, host, allowed)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://evil.example", "here.example", ()),
        ("http://localhost:7401", "localhost:7400", ()),
        ("http://localhost", "localhost:7400", ()),
        ("null", "here.example", ()),
        ("https://here.example:99999999", "here.example", ()),
        ("https://app.example.evil", "here.example", ("https://app.example",)),
        ("https://here.example", None, ()),
    ],
)
def test_other_pages_may_not(origin: str, host: str | None, allowed: tuple[str, ...]) -> None:
    assert not is_origin_allowed(origin, host, allowed)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:7400", True),
        ("speech.localhost:7400", True),
        ("127.0.0.1:7400", True),
        ("[::1]:7400", True),
        ("192.168.1.5:7400", True),
        ("rebound.example:7400", False),
        ("localhost.example:7400", False),
    ],
)
def test_x1_a_page_whose_own_name_leads_here_is_not_of_this_host(host: str, allowed: bool) -> None:
    """DNS rebinding: Origin and Host agree, and the browser comes from loopback."""
    assert is_origin_allowed(f"http://{host}", host, (), is_plain=True) is allowed
    assert is_origin_allowed(f"http://{host}", host, (), is_plain=False)
    name = host.rpartition(":")[0] or host
    assert is_origin_allowed(f"http://{host}", host, (), is_plain=True, hosts=(name,))
    assert is_origin_allowed(f"http://{host}", host, (f"http://{host}",), is_plain=True)
