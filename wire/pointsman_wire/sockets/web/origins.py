"""Which web pages may open sessions: those of the same origin, and those that are listed.

A browser sends the cookies and reaches the network of its user whatever page asks it to; the
Origin header, which no page can forge, says which page does.  Programs send none and are let in.

A page may have its own name resolve to this host once it is loaded (DNS rebinding); then Origin and
Host agree.  So Host must be a name that no page can take: localhost, a number, or one that this
service is told to have.  Over TLS the certificate sees to that.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from pointsman_wire.sockets.reading import MessageReader

# A proxy between forgets connections on which nothing moves for a minute or so.
PING_S = 20.0
_PORTS = {"http": 80, "https": 443}
# A name or a number, and a port; in what looks otherwise readers find different names.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


class WebSettings(msgspec.Struct, frozen=True):
    """What is particular to WebSockets: who may come, and how they are read."""

    reader: MessageReader
    allowed_origins: tuple[str, ...] = ()
    ping_s: float = PING_S
    allowed_hosts: tuple[str, ...] = ()  # names of this service besides localhost and numbers


def is_origin_allowed(
    origin: str | None,
    host: str | None,
    allowed: Iterable[str],
    *,
    is_plain: bool = False,
    hosts: Iterable[str] = (),
) -> bool:
    """May a page of this Origin header talk to the service that the Host header names?

    `allowed` are origins like "https://example.org", or "*" for every page; `is_plain` says that
    no certificate has proven the host's name, which must then be one of its own or of `hosts`.
    """
    if origin is None:
        return True
    listed = frozenset(allowed)
    if "*" in listed or origin in listed:
        return True
    try:
        parts = urlsplit(origin)
        ours = urlsplit(f"{parts.scheme}://{host}")
        usual = _PORTS.get(parts.scheme)
        if host is None or usual is None or parts.hostname != ours.hostname:
            return False  # "null", the origin of a file or of a sandbox, has no scheme
        if is_plain and not is_host_allowed(host, hosts):
            return False
        return (parts.port or usual) == (ours.port or usual)
    except ValueError:  # a port that is none, a bracket that does not close
        return False


def is_host_allowed(host: str | None, hosts: Iterable[str]) -> bool:
    """Is what a Host header names a name of this service?  Who sends none is no browser."""
    if host is None:
        return True
    if not _HOST.fullmatch(host):
        return False
    try:
        name = urlsplit(f"http://{host}").hostname or ""
    except ValueError:
        return False
    listed = frozenset(host.lower() for host in hosts)
    return "*" in listed or name in listed or _is_own_name(name)


def _is_own_name(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
