"""What goes wrong at the admin API, as RFC 9457 tells it: code, what, where, what to do."""

from http import HTTPStatus

import msgspec

from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo

MEDIA_TYPE = "application/problem+json"
DETAIL_LENGTH_MAX = 2_000


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is no success.

    `code` is for programs, `detail` says what is wrong, `instance` where (the path of the request,
    and after # the field of it), `todo` what to do about it.
    """

    status: int
    title: str
    code: str
    detail: str
    instance: str
    todo: str


class ApiError(Exception):
    """A request that cannot be answered as it was meant; `field` names the part at fault."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, todo: str, code: str = "", field: str = ""
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.todo = todo
        self.code = code or status.name
        self.field = field

    def problem(self, path: str) -> Problem:
        """Return what the caller is told."""
        return Problem(
            status=self.status.value,
            title=self.status.phrase,
            code=self.code,
            detail=self.detail[:DETAIL_LENGTH_MAX],
            instance=f"{path}#{self.field}" if self.field else path,
            todo=self.todo,
        )


_STATUS_OF_CODE = {
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.INVALID_MESSAGE: HTTPStatus.BAD_REQUEST,
    Code.UNSUPPORTED_FEATURE: HTTPStatus.BAD_REQUEST,
    Code.CONFLICT: HTTPStatus.CONFLICT,
    Code.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.UNAUTHORIZED: HTTPStatus.FORBIDDEN,
}


def refused(error: ErrorInfo) -> ApiError:
    """A process answered with an error: what it means over HTTP."""
    known = {code.value: status for code, status in _STATUS_OF_CODE.items()}
    status = known.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE)
    return ApiError(status, error.message, todo=error.hint, code=error.code)


def not_found(what: str, todo: str) -> ApiError:
    """An id that nobody knows."""
    return ApiError(HTTPStatus.NOT_FOUND, what, todo=todo)


def bad_request(what: str, todo: str, field: str = "") -> ApiError:
    """A request that says something impossible."""
    return ApiError(HTTPStatus.BAD_REQUEST, what, todo=todo, field=field)


def unreachable(what: str) -> ApiError:
    """A process that must be asked does not answer."""
    todo = "see GET /healthz, and try again in a moment: a process that died is back within seconds"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, what, todo=todo, code="UNREACHABLE")
