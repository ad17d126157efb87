"""The pages: what is served at which path, and what a browser may do with it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pointsman_sched.console.guard import Guard, GuardedDoor
from pointsman_sched.console.languages import LanguageDesk

PAGE_FOLDER = Path(__file__).with_name("page")
# In a wheel it lies beside the page, in a checkout among the clients.
CLIENT_PLACES = (
    PAGE_FOLDER / "pointsman.js",
    Path(__file__).parents[3] / "clients" / "web" / "pointsman.js",
)
# Everything a page needs comes from here: no other host is asked, and none may frame it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; "
        "worker-src 'self' blob:; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-cache",
}


class SafeHeaders:
    """Adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def make_pages(
    desk: LanguageDesk, others: Sequence[Route] = (), *, guard: Guard | None = None
) -> Starlette:
    """Return the application: the page at /, its files, what it asks for, and other routes."""
    client = next(path for path in CLIENT_PLACES if path.is_file())

    async def serve_client(_: Request) -> FileResponse:
        return FileResponse(client, media_type="text/javascript")

    async def serve_languages(_: Request) -> Response:
        return Response(msgspec.json.encode(await desk.now()), media_type="application/json")

    async def to_dashboard(_: Request) -> Response:
        # The files' own redirect would name a scheme, which is not known here: a worker speaks TLS.
        return RedirectResponse("/fleet/")

    routes = [
        Route("/languages.json", serve_languages),
        Route("/fleet", to_dashboard),
        *others,
        Route("/pointsman.js", serve_client),
        Mount("/", StaticFiles(directory=PAGE_FOLDER, html=True)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(SafeHeaders), Middleware(GuardedDoor, guard=guard or Guard())],
    )
