"""Tokens of clients over the admin API: the file in the state directory, and who changed it.

The file is what `pointsman tokens` works on too, each keeping the other out while it writes; a
thread does it, as a disk may be slow.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from pointsman_sched.client_tokens import (
    TokenError,
    TokenLine,
    TokenWish,
    issue_token,
    listed_tokens,
    revoke_token,
)
from pointsman_sched.console.admin.problems import ApiError, not_found
from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.state_files import StateFileError

Found = TypeVar("Found")


class TokenDesk:
    """Works on one file of tokens, and writes down who had what done."""

    def __init__(self, path: Path, witness: AuditFile) -> None:
        self._path = path
        self._witness = witness

    async def all(self) -> list[TokenLine]:
        """Return what is shown of every token; raises ApiError."""
        return await self._do(listed_tokens, self._path)

    async def issue(self, who: str, wish: TokenWish) -> tuple[TokenLine, str]:
        """Make a token: (what is shown of it, the token); raises ApiError."""
        made, text = await self._do(issue_token, self._path, wish)
        fields = {"id": made.id, "tenant": made.tenant, "scopes": ",".join(made.scopes)}
        self._witness.saw(who, "issue_token", fields, "done")
        return made, text

    async def revoke(self, who: str, token_id: str) -> None:
        """Let a token count no more; raises ApiError, also where there is none of that id."""
        is_done = await self._do(revoke_token, self._path, token_id)
        outcome = "done" if is_done else "NOT_FOUND"
        self._witness.saw(who, "revoke_token", {"id": token_id}, outcome)
        if not is_done:
            raise not_found(f"there is no token {token_id[:32]!r}", "GET /v1/tokens lists them")

    async def _do(self, act: Callable[..., Found], *given: object) -> Found:
        try:
            return await asyncio.to_thread(act, *given)
        except TokenError as error:
            raise ApiError(HTTPStatus.CONFLICT, str(error), todo="revoke some first") from None
        except (OSError, StateFileError) as error:
            todo = "mend the file in the state directory; until then nobody is let in"
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), todo=todo) from None
