"""What this folder needs of whoever answers requests (pointsman_wire.coordination.backing)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pointsman_wire.coordination.requests import Answer, Request


class Answering(Protocol):
    """Who answers requests."""

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer all requests, in order, within the time limit."""


class Backing(Answering, Protocol):
    """The same, without a task where that can be, and until it is hung up on."""

    def begin(
        self,
        requests: Sequence[Request],
        done: Callable[[list[Answer] | Awaitable[list[Answer]]], None],
    ) -> bool:
        """Ask at once, if that can be done; `done` is told the answers, or what to await."""

    async def close(self) -> None:
        """Hang up."""
