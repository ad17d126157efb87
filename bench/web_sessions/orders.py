"""What the bench of WebSocket sessions asks its clients to do, and what they answer."""

import msgspec


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open so many sessions, each over a WebSocket of its own, of each shard in turn.

    `receive_bytes` bounds what the kernel reads ahead; 0: as it likes.
    """

    count: int
    worker_count: int
    receive_bytes: int = 0


class Speak(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Let the first sessions speak for so long, one utterance after the other."""

    speakers: int
    seconds: float


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Submit so many jobs a second by the clock, in all open sessions in turn."""

    per_s: float
    seconds: float
    payload_bytes: int


class Deafen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Read nothing more, from now on."""


WebOrder = Open | Speak | Submit | Deafen


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """So many sessions stand; `retries` are dials that a busy worker turned away."""

    count: int
    retries: int


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """What the client saw; the times are samples in nanoseconds, from the last piece on.

    `late_ns`: how much later than by the clock pieces were sent.  `heard_bytes_max`: the most
    sound that was sent of utterances that were not over.
    """

    utterances: int
    refused: int
    event_ns: list[int]
    result_ns: list[int]
    late_ns: list[int]
    heard_bytes_max: int


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """From submit to result in nanoseconds; `ended`: sessions whose connection was ended."""

    jobs: int
    refused: int
    result_ns: list[int]
    ended: int
