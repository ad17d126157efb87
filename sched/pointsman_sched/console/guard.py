"""What the console answers nobody: requests under foreign names, and those of local proxies.

A page whose name is made to lead here (DNS rebinding) would read everything as if it were ours; its
requests have its own name in Host.  And a proxy on this host makes everybody local, who then needs
no token as long as loopback is open: it says so in a header.
"""

from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pointsman_wire.sockets.bounds import is_loopback
from pointsman_wire.sockets.web.origins import is_host_allowed, is_origin_allowed

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
# Whether the service is well may be asked by whoever decides where jobs go, proxies above all.
OPEN_TO_PROXIES = ("/live", "/ready", "/healthz")
WRONG_NAME = (
    "This service is not known under that name: use localhost or its number, or list the name in "
    "web.allowed_hosts.\n"
)
PROXIED = (
    "A proxy on this host sends others here as if they were of this host, who need no token: let "
    'them come directly, or set auth.loopback = "required".\n'
)


def is_of_another_site(request: Request) -> bool:
    """Has a page that is not ours its browser ask?  It could not read what it is answered.

    Browsers say so of each request to this host (Sec-Fetch-Site), and of what scripts ask of any
    other where it is not their own (Origin); programs say neither.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    return not is_origin_allowed(request.headers.get("origin"), request.headers.get("host"), ())


class Guard(msgspec.Struct, frozen=True):
    """Names of this service besides localhost and numbers, and whether loopback needs no token."""

    hosts: tuple[str, ...] = ()
    is_loopback_open: bool = True

    def fault(self, request: Request) -> str:
        """Why the request is not answered, or ""; one without a client came over TLS."""
        if request.client is None:
            return ""
        names = request.headers.getlist("host")
        if len(names) > 1 or not all(is_host_allowed(name, self.hosts) for name in names):
            return WRONG_NAME
        if not self.is_loopback_open or request.scope["path"] in OPEN_TO_PROXIES:
            return ""
        is_forwarded = any(name in request.headers for name in FORWARDED)
        return PROXIED if is_forwarded and is_loopback(request.client.host) else ""


class GuardedDoor:
    """Refuses what the guard finds fault with."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        fault = self._guard.fault(Request(scope)) if scope["type"] == "http" else ""
        if fault:
            await PlainTextResponse(fault, HTTPStatus.FORBIDDEN)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
