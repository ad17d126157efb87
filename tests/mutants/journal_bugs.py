"""Bugs of journal, queue and window that simulated clusters must find: each is a patch."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from pointsman_workers.core.events import WriteJournal
from pointsman_workers.core.lifecycle import FIRST_TERMINAL
from pointsman_workers.core.state import Hold, Job
from pointsman_workers.core.turns.waiting import Waiting
from pointsman_workers.core.window import Window
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.desks.lane_watch import LaneWatch
from pointsman_workers.journal.book import JournalBook

Patch = pytest.MonkeyPatch
WRITES_LATE = 20


def acknowledging_before_the_journal(patch: Patch) -> None:
    """What a step decides is written some steps after it."""
    flush = JournalBook.flush
    late: WeakKeyDictionary[JournalBook, list[WriteJournal]] = WeakKeyDictionary()

    def later(self: JournalBook) -> WriteJournal | None:
        written = flush(self)
        held_back = late.setdefault(self, [])
        held_back += [written] if written is not None else []
        return held_back.pop(0) if len(held_back) > WRITES_LATE else None

    patch.setattr(JournalBook, "flush", later)


def without_waiting_for_the_sync(patch: Patch) -> None:
    """What shall be on the disk first is told at once."""

    def hasty(self: JournalBook, act: Callable[[], object]) -> None:
        act()

    patch.setattr(JournalBook, "when_synced", hasty)


def without_ends_in_the_journal(patch: Patch) -> None:
    """Nobody writes down that a job has ended."""
    patch.setattr(JournalBook, "ended", lambda self, job, is_forgotten: None)


def with_a_short_window(patch: Patch) -> None:
    """Ended jobs are forgotten with the next chores."""

    def forget(self: Window, now_ns: int) -> None:
        while self.ended_count:
            self._forget_oldest()

    patch.setattr(Window, "expire", forget)


def newest_first(patch: Patch) -> None:
    """The queue is a stack."""
    push = Waiting.push

    def stack(self: Waiting, job: Job) -> None:
        push(self, job)
        for queue in job.kind.queues:
            if queue and queue[-1] is job:
                queue.rotate(1)

    patch.setattr(Waiting, "push", stack)


def with_cancelled_slots_given_away(patch: Patch) -> None:
    """A slot is free as soon as somebody wishes that its job were over."""
    cancel = AttemptDesk.cancel_hold

    def hasty(self: AttemptDesk, hold: Hold, reason: str) -> None:
        cancel(self, hold, reason)
        if hold.has_slot:
            hold.has_slot = False
            self.shard.fleet.own.release(hold.lane.row)

    patch.setattr(AttemptDesk, "cancel_hold", hasty)


def without_saying_that_a_snapshot_is_old(patch: Patch) -> None:
    look_at_age = LaneWatch.look_at_age

    def rosy(self: LaneWatch) -> int:
        age_ns = look_at_age(self)
        self._shard.fleet.is_stale = False
        return age_ns

    patch.setattr(LaneWatch, "look_at_age", rosy)


def with_ends_that_are_never_told(patch: Patch) -> None:
    """Now and then an ended job's result is sent to nobody."""
    finish: Any = AttemptDesk.complete
    count = [0]

    def mute(self: AttemptDesk, hold: Hold, message: Any, payload: bytes) -> None:
        count[0] += 1
        if count[0] % 30 or hold.job is None or hold.job.state >= FIRST_TERMINAL:
            finish(self, hold, message, payload)

    patch.setattr(AttemptDesk, "complete", mute)
