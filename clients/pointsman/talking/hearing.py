"""What a session hears of others: what they say, the steps of it, who is in the room."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from pointsman.errors import SessionError
from pointsman.talking.backlog import Backlog
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, ErrorInfo, error_info
from pointsman_wire.session_messages import MissingResult, Result
from pointsman_wire.talk.talk_messages import RoomState, UiEvent

HEARD_KEPT_MAX = 1_000


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """Something that another session has said, in the language of this one."""

    payload: bytes
    content_type: str
    meta: dict[str, Any]
    speaker: str  # that session's id
    request_id: str  # of that session
    node_id: str

    @property
    def text(self) -> str:
        """The translation, also where the payload is its sound; "" where there is none."""
        spoken = self.meta.get("translation") or self.meta.get("heard")
        if isinstance(spoken, str):
            return spoken
        return self.payload.decode() if self.content_type.startswith("text/") else ""

    def __repr__(self) -> str:
        return f"Heard({self.request_id!r} of {self.speaker!r}, {len(self.payload)} bytes)"


class ConnectionChange(msgspec.Struct, frozen=True, kw_only=True):
    """The connection was lost, or is there again: what was said goes on by itself.

    `is_resumed`: the service still has the session; else it was opened anew under its id.
    """

    is_up: bool
    reason: str = ""
    is_resumed: bool = False


# What somebody said; its steps, and how others hear ours; who is in the room; which results of an
# utterance session were skipped; and the connection.
Happening = Heard | UiEvent | RoomState | MissingResult | ConnectionChange


class Ears:
    """What a session has heard and nobody has read; of more than a thousand the newest."""

    def __init__(self) -> None:
        self.room = RoomState()
        self._kept = Backlog[Happening](HEARD_KEPT_MAX)
        self._entering: dict[str, asyncio.Future[RoomState]] = {}  # of one room at most
        self._over: ErrorInfo | None = None

    def take(self, message: UiEvent | Result | RoomState | Error, payload: bytes) -> None:
        """Somebody has said or done something."""
        if isinstance(message, Error):
            self._refused(message.request_id, message.error)
        elif isinstance(message, Result):
            self.keep(_heard(message, payload))
        else:
            if isinstance(message, RoomState):
                self._entered(message)
            self.keep(message)

    def keep(self, happening: Happening) -> None:
        """Keep it for the reader."""
        self._kept.put(happening)

    def over(self, error: ErrorInfo | None) -> None:
        """The session is over."""
        self._over = error or error_info(Code.SESSION_CLOSED, "the session is over")
        self._kept.end()
        for room in [*self._entering]:
            self._refused(room, self._over)

    async def read(self) -> AsyncIterator[Happening]:
        """Yield what is heard, until the session is over."""
        while (happening := await self._kept.next()) is not None:
            yield happening

    # ---- rooms

    def turn_to(self, room: str) -> None:
        """The session enters this room, or none (""): of others nothing is awaited any more."""
        words = "the room was left, or another one entered, before the service had answered"
        for other in [name for name in self._entering if name != room]:
            self._refused(other, error_info(Code.CANCELLED, words))

    async def entered(self, room: str) -> RoomState:
        """Wait for the answer to room_join.  Raises SessionError."""
        if self._over is not None:
            raise SessionError(self._over)
        entering = self._entering.get(room)
        if entering is None:
            entering = self._entering[room] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(entering)  # others may wait for the same

    def _entered(self, state: RoomState) -> None:
        self.room = state
        if state.members and (entering := self._entering.pop(state.room, None)) is not None:
            entering.set_result(state)

    def _refused(self, room: str, error: ErrorInfo) -> None:
        entering = self._entering.pop(room, None)
        if entering is not None:
            entering.set_exception(SessionError(error))
            entering.exception()  # seen: perhaps nobody waits for it any more


def _heard(result: Result, payload: bytes) -> Heard:
    return Heard(
        payload=payload,
        content_type=result.content_type,
        meta=result.meta or {},
        speaker=result.speaker,
        request_id=result.request_id,
        node_id=result.node_id,
    )
