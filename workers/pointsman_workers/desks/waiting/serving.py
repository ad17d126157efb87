"""Serving: who gets a slot that is free, among all that wait, here and at the other workers.

offer    a slot was just freed: to whose turn it is; to another worker by ringing it
look     each waiting kind in its turn, every few milliseconds: the net under lost rings
rung     another worker offers a slot: look at once
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from itertools import chain, islice

from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT
from pointsman_shm.memory.stats_names import Timing
from pointsman_workers.core.events import RingWorker
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job
from pointsman_workers.core.timers import NEVER_NS
from pointsman_workers.core.turns.waiting import can_do
from pointsman_workers.desks.placing import PlacingDesk
from pointsman_workers.placement.checks import NO_ROOM_FOR_US
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.selection import FULL_MEMORY_NS

LOOKS_A_STEP_MAX = 256
# Heads that are asked for one slot, and jobs behind each of the first heads.
CANDIDATES_MAX = 32
BEHIND_MAX = 16
# With so many waiting kinds, each looks as much more seldom.
KINDS_PER_LOOK = 64
# How long a slot that was offered to another worker is left to it.
YIELD_NS = 1_000_000
# After so many looks in vain the pause between them doubles, up to so many times the shortest one.
LOOKS_IN_HASTE = 8
PATIENCE_MAX = 20


class ServingDesk:
    """Hands out free slots to waiting jobs."""

    def __init__(self, shard: Shard, placing: PlacingDesk) -> None:
        self.shard = shard
        self.placing = placing
        self.next_look_ns = NEVER_NS  # when a waiting kind shall look again
        self._rung: list[int] = []  # classes of slots that were offered elsewhere in this step
        self._yielded: dict[Kind, None] = {}  # kinds whose last look was put off for that

    def serve(self) -> None:
        """Give freed slots to waiting jobs, ours or another worker's, and look where it is time."""
        shard = self.shard
        waiting = shard.waiting
        self._offer_freed()
        self.next_look_ns = NEVER_NS
        if not waiting.count:
            return
        due = []
        for kind in waiting.kinds:
            shard.fleet.prepare(kind)
            if not kind.full_until_ns:  # there is news
                kind.look_at_ns = kind.look_count = 0
            if _look_at_ns(kind) <= shard.now_ns or kind.walk is not None:
                due.append(kind)
        if due and self._rung:
            due = self._without_offered(due)
        if due:
            self._look(due)
        self.next_look_ns = min(
            (
                shard.now_ns if kind.walk is not None else _look_at_ns(kind)
                for kind in waiting.kinds
            ),
            default=NEVER_NS,
        )

    def serve_before(self, job: Job) -> None:
        """Let those who wait have what was freed in this very step before a newcomer has."""
        waiting = self.shard.waiting
        if waiting.count or waiting.is_waited_elsewhere(job.kind.class_mask):
            self._offer_freed()

    def rung(self, class_number: int) -> None:
        """Another worker freed a slot of this class and it is our turn: look at once."""
        if self.shard.rows_wanted is not None:
            self.shard.freed_rows.update(dict.fromkeys(self.shard.rows_wanted(class_number)))
        for kind in self.shard.waiting.kinds:
            self.shard.fleet.prepare(kind)
            if can_do(kind, class_number):
                kind.look_anew()

    def _offer_freed(self) -> None:
        shard = self.shard
        self._rung.clear()
        freed, shard.freed_rows = shard.freed_rows, {}
        if shard.waiting.count or shard.worker_count > 1 or shard.wanted_by_others is not None:
            for row in freed:
                if shard.fleet.lane_generations[row] != NO_ROOM_FOR_US:  # its home offers slots
                    self._offer_all(row)

    def _offer_all(self, row: int) -> None:
        """Give every slot of this row that is free, each in its turn: a step may free several."""
        fleet = self.shard.fleet
        while self._offer(row) and fleet.own.has_room(row, fleet.standing[row]):
            pass

    def _offer(self, row: int) -> bool:
        """One slot of this row is free: whose turn it is gets it; False if nobody here did."""
        shard = self.shard
        waiting = shard.waiting
        is_oldest = waiting.next_turn_is_oldest()
        if not waiting.count and not waiting.is_waited_elsewhere(-1):
            return shard.wanted_by_others is not None and shard.wanted_by_others(
                row, None, is_oldest
            )
        number = shard.fleet.standing[row] >> CLASS_SHIFT & CLASS_MASK
        best = [*islice(waiting.candidates(number, oldest_first=is_oldest), CANDIDATES_MAX)]
        ours = [waiting.turn_of_job(job, oldest_first=is_oldest) for job in best[:1]]
        elsewhere = waiting.best_elsewhere(number, oldest_first=is_oldest)
        if shard.wanted_by_others is not None:
            best_here = min((turn for turn in (elsewhere, *ours) if turn is not None), default=None)
            if shard.wanted_by_others(row, best_here, is_oldest):
                return True
        if elsewhere is not None and (not ours or elsewhere < ours[0]):
            shard.outbox.commands.append(RingWorker(elsewhere.worker, number))
            self._rung.append(number)
            return False
        for job in chain(best, self._behind(best)):
            if self.placing.place_on(job, row):
                self._note_served(job)
                return True
        # None of ours can have it, whoever stands before others: they need not wait for that.
        return shard.wanted_by_others is not None and shard.wanted_by_others(row, None, is_oldest)

    def _behind(self, heads: list[Job]) -> Iterator[Job]:
        """A few of those who wait behind a head that could not have the slot: perhaps they can."""
        for kind in dict.fromkeys(job.kind for job in heads):
            for job in islice(self.shard.waiting.jobs(kind), BEHIND_MAX):
                if job not in heads:
                    yield job

    def _without_offered(self, due: list[Kind]) -> list[Kind]:
        """Put off, once, the look of kinds that would take back what was just offered elsewhere."""
        rung, self._rung = self._rung, []
        before, self._yielded = self._yielded, {}
        left = []
        for kind in due:
            if kind in before or not any(can_do(kind, number) for number in rung):
                left.append(kind)
            else:
                self._yielded[kind] = None
                kind.full_until_ns = self.shard.now_ns + YIELD_NS
        return left

    def _look(self, due: list[Kind]) -> None:
        """Place waiting jobs, each in its turn, until every kind has found nobody."""
        waiting, placing = self.shard.waiting, self.placing
        walks = [
            (waiting.turn_of(kind), number, kind, waiting.jobs(kind))
            for number, kind in enumerate(due)
        ]
        heapify(walks)
        for _ in range(LOOKS_A_STEP_MAX):
            if not walks:
                return
            turn, number, kind, jobs = walks[0]
            if (now := waiting.turn_of(kind)) > turn:  # its tenant was served by another kind
                heapreplace(walks, (now, number, kind, jobs))
                continue
            job = next(jobs, None)
            if job is not None and placing.place(job):
                self._note_served(job)
                kind.look_count = 0
                if kind.waiting_count:
                    heapreplace(walks, (waiting.turn_of(kind), number, kind, jobs))
                else:
                    heappop(walks)
            elif job is None or not placing.is_apart(job):
                heappop(walks)  # all after it would fail too
                self._rest(kind)

    def _rest(self, kind: Kind) -> None:
        # A job with exclusions leaves the kind's memory alone; the next look still has its time.
        pause_ns = FULL_MEMORY_NS * max(1, len(self.shard.waiting.kinds) // KINDS_PER_LOOK)
        now_ns = self.shard.now_ns
        kind.full_until_ns = max(kind.full_until_ns, now_ns + pause_ns)
        # Slots that are freed are told of.  What is left to be found by looking, such as a machine
        # that is no longer too busy, comes with heartbeats.
        kind.look_count += 1
        patience = min(1 << max(0, kind.look_count - LOOKS_IN_HASTE), PATIENCE_MAX)
        kind.look_at_ns = now_ns + max(pause_ns, FULL_MEMORY_NS * patience)

    def _note_served(self, job: Job) -> None:
        self.shard.observe(Timing.QUEUE_WAIT, job.queued_ns)


def _look_at_ns(kind: Kind) -> int:
    return max(kind.full_until_ns, kind.look_at_ns)
