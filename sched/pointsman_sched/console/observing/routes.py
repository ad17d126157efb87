"""/metrics for Prometheus; /live, /ready and /healthz for whoever decides where jobs go.

Metrics tell much of a service, so by default only this machine gets them: a peer on loopback that
speaks for itself.  What a proxy passes on comes from somewhere else.
"""

from http import HTTPStatus
from typing import Literal

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pointsman_sched.console.guard import FORWARDED
from pointsman_sched.console.observing.observer import Observer
from pointsman_wire.sockets.bounds import is_loopback

Access = Literal["loopback", "all", "none"]


def observing_routes(observer: Observer, access: Access) -> list[Route]:
    """Return the four routes."""

    async def live(_: Request) -> Response:
        return _json(HTTPStatus.OK, {"live": True})

    async def ready(_: Request) -> Response:
        verdict = observer.verdict()
        body = {"ready": verdict.is_ready, "reasons": verdict.reasons}
        return _json(_status(verdict.is_ready), body)

    async def health(_: Request) -> Response:
        verdict = observer.verdict()
        body = {"healthy": verdict.is_ready, "checks": verdict.checks}
        return _json(_status(verdict.is_ready), body)

    async def metrics(request: Request) -> Response:
        if not may_see(request, access):
            text = "metrics are shown on loopback only; console.metrics can change that\n"
            return Response(text, HTTPStatus.FORBIDDEN, media_type="text/plain")
        return Response(observer.exposition(), media_type=CONTENT_TYPE_LATEST)

    shown = [Route("/live", live), Route("/ready", ready), Route("/healthz", health)]
    return shown if access == "none" else [*shown, Route("/metrics", metrics)]


def may_see(request: Request, access: Access) -> bool:
    """Say whether whoever asks may see what `access` guards."""
    if access == "none":
        return False
    if access == "all":
        return True
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    return is_loopback(request.client.host)


def _status(is_well: bool) -> HTTPStatus:
    return HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE


def _json(status: HTTPStatus, body: object) -> Response:
    return Response(
        msgspec.json.encode(body),
        status,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
