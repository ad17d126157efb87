"""The admin API as an ASGI application: who calls, what is asked, what is answered.

A request is let in by its caller, then decoded against its operation's structs, then carried out;
each of the three may end it with a Problem.  Bodies are read up to a bound and no further.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pointsman_sched.console.admin.callers import (
    STRANGER,
    Caller,
    Token,
    by_token,
    check_access,
)
from pointsman_sched.console.admin.openapi import openapi_document
from pointsman_sched.console.admin.operations import Api, Call, Operation
from pointsman_sched.console.admin.problems import MEDIA_TYPE, ApiError, bad_request

BODY_BYTES_MAX = 64 * 1024
# A6: so many wrong tokens in a minute are answered at once, further ones after a second.
WRONG_TOKENS_FREE = 10
WRONG_TOKENS_WINDOW_S = 60.0
WRONG_TOKEN_DELAY_S = 1.0

Tell = Callable[[Caller, str, str], None]  # who, which operation, why it was refused


class Guard:
    """Knows who calls, and makes it slow to guess tokens."""

    def __init__(self, tokens: Sequence[Token], tell_refused: Tell) -> None:
        self._tokens = tokens
        self._tell_refused = tell_refused
        self._wrong_count = 0
        self._window_ends_s = 0.0

    async def let_in(self, request: Request, operation: Operation) -> Caller:
        """Return who calls, if he may do this; raises ApiError when not."""
        caller: Caller = getattr(request.state, "caller", STRANGER)
        try:
            if not caller.is_known:
                caller = await self._by_token(request)
            check_access(caller, operation.access)
        except ApiError as error:
            if caller.is_known or self._wrong_count <= WRONG_TOKENS_FREE:
                self._tell_refused(caller, operation.name, error.detail)
            raise
        return caller

    async def _by_token(self, request: Request) -> Caller:
        try:
            return by_token(request.headers.get("authorization", ""), self._tokens)
        except ApiError:
            now_s = monotonic()
            if now_s >= self._window_ends_s:
                self._window_ends_s, self._wrong_count = now_s + WRONG_TOKENS_WINDOW_S, 0
            self._wrong_count += 1
            if self._wrong_count > WRONG_TOKENS_FREE:
                await asyncio.sleep(WRONG_TOKEN_DELAY_S)
            raise


def make_application(
    api: Api, operations: Sequence[Operation], guard: Guard, version: str
) -> Starlette:
    """Return the application: a route for each operation, and the document that describes them."""
    document = msgspec.json.encode(openapi_document(operations, version))
    described = next(operation for operation in operations if operation.access == "read")

    async def serve_document(request: Request) -> Response:
        try:
            await guard.let_in(request, described)
        except ApiError as error:
            return _problem(error, request)
        return Response(document, media_type="application/json")

    routes = [Route("/openapi.json", serve_document, methods=["GET"])]
    routes += [
        Route(operation.path, _endpoint(api, operation, guard), methods=[operation.method])
        for operation in operations
    ]
    return Starlette(
        routes=routes,
        exception_handlers={HTTPException: _no_route, HTTPStatus.INTERNAL_SERVER_ERROR: _our_fault},
    )


def _endpoint(
    api: Api, operation: Operation, guard: Guard
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            caller = await guard.let_in(request, operation)
            call = Call(
                caller=caller,
                path={name: str(value) for name, value in request.path_params.items()},
                query=_query_of(request, operation),
                body=await _body_of(request, operation),
            )
            answer = await operation.run(api, call)
        except ApiError as error:
            return _problem(error, request)
        content = msgspec.json.encode(complete(answer))
        return Response(content, media_type="application/json", headers=NO_STORE)

    return serve


NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _query_of(request: Request, operation: Operation) -> msgspec.Struct:
    given = request.query_params.multi_items()
    values = dict(given)
    if len(values) != len(given):
        twice = next(name for name in values if len(request.query_params.getlist(name)) > 1)
        raise bad_request(f"{twice!r} is said more than once", "say it once", twice[:64])
    try:
        return msgspec.convert(values, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error, operation) from None


async def _body_of(request: Request, operation: Operation) -> msgspec.Struct | None:
    if operation.body is None:
        return None
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_BYTES_MAX:
            what = f"the body has more than {BODY_BYTES_MAX} bytes"
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, todo="send a smaller one")
    try:
        return msgspec.json.decode(data or b"{}", type=operation.body)
    except msgspec.ValidationError as error:
        raise _invalid(error, operation) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is no JSON: {error}", "send a JSON object", "body") from None


def _invalid(error: msgspec.ValidationError, operation: Operation) -> ApiError:
    what, _, where = str(error).partition(" - at `")
    field = where.rstrip("`").removeprefix("$").removeprefix(".")
    advice = f"see {operation.name} in /openapi.json"
    return bad_request(what, advice, field)


def complete(value: Any) -> Any:
    """Return data for JSON with every field, those at their default too."""
    if isinstance(value, msgspec.Struct):
        made = {name: complete(getattr(value, name)) for name in value.__struct_fields__}
        config = value.__struct_config__
        return made if config.tag is None else {str(config.tag_field): config.tag, **made}
    if isinstance(value, Mapping):
        return {key: complete(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [complete(inner) for inner in value]
    return value


def _problem(error: ApiError, request: Request) -> Response:
    headers = dict(NO_STORE)
    if error.status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    content = msgspec.json.encode(error.problem(request.url.path))
    return Response(content, error.status.value, media_type=MEDIA_TYPE, headers=headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), error
    status = HTTPStatus(error.status_code)
    what = f"{request.method} {request.url.path[:200]}: {status.phrase.lower()}"
    told = ApiError(status, what, todo="GET /openapi.json lists what there is")
    answer = _problem(told, request)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _our_fault(request: Request, _: Exception) -> Response:
    advice = "read the log of the console, and report what it says"
    error = ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "the console failed", todo=advice)
    return _problem(error, request)
