"""What the client's core is told of people who talk, and what it tells of them.

Every UtteranceWished is answered by exactly one UtteranceEnded; before it come the utterance's
steps, and one result or refusal for each of its jobs.  Both name the wish by its ticket.
"""

import msgspec

from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.session_messages import AcceptedJob, Partial, Progress, Result
from pointsman_wire.talk.talk_messages import (
    AudioChunk,
    RoomJoin,
    RoomLeave,
    RoomState,
    UiEvent,
    Utterance,
)

# ---- events


class UtteranceWished(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Say something: whole, or in pieces of which this is the first."""

    handle: int
    ticket: int
    message: Utterance | AudioChunk
    payload: bytes

    def __repr__(self) -> str:
        return f"UtteranceWished({self.ticket}, {len(self.payload)} bytes)"


class PieceSpoken(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A further piece of sound of an utterance."""

    ticket: int
    payload: bytes
    is_final: bool

    def __repr__(self) -> str:
        return f"PieceSpoken({self.ticket}, {len(self.payload)} bytes)"


class RoomWished(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Enter a room, or leave the one that the session is in."""

    handle: int
    message: RoomJoin | RoomLeave


class PlayTold(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Tell who spoke that it is being played; lost where there is no connection."""

    handle: int
    message: UiEvent


# ---- commands


class SessionRenamed(msgspec.Struct, frozen=True, gc=False):
    """The session goes on under another id, at the worker of its room."""

    handle: int
    session_id: str


class UtteranceStep(msgspec.Struct, frozen=True, gc=False):
    """What happened to an utterance on its way."""

    ticket: int
    step: UiEvent | AcceptedJob | Progress


class UtterancePartial(msgspec.Struct, frozen=True, gc=False):
    """A piece of one of its results."""

    ticket: int
    partial: Partial
    payload: bytes


class UtteranceResult(msgspec.Struct, frozen=True, gc=False):
    """One of its jobs has ended, well or not: see the result's status."""

    ticket: int
    result: Result
    payload: bytes


class UtteranceRefused(msgspec.Struct, frozen=True, gc=False):
    """One of its jobs is not taken; others may be."""

    ticket: int
    request_id: str
    error: ErrorInfo


class UtteranceEnded(msgspec.Struct, frozen=True, gc=False):
    """There is nothing more to come of it; `error` says why it came to nothing as a whole."""

    ticket: int
    error: ErrorInfo | None = None


class TalkHeard(msgspec.Struct, frozen=True, gc=False):
    """What others say and do, as far as the session sees it, and who is in its room."""

    handle: int
    message: UiEvent | Result | RoomState | Error
    payload: bytes = b""
