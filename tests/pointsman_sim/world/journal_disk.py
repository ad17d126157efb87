"""A shard's journal on a simulated disk: whole turns in segments, of which some are synced.

A killed process loses nothing of it.  A loss of power takes a tail of what was not synced, between
nothing and all of it.  A full disk gives no further segment; what was set aside is still there.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.schedule import Schedule
from pointsman_workers.core.events import JournalState, JournalSynced, WriteJournal
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.journal.replay import Fold, decode_turn

SEGMENT_BYTES = 1024 * 1024
FLUSH_NS = S
# Some disks are slow, and so is a good one at times.
SYNC_NS = ((MS, 30 * MS), (20 * MS, 300 * MS))

_encode = msgspec.msgpack.Encoder().encode
Post = Callable[[JournalState | JournalSynced], None]


class Turn(NamedTuple):
    """One record."""

    segment: int
    data: bytes


class JournalDisk:
    """Outlives the workers of its shard; `open` begins a life, all else belongs to the last one."""

    def __init__(self, schedule: Schedule, dice: Dice) -> None:
        self._schedule = schedule
        self._dice = dice
        self._turns: list[Turn] = []
        self._synced = 0  # so many of the turns are on the disk itself
        self._sizes: dict[int, int] = {}
        self._segment = 0
        self._ahead_bytes = 0
        self._is_full = False
        self._is_flushing = False
        self._is_same_boot = True
        self._life = 0
        self._sync_ns = SYNC_NS[0]
        self._post: Post = _tell_nobody

    def open(self, ended_max: int, post: Post) -> tuple[JournalState, Recovered]:
        """Replay, and begin a segment of its own for the next life."""
        self._life += 1
        self._post = post
        self._is_flushing = False
        self._sync_ns = self._dice.pick(SYNC_NS)
        fold = Fold(ended_max)
        for turn in self._turns:
            fold.absorb(turn.segment, decode_turn(turn.data))
        recovered = fold.recovered(is_same_boot=self._is_same_boot, lost_records=0)
        self._is_same_boot = True
        self._synced = len(self._turns)  # opening syncs what is there
        self._begin_segment()
        return self.state(), recovered

    def state(self) -> JournalState:
        """Return where the journal stands."""
        room = max(0, SEGMENT_BYTES - self._sizes[self._segment]) + self._ahead_bytes
        return JournalState(
            segment=self._segment,
            room_bytes=room,
            held_bytes=len(self._sizes) * SEGMENT_BYTES,
            oldest=min(self._sizes),
        )

    def write(self, command: WriteJournal) -> None:
        """Write a turn, whole; sync it soon when the core waits for that."""
        data = _encode(command.entries)
        if self._sizes[self._segment] + len(data) > SEGMENT_BYTES:
            self._begin_segment()
            self._post(self.state())
        self._sizes[self._segment] += len(data)
        self._turns.append(Turn(self._segment, data))
        if command.must_sync:
            self._sync_after(self._dice.between(*self._sync_ns), command.number)
        elif not self._is_flushing:
            self._is_flushing = True
            self._sync_after(FLUSH_NS, 0)

    def drop(self, below: int) -> None:
        """Remove segments that nothing lives in, once what stands for them is on the disk."""
        life = self._life

        def removed() -> None:
            if life == self._life:
                self._synced = len(self._turns)
                self._remove(below)

        self._schedule.after(self._dice.between(*self._sync_ns), removed)

    def _remove(self, below: int) -> None:
        for segment in [number for number in self._sizes if number < below]:
            del self._sizes[segment]
        gone = sum(turn.segment < below for turn in self._turns)
        self._turns = self._turns[gone:]
        self._synced = max(0, self._synced - gone)
        self._post(self.state())

    def _begin_segment(self) -> None:
        self._segment += 1
        self._sizes[self._segment] = 0
        self._ahead_bytes = 0 if self._is_full else SEGMENT_BYTES

    def _sync_after(self, delay_ns: int, number: int) -> None:
        written, life = len(self._turns), self._life

        def synced() -> None:
            if life == self._life:
                self._synced = max(self._synced, min(written, len(self._turns)))
                self._is_flushing = self._is_flushing and number > 0
                if number:
                    self._post(JournalSynced(number))

        self._schedule.after(delay_ns, synced)

    # ---- faults

    def lose_power(self) -> int:
        """Lose a tail of what was not synced; return how many turns."""
        kept = self._dice.between(self._synced, len(self._turns))
        lost = len(self._turns) - kept
        del self._turns[kept:]
        self._synced = kept  # what came through is on the disk
        self._is_same_boot = False
        self._life += 1
        return lost

    def fill(self, *, is_full: bool) -> None:
        """Let the disk have no more room, or room again."""
        self._is_full = is_full
        if self._segment:
            self._ahead_bytes = 0 if is_full else SEGMENT_BYTES
            self._post(self.state())


def _tell_nobody(_: JournalState | JournalSynced) -> None:
    """No worker lives."""
