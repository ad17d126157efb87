"""The sound of one utterance, put together from pieces that come in any order, twice or never.

Pieces are told apart by their number; the first of a number counts.  The end is known when the
final piece and all before it are there, or when there is as much as an utterance may have.  What
is missing when somebody else ends it is left out, at whole samples.
"""

import struct
from typing import NamedTuple

WAV_TYPE = "audio/wav"
RATE_USUAL = 16_000
RATE_MIN, RATE_MAX = 4_000, 192_000
SAMPLE_BYTES = 2
PIECES_MAX = 8_192
# What a piece costs beside its bytes: an object, and its place in a table.
PIECE_OVERHEAD_BYTES = 160

_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_WAV_HEADER_BYTES_MAX = 4_096


class SoundBounds(NamedTuple):
    """How much sound an utterance may have."""

    bytes_max: int
    seconds_max: float


class UnknownSound(ValueError):
    """The content type is none that pieces may have; the message says which may."""


class SoundBuffer:
    """Gathers the pieces of one utterance.  It shows nothing of them when it is printed."""

    def __init__(self, content_type: str, bounds: SoundBounds) -> None:
        """Raises UnknownSound."""
        self.rate = _rate_of(content_type)  # samples a second of raw sound; 0: a WAV file
        self._bounds = bounds
        self._pieces: dict[int, bytes] = {}
        self._bytes = 0
        self._final = -1  # the number of the last piece; -1: not known yet
        self._next = 0  # the first that is missing
        # The first bytes of a WAV file, until they have told its rate, or that they never will.
        self._head: bytearray | None = None if self.rate else bytearray()
        self._bytes_max = bounds.bytes_max
        if self.rate:
            span = int(bounds.seconds_max * self.rate) * SAMPLE_BYTES
            self._bytes_max = min(self._bytes_max, span)

    @property
    def sound_bytes(self) -> int:
        """How many bytes of sound have come."""
        return self._bytes

    @property
    def held_bytes(self) -> int:
        """What it costs in memory."""
        return self._bytes + len(self._pieces) * PIECE_OVERHEAD_BYTES

    @property
    def is_over(self) -> bool:
        """Is everything there that will be, or may be?"""
        if 0 <= self._final < self._next:
            return True
        return self._bytes >= self._bytes_max or len(self._pieces) >= PIECES_MAX

    def is_new(self, seq: int) -> bool:
        """Would a piece of this number tell anything?"""
        return seq not in self._pieces and not 0 <= self._final < seq

    def add(self, seq: int, piece: bytes, *, is_final: bool) -> None:
        """Take a piece; one that is known or behind the end is dropped."""
        if is_final and self._final < 0:
            self._end_at(seq)
        if not self.is_new(seq):
            return
        piece = piece[: self._bytes_max - self._bytes]
        self._pieces[seq] = piece
        self._bytes += len(piece)
        while self._next in self._pieces:
            if self._head is not None:
                self._head += self._pieces[self._next]
            self._next += 1
        if self._head:
            self._bound_wav(self._head)

    def clear(self) -> None:
        """Let go of everything."""
        self._pieces.clear()
        self._head = None
        self._bytes = 0

    def _end_at(self, seq: int) -> None:
        self._final = seq
        for later in [number for number in self._pieces if number > seq]:
            self._bytes -= len(self._pieces.pop(later))

    def _bound_wav(self, head: bytearray) -> None:
        """A WAV file says itself how many bytes a second are."""
        byte_rate = _byte_rate(head)
        if byte_rate or len(head) >= _WAV_HEADER_BYTES_MAX:
            self._head = None
        if byte_rate:
            most = _WAV_HEADER.size + int(self._bounds.seconds_max * byte_rate)
            self._bytes_max = min(self._bytes_max, max(most, self._bytes))

    def as_file(self) -> bytes:
        """Return what is there as a WAV file, b"" when there is no sound in it."""
        whole = self._joined()
        if not self.rate:
            return whole if whole.startswith(b"RIFF") else b""
        return wav_of(whole, self.rate) if whole else b""

    def _joined(self) -> bytes:
        if not self.rate:
            return b"".join(piece for _, piece in sorted(self._pieces.items()))
        runs: list[list[bytes]] = []
        last = -2
        for seq, piece in sorted(self._pieces.items()):
            if seq != last + 1:
                runs.append([])
            runs[-1].append(piece)
            last = seq
        return b"".join(_whole_samples(b"".join(run)) for run in runs)


def sound_file(payload: bytes, content_type: str) -> bytes:
    """Return sound that came whole as a WAV file.  Raises UnknownSound."""
    if payload.startswith(b"RIFF"):
        return payload
    rate = _rate_of(content_type)
    if not rate:
        raise UnknownSound("the payload is no WAV file: it does not begin with RIFF")
    return wav_of(_whole_samples(payload), rate)


def wav_of(samples: bytes, rate: int) -> bytes:
    """Return raw 16-bit mono samples as a WAV file."""
    header = _WAV_HEADER.pack(
        *(b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1),
        *(rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES, b"data", len(samples)),
    )
    return header + samples


def _whole_samples(data: bytes) -> bytes:
    return data[: len(data) - len(data) % SAMPLE_BYTES]


def _byte_rate(head: bytes | bytearray) -> int:
    """Return how many bytes a second a WAV file has, by its first bytes; 0: they do not say."""
    at = head.find(b"fmt ", 0, _WAV_HEADER_BYTES_MAX)
    if not head.startswith(b"RIFF") or at < 0 or len(head) < at + 20:
        return 0
    byte_rate: int = struct.unpack_from("<I", head, at + 16)[0]
    return byte_rate


def _rate_of(content_type: str) -> int:
    """Return the rate of raw samples that a content type names, 0 for a WAV file."""
    kind, *parameters = [part.strip() for part in content_type.lower().split(";")]
    if kind in ("audio/wav", "audio/x-wav", "audio/wave"):
        return 0
    if kind not in ("", "audio/pcm", "audio/l16", "audio/x-raw"):
        text = f"sound of type {kind[:64]!r} cannot be put together: send audio/pcm or audio/wav"
        raise UnknownSound(text)
    named = dict(part.partition("=")[::2] for part in parameters)
    if named.get("channels", "1") != "1":
        raise UnknownSound("raw sound has one channel: mix it, or send audio/wav")
    rate = named.get("rate", str(RATE_USUAL))
    if not rate.isascii() or not rate.isdigit() or not RATE_MIN <= int(rate[:9]) <= RATE_MAX:
        text = f"a rate of {rate[:16]!r} is not taken: {RATE_MIN} to {RATE_MAX} samples a second"
        raise UnknownSound(text)
    return int(rate)
