"""The routes of the admin API: one table, of which the application, its OpenAPI document and the
table in docs/admin.md are made.

An operation is a method and a path, what may be said in the query or the body (a struct each), who
may call it, and the function that answers.  Path parameters are in braces.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec

from pointsman_sched.console.admin.callers import Caller
from pointsman_sched.console.admin.cursors import CURSOR_LENGTH_MAX
from pointsman_sched.console.admin.entering.token_desk import TokenDesk
from pointsman_sched.console.admin.reading import Reading
from pointsman_wire.sockets.unix_sockets import Access

PAGE_LIMIT_MAX = 500
Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_LIMIT_MAX)]
CursorText = Annotated[str, msgspec.Meta(max_length=CURSOR_LENGTH_MAX)]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what may be said in a query or a body: nothing else may."""


class Nothing(Parameters, frozen=True):
    """No parameters."""


class NoBody(Parameters, frozen=True):
    """Nothing is to be said: {} or no body at all."""


class PageParameters(Parameters, frozen=True):
    """Which page of a list."""

    limit: Limit = 100
    cursor: CursorText = ""


class Api(msgspec.Struct, frozen=True):
    """What operations work on."""

    reading: Reading
    tokens: TokenDesk


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded; `query` and `body` are of the operation's types."""

    caller: Caller
    path: dict[str, str]
    query: Any
    body: Any


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    name: str
    summary: str
    access: Access = "read"
    query: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct]
    run: Callable[[Api, Call], Awaitable[msgspec.Struct]]
