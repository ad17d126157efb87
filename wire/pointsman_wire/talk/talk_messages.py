"""Messages of people who talk: what they say, how it travels, and who is in the room.

An utterance becomes jobs of the session, whose results come as `result`, like those of `submit`;
its id is their request id, with ":" and the language behind it where it goes into several.
"""

from typing import Annotated, Literal

import msgspec

from pointsman_wire.limits import PAYLOAD_BYTES_MAX
from pointsman_wire.messages import ErrorInfo, Message, Name, Names, Number, Priority, SessionId

TEXT_LENGTH_MAX = 16_384
UTTERANCE_ID_LENGTH_MAX = 96
TARGETS_MAX = 16
TARGET_LENGTH_MAX = 16
LISTENERS_MAX = 64

# Shorter than a request id by more than a language is long.
UtteranceId = Annotated[str, msgspec.Meta(max_length=UTTERANCE_ID_LENGTH_MAX)]
RoomName = Annotated[str, msgspec.Meta(max_length=128)]
Target = Annotated[str, msgspec.Meta(max_length=TARGET_LENGTH_MAX)]
Targets = Annotated[list[Target], msgspec.Meta(max_length=TARGETS_MAX)]
Listeners = Annotated[list[SessionId], msgspec.Meta(max_length=LISTENERS_MAX)]
EventName = Literal[
    "INPUT_STARTED",
    "INPUT_ENDED",
    "DISPATCHED",
    "NODE_ACCEPTED",
    "ASR_PARTIAL",
    "ASR_FINAL",
    "NMT_DONE",
    "TTS_PLAY_STARTED",
    "TTS_PLAY_ENDED",
    "ERROR",
]
assert PAYLOAD_BYTES_MAX >= 4 * TEXT_LENGTH_MAX, "every text is a payload, too"


class Utterance(Message, tag="utterance", frozen=True, kw_only=True):
    """Say something: `text`, or sound in the payload of the frame.

    It becomes one job for each language that it goes into: those named here, and those of the
    sessions that are to hear it.  Answered by job_accepted, or by an error with its id.
    """

    session_number: Number = 0
    utterance_id: UtteranceId = ""
    text: Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)] = ""
    src_lang: Name = ""
    tgt_lang: Name = ""
    tgt_langs: Targets = []
    to: Listeners = []
    services: Names = []
    utterance_index: Number | None = None
    content_type: Name = ""
    priority: Priority = "interactive"
    preferred_node: Name = ""
    explain: bool = False
    trace_id: Name = ""


class UtteranceJobs(Message, tag="utterance_jobs", frozen=True, kw_only=True):
    """An utterance is understood: these are all its jobs, told before any has its result.

    Told once more with further ids where what was recognised decides the language.
    """

    session_number: Number = 0
    utterance_id: UtteranceId = ""
    request_ids: list[str] = []


class AudioChunk(Message, tag="audio_chunk", frozen=True, kw_only=True):
    """A piece of an utterance that is being spoken, in the payload; `seq` counts from 0.

    What else is said of the utterance counts as the chunk that comes first says it.
    """

    session_number: Number = 0
    utterance_id: UtteranceId = ""
    seq: Number = 0
    is_final: bool = False
    src_lang: Name = ""
    tgt_lang: Name = ""
    tgt_langs: Targets = []
    to: Listeners = []
    services: Names = []
    utterance_index: Number | None = None
    content_type: Name = ""
    priority: Priority = "interactive"
    preferred_node: Name = ""
    explain: bool = False
    trace_id: Name = ""
    partials: bool = False


class UiEvent(Message, tag="ui_event", frozen=True, kw_only=True):
    """A step of an utterance, for people to look at; told to those who speak and who hear it.

    Clients tell TTS_PLAY_STARTED and TTS_PLAY_ENDED themselves, of what they heard.
    """

    session_number: Number = 0
    utterance_id: UtteranceId = ""
    event: EventName = "INPUT_STARTED"
    request_id: Name = ""
    speaker: SessionId = ""
    listener: SessionId = ""
    lang: Name = ""
    text: str = ""
    node_id: str = ""
    pool: str = ""
    elapsed_ms: float = 0.0
    error: ErrorInfo | None = None


class RoomJoin(Message, tag="room_join", frozen=True, kw_only=True):
    """Enter a room: from now on the session hears the others in `lang`, and they hear it.

    Answered by room_state; by moved, which names the room, if the room is another worker's; or by
    an error.
    """

    session_number: Number = 0
    room: RoomName = ""
    lang: Name = ""
    name: Name = ""


class RoomLeave(Message, tag="room_leave", frozen=True, kw_only=True):
    """Leave the room that the session is in."""

    session_number: Number = 0


class RoomMember(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """Who is in a room; one who lost the connection stays for the resume window."""

    session: str
    name: str = ""
    lang: str = ""
    connected: bool = True


class RoomState(Message, tag="room_state", frozen=True, kw_only=True):
    """Who is in the room now; without members for one who has left it.

    `awaiting`: the worker has begun anew and others may come back; what is said waits for them.
    """

    session_number: Number = 0
    room: str = ""
    members: list[RoomMember] = []
    awaiting: bool = False
