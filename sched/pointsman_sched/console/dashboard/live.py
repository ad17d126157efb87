"""The dashboard's routes: what is to be seen, live, and why a decision came out as it did.

A viewer is told in server-sent events: a frame, and when that has been taken the next one.  So who
reads slowly has at most one frame under way, and then gets the newest state.  Their number is
bounded.  By default only this machine is told anything, as with metrics; the page itself, which
says nothing of the service, is shown to everybody.
"""

import asyncio
from http import HTTPStatus

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pointsman_sched.console.admin.problems import ApiError
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.admin.views import ExplainedView
from pointsman_sched.console.dashboard.sampler import Sampler
from pointsman_sched.console.guard import is_of_another_site
from pointsman_sched.console.observing.routes import Access, may_see
from pointsman_wire.queries.explain_messages import ExplainQuery

NOT_HERE = (
    "the dashboard is shown on the service's own machine only, and not there where auth.loopback "
    "asks for tokens; console.fleet can change that"
)
ANOTHER_SITE = "the dashboard's own page is told this, and no page of another site"
TOO_MANY = "as many pages watch already as console.viewers_max allows"


def dashboard_routes(
    sampler: Sampler, reading: Reading, *, access: Access, viewers_max: int
) -> list[Route]:
    """Return the routes."""

    def _refusal(request: Request) -> Response | None:
        if not may_see(request, access):
            return PlainTextResponse(NOT_HERE, HTTPStatus.FORBIDDEN)
        # It would hold a viewer's place, or have workers look, without being told anything.
        if is_of_another_site(request):
            return PlainTextResponse(ANOTHER_SITE, HTTPStatus.FORBIDDEN)
        return None

    async def live(request: Request) -> Response:
        if refusal := _refusal(request):
            return refusal
        if sampler.viewer_count >= viewers_max:
            return PlainTextResponse(TOO_MANY, HTTPStatus.SERVICE_UNAVAILABLE)
        return LiveResponse(sampler)

    async def why(request: Request) -> Response:
        if refusal := _refusal(request):
            return refusal
        try:
            asked = {"request_id": request.query_params.get("request", "")}
            explained = await reading.explain(msgspec.convert(asked, ExplainQuery))
        except msgspec.ValidationError as error:
            return PlainTextResponse(f"no request id: {error}", HTTPStatus.BAD_REQUEST)
        except ApiError as error:
            return PlainTextResponse(f"{error.detail}: {error.todo}", error.status)
        return Response(
            msgspec.json.encode(_without_sessions(explained)),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    return [Route("/fleet/live", live), Route("/fleet/why", why)]


def _without_sessions(explained: ExplainedView) -> ExplainedView:
    """Leave out whose sessions they are: the page says what the service does, not who talks."""
    return replace(
        explained,
        decisions=[replace(view, session_id="", replay=None) for view in explained.decisions],
        jobs=[replace(job, session_id="") for job in explained.jobs],
    )


class LiveResponse(Response):
    """Frames without end: until the viewer leaves, or the console stops."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._sampler = sampler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send frames."""
        self._sampler.enter()
        leaving = asyncio.ensure_future(_has_left(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await self._tell(send, leaving)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()
            self._sampler.leave()

    async def _tell(self, send: Send, leaving: asyncio.Future[None]) -> None:
        number = begun = 0
        while not self._sampler.is_closed and not leaving.done():
            frame = await self._sampler.after(number, begun)
            number, begun = frame.number, frame.begun
            body = b"data: %b\n\n" % frame.data
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _has_left(receive: Receive) -> None:
    """Return when the viewer has left: what is sent after that goes nowhere, without a word."""
    while (await receive())["type"] != "http.disconnect":
        pass
