"""Where somebody who speaks begins and ends, told from loudness alone, as the page does it.

The floor follows the loudness while nobody speaks, so that a fan does not count as speech. Who
speaks is louder than three times the floor for two chunks of 100 ms in a row; who has been below
half of that for seven has finished. What was heard just before belongs to the beginning: words
begin softly. What goes on for longer than the service takes as one utterance is cut.
"""

import array
from collections import deque
from math import sqrt

from pointsman.engines.audio import samples_of

CHUNK_BYTES = 3_200  # 100 ms of 16-bit mono at 16 kHz
_BEFORE_CHUNKS = 4
_LOUD_CHUNKS = 2
_QUIET_CHUNKS = 7
_LONGEST_CHUNKS = 190  # a second below what the service takes as one utterance
_LOUDNESS_MIN = 0.008
_FULL_SCALE = 32_768


class VoiceCutter:
    """Cuts sound into utterances."""

    def __init__(self) -> None:
        self.is_speaking = False
        self._rest = b""
        self._before: deque[bytes] = deque(maxlen=_BEFORE_CHUNKS - 1)
        self._floor = _LOUDNESS_MIN / 3
        self._loud = 0
        self._quiet = 0
        self._chunks = 0

    def feed(self, pcm: bytes) -> list[bytes | None]:
        """Return the pieces of utterances in this sound; None where one ends."""
        sound = self._rest + pcm
        whole = len(sound) // CHUNK_BYTES * CHUNK_BYTES
        self._rest = sound[whole:]
        cut: list[bytes | None] = []
        for at in range(0, whole, CHUNK_BYTES):
            self._take(sound[at : at + CHUNK_BYTES], cut)
        return cut

    def _take(self, chunk: bytes, cut: list[bytes | None]) -> None:
        was_speaking, level = self.is_speaking, loudness(samples_of(chunk))
        if not was_speaking and not self._begins(level):
            self._before.append(chunk)
            return
        piece = chunk if was_speaking else b"".join([*self._before, chunk])
        self._before.clear()
        last = cut[-1] if cut else None
        if last is None:
            cut.append(piece)
        else:
            cut[-1] = last + piece
        if was_speaking and self._ends(level):
            cut.append(None)

    def _threshold(self) -> float:
        return max(_LOUDNESS_MIN, 3 * self._floor)

    def _begins(self, level: float) -> bool:
        self._loud = self._loud + 1 if level > self._threshold() else 0
        if self._loud < _LOUD_CHUNKS:
            if not self._loud:
                self._floor = 0.9 * self._floor + 0.1 * level
            return False
        self.is_speaking, self._quiet, self._chunks = True, 0, _BEFORE_CHUNKS
        return True

    def _ends(self, level: float) -> bool:
        self._chunks += 1
        self._quiet = self._quiet + 1 if level < self._threshold() / 2 else 0
        if self._quiet < _QUIET_CHUNKS and self._chunks < _LONGEST_CHUNKS:
            return False
        self.is_speaking, self._loud = False, 0
        return True


def loudness(samples: "array.array[int]") -> float:
    """Return how loud samples are: the root of their mean square, 1 is full scale."""
    if not samples:
        return 0.0
    return sqrt(sum(sample * sample for sample in samples) / len(samples)) / _FULL_SCALE
