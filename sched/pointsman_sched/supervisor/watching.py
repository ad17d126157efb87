"""Which of the children run but do nothing: their heartbeat words stand still.

Each process stores an instant in its own page of shared memory from the turns of its loop, so a
process that is stopped, or that goes round in one callback for ever, stores none.  Nobody is asked
anything: an answer would need a socket, which a hung process still has and never reads.

Who starts has no such page yet, and may have a long journal to read.  But whatever it does, or
waits for, it computes or wakes up now and then, which the kernel counts: who does neither for
START_LIMITS times as long hangs as well.

The supervisor doubts itself first.  A machine that was suspended, or so busy that this process did
not run, stopped the others as well: every limit moves by as much as the supervisor's own look was
late.  The page is read, not mapped: whoever cuts the file would end the reader of a mapping.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pointsman_shm.memory.segment import peek_segment
from pointsman_shm.memory.stats import HEAD_BYTES, beat_in
from pointsman_shm.paths import InstancePaths
from pointsman_shm.units.starting import sign_in

LATE_TOLERANCE_NS = 250_000_000
# A start may have to wait for a slow disk, in one call.
START_LIMITS = 12


def read_words(paths: InstancePaths, names: list[str]) -> dict[str, int | None]:
    """Return the heartbeat word of each process, None where there is no page to read."""
    return {name: beat_in(peek_segment(paths.stats_segment(name), HEAD_BYTES)) for name in names}


def sign_of(pid: int) -> int | None:
    """Return what grows while a process does anything, None when it is gone."""
    return sign_in(Path(f"/proc/{pid}"))


class _Watched(msgspec.Struct):
    """A word as it was seen last, and since when it stands (supervisor's clock)."""

    word: int | None
    since_ns: int


class HangJudge:
    """Judges by words that stand still; `look` comes every `look_ns`."""

    def __init__(self, *, hung_ns: int, look_ns: int) -> None:
        self._hung_ns = hung_ns
        self._look_ns = look_ns
        self._looked_at_ns: int | None = None
        self._watched: dict[str, _Watched] = {}

    def look(self, now_ns: int, words: Mapping[str, int | None]) -> dict[str, float]:
        """Return who is hung, and since how many seconds.

        A process that is missing in `words` is not watched any more: when it comes again, its
        time begins anew.  One whose page cannot be read is not judged.
        """
        late_ns = 0
        if self._looked_at_ns is not None:
            late_ns = now_ns - self._looked_at_ns - self._look_ns
        self._looked_at_ns = now_ns
        hung: dict[str, float] = {}
        watched: dict[str, _Watched] = {}
        for name, word in words.items():
            before = self._watched.get(name)
            if before is None or word is None or word != before.word:
                watched[name] = _Watched(word, now_ns)
                continue
            if late_ns > LATE_TOLERANCE_NS:
                before.since_ns += late_ns
            watched[name] = before
            if now_ns - before.since_ns >= self._hung_ns:
                hung[name] = (now_ns - before.since_ns) / 1e9
        self._watched = watched
        return hung
