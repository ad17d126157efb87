"""The nouns of talk: voices, what is being heard, what was said, and rooms.

Only the desks of talk change them, inside a step.  None shows sound or words when it is printed.
"""

import msgspec

from pointsman_wire.link import Connection
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.talk.talk_messages import AudioChunk, Utterance
from pointsman_workers.core.state import Job, Key, Session
from pointsman_workers.talk.sound import SoundBuffer

ENDED_KEPT_MAX = 64


class Ending(msgspec.Struct, eq=False):
    """What became of an utterance that was spoken, and on which connection that was told."""

    request_ids: list[str] = []
    error: ErrorInfo | None = None
    refused: dict[str, ErrorInfo] = {}  # of these jobs there are none after all
    told_on: Connection | None = None


class Room(msgspec.Struct, eq=False, kw_only=True):
    """A few sessions that hear each other."""

    key: tuple[str, str]  # tenant, name
    members: "dict[Session, Voice]" = {}
    filed_ns: int = 0


class Voice(msgspec.Struct, eq=False, kw_only=True):
    """What talk knows of a session that talks, is talked to, or is in a room."""

    session: Session
    hears: str = ""  # what it wants to hear of others that name it
    pair: tuple[str, str] = ("", "")  # of a session that goes two ways
    hearing: "dict[str, Hearing]" = {}  # utterances that are being spoken, by id
    # Those that have ended, newest last: what comes late of them is dropped.
    ended: "dict[str, Ending]" = {}
    said: "dict[Key, Said]" = {}  # jobs that have not been told
    awaiting: "dict[str, Turn]" = {}  # utterances that wait for somebody to hear them, by id
    sound_bytes: int = 0
    pieces_left: int = 0  # so many more may come, in parts of a billion; as of
    pieces_at_ns: int = 0  # 0: none has come
    too_fast_at_ns: int = 0  # when it was last told that they come too fast
    room: Room | None = None
    lang: str = ""  # in the room: what it speaks and hears
    name: str = ""

    def end(self, utterance_id: str) -> Ending:
        """Return what is remembered of an utterance that has ended; of few, the newest."""
        ending = self.ended.get(utterance_id)
        if ending is None:
            ending = self.ended[utterance_id] = Ending()
            if len(self.ended) > ENDED_KEPT_MAX:
                del self.ended[next(iter(self.ended))]
        return ending


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """An utterance that becomes jobs: its text, or its sound as a WAV file."""

    voice: Voice
    wanted: Utterance
    sound: bytes = b""
    began_ns: int

    def __repr__(self) -> str:
        return f"Turn({self.wanted.utterance_id!r}, {len(self.sound)} bytes of sound)"


class Hearing(msgspec.Struct, eq=False, kw_only=True):
    """An utterance that is being spoken."""

    voice: Voice
    sound: SoundBuffer
    first: AudioChunk  # of the pieces, the one that came first: it says what is wanted
    began_ns: int
    piece_at_ns: int  # when the last piece came
    filed_ns: int = 0
    is_over: bool = False
    # What is recognised of it meanwhile, where it asks for that.
    look: Job | None = None  # the one that is under way
    look_bytes: int = 0  # what that costs in memory
    look_at_bytes: int = 0  # with so much sound the next one is due; 0: the first
    shown: str = ""  # the words that were shown last

    def __repr__(self) -> str:
        """What was said shows in no trace and no log."""
        return f"Hearing({self.first.utterance_id!r}, {self.sound.sound_bytes} bytes of sound)"


class Said(msgspec.Struct, eq=False, kw_only=True):
    """One job of an utterance, on its way."""

    voice: Voice
    utterance_id: str
    lang: str
    began_ns: int
    listeners: tuple[Session, ...] = ()
    words: str = ""  # what was typed, for those who listen
    # Told already, of its present attempt.
    is_accepted: bool = False
    is_heard: bool = False
    is_translated: bool = False
    partial_at_ns: int = 0  # when it was shown last what is recognised so far
    # It only recognises: what comes of it is said into one language of the pair.
    then: Utterance | None = None
    hearing: Hearing | None = None  # it is a look into what is being spoken

    def __repr__(self) -> str:
        """What was typed shows in no trace and no log."""
        return f"Said({self.utterance_id!r}, into {self.lang!r})"
