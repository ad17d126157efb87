"""Buckets: how this worker stands to each of them, and what is done about one that forgot.

    UNKNOWN    not heard of yet, or not since Redis was away
    FROZEN     it has forgotten: bindings are published again, and nothing new is bound
    OPEN       this worker has published into its generation: keys can be bound

A flush or a failover hits all buckets at once, and each member must publish into each: so who
notices one looks at all.  A bucket is thawed when every living member has published, or when it
was frozen for as long as a member may take to notice.
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import msgspec

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.keys import BUCKET_COUNT
from pointsman_wire.coordination.requests import (
    BINDINGS_PER_REQUEST_MAX,
    Binding,
    Freeze,
    Republish,
    Republished,
    RequestKey,
    Thaw,
    Touch,
    Touched,
)
from pointsman_workers.core.shard import MILLISECOND_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Job, Key
from pointsman_workers.journal.book import REDIS
from pointsman_workers.sharing.keys.bond import Standing
from pointsman_workers.sharing.keys.book import CoordinationBook
from pointsman_workers.sharing.keys.keeping import encode_kept

OVERDUE_NS = 10 * SECOND_NS
THAW_NS = 200 * MILLISECOND_NS
TOUCH_NS = SECOND_NS
WAIT_NS = 300 * MILLISECOND_NS  # so long a submit waits for a bucket
ENDED_KEPT_MAX = 1_000  # in each bucket: what is published again of those that have ended
WAITING_MAX = 10_000  # submits that wait for one bucket


class Phase(IntEnum):
    """See above."""

    UNKNOWN = 0
    FROZEN = 1
    OPEN = 2


class EndedKey(NamedTuple):
    """What is left to be known of a binding whose job has ended."""

    key: Key
    job_id: str
    body: int
    fence: int
    ok: bool
    ended_at_ns: int


class Bucket(msgspec.Struct, eq=False, kw_only=True):
    """One of them."""

    number: int
    phase: Phase = Phase.UNKNOWN
    generation: str = ""  # that this worker has published into
    frozen: str = ""  # the generation that was found frozen last,
    frozen_at_ns: int = 0  # and when that was noticed
    asked_at_ns: int = 0
    is_asked: bool = False  # a question about the bucket itself is under way
    bound: dict[Key, Job] = {}
    ended: deque[EndedKey] = msgspec.field(default_factory=lambda: deque(maxlen=ENDED_KEPT_MAX))
    # Until when somebody waits for it to open, and what is then done.
    waiting: deque[tuple[int, Callable[[bool], None]]] = msgspec.field(
        default_factory=lambda: deque(maxlen=WAITING_MAX)
    )


class BucketDesk:
    """Watches buckets, publishes into them, and thaws them."""

    def __init__(self, shard: Shard, book: CoordinationBook) -> None:
        self.shard = shard
        self.book = book
        self.buckets = [Bucket(number=number) for number in range(BUCKET_COUNT)]
        self.lost: Callable[[Key], None] = lambda key: None  # told of keys that others have
        self._turn = 0
        self._window_s = shard.config.jobs.window_s
        book.met = self._met

    # -- who waits ---------------------------------------------------------------------------

    def is_open(self, number: int) -> bool:
        """May keys of this bucket be bound?"""
        return self.buckets[number].phase is Phase.OPEN

    def when_open(self, number: int, act: Callable[[bool], None]) -> None:
        """Do this when the bucket is open, told True; or False when that takes too long."""
        bucket = self.buckets[number]
        if bucket.phase is Phase.OPEN:
            act(True)
        elif len(bucket.waiting) >= WAITING_MAX:
            act(False)
        else:
            bucket.waiting.append((self.shard.now_ns + WAIT_NS, act))
            self._touch(bucket)

    def found_frozen(self, number: int) -> None:
        """A script said that this bucket has forgotten, or wants to be published into."""
        bucket = self.buckets[number]
        if bucket.phase is Phase.OPEN:
            self._forgot(bucket)
        self._touch(bucket)

    def _met(self, number: int, generation: str) -> None:
        bucket = self.buckets[number]
        if bucket.phase is Phase.OPEN and generation != bucket.generation:
            self._forgot(bucket)
            self._touch(bucket)

    def _forgot(self, bucket: Bucket) -> None:
        self.shard.count(Counter.BUCKETS_FORGOTTEN)
        bucket.phase = Phase.UNKNOWN
        for other in self.buckets:
            self._touch(other)

    # -- questions ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Ask after buckets whose time has come; ten times a second."""
        now_ns = self.shard.now_ns
        for bucket in self.buckets:
            while bucket.waiting and bucket.waiting[0][0] <= now_ns:
                bucket.waiting.popleft()[1](False)
            if not bucket.is_asked and bucket.asked_at_ns + self._pause_ns(bucket) <= now_ns:
                self._ask(bucket)
        self._turn = (self._turn + 1) % (BUCKET_COUNT * 10)
        if self._turn % 10 == 0:
            self._touch(self.buckets[self._turn // 10])

    def _pause_ns(self, bucket: Bucket) -> int:
        if bucket.phase is Phase.FROZEN:
            return THAW_NS
        if bucket.phase is Phase.OPEN and not bucket.bound:
            return 1 << 62  # in turn with all others
        return TOUCH_NS if self.book.is_up or not bucket.waiting else THAW_NS

    def _ask(self, bucket: Bucket) -> None:
        if bucket.phase is Phase.FROZEN and bucket.generation:
            self._thaw(bucket)
        else:
            self._touch(bucket)

    def _touch(self, bucket: Bucket) -> None:
        if bucket.is_asked:
            return
        book, number = self.book, bucket.number
        request = Touch(book.next_number(), bucket=number, owner=book.owner, seen=book.seen(number))
        self._begin(bucket)
        book.ask(request, partial(self._touched, bucket), number)

    def _begin(self, bucket: Bucket) -> None:
        bucket.is_asked, bucket.asked_at_ns = True, self.shard.now_ns

    def _touched(self, bucket: Bucket, answer: Touched) -> None:
        bucket.is_asked = False
        if answer.outcome != "done":
            return
        if answer.state == "missing":
            self._freeze(bucket, answer.generation)
            return
        if answer.state == "frozen" and (
            bucket.phase is not Phase.FROZEN or answer.generation != bucket.frozen
        ):
            bucket.phase, bucket.frozen = Phase.FROZEN, answer.generation
            bucket.frozen_at_ns = self.shard.now_ns
        if answer.generation != bucket.generation:
            self._publish(bucket, answer.generation)
        elif answer.state == "open":
            self._open(bucket)

    def _open(self, bucket: Bucket) -> None:
        bucket.phase = Phase.OPEN
        waiting, bucket.waiting = [*bucket.waiting], deque(maxlen=WAITING_MAX)
        for _, act in waiting:
            act(True)

    def _freeze(self, bucket: Bucket, against: str) -> None:
        book = self.book
        proposal = self.shard.setup.entropy(8).hex()
        request = Freeze(
            book.next_number(),
            bucket=bucket.number,
            owner=book.owner,
            proposal=proposal,
            against=against,
        )
        bucket.phase = Phase.UNKNOWN
        self._begin(bucket)
        book.ask(request, partial(self._touched, bucket), bucket.number)

    def _thaw(self, bucket: Bucket) -> None:
        book = self.book
        request = Thaw(
            book.next_number(),
            bucket=bucket.number,
            owner=book.owner,
            generation=bucket.generation,
            members=self._members(),
            overdue=self.shard.now_ns - bucket.frozen_at_ns >= OVERDUE_NS,
        )
        self._begin(bucket)
        book.ask(request, partial(self._touched, bucket), bucket.number)

    def _members(self) -> tuple[str, ...]:
        """All workers of all instances that live, as far as the manager knows."""
        setup = self.shard.setup
        own = [f"{setup.instance}/{shard}" for shard in range(setup.worker_count)]
        others = [
            f"{other.name}/{shard}"
            for other in self.shard.fleet.snapshot.policy.instances
            if other.alive and other.name != setup.instance
            for shard in range(other.worker_count)
        ]
        return (*own, *others)

    # -- publishing ----------------------------------------------------------------------------

    def _publish(self, bucket: Bucket, generation: str) -> None:
        """Write into a generation what this worker knows to be bound."""
        book = self.book
        bindings = [*self._bindings(bucket)]
        starts = range(0, len(bindings), BINDINGS_PER_REQUEST_MAX) or range(1)
        self._begin(bucket)
        outcomes: list[str] = []  # of all these requests
        for at in starts:
            request = Republish(
                book.next_number(),
                bucket=bucket.number,
                generation=generation,
                owner=book.owner,
                bindings=tuple(bindings[at : at + BINDINGS_PER_REQUEST_MAX]),
                last=at == starts[-1],
            )
            act = partial(self._published, bucket, request, outcomes)
            book.ask(request, act, bucket.number)

    def _bindings(self, bucket: Bucket) -> Iterator[Binding]:
        for job in bucket.bound.values():
            bond = job.bond
            if bond is not None and bond.standing is Standing.BOUND:
                is_kept = job.durability == REDIS and job.is_open
                yield Binding(
                    key=RequestKey(*job.key),
                    job_id=job.job_id,
                    body=job.body,
                    fence=bond.fence,
                    state=bond.state,
                    attempt=bond.attempt,
                    keep=encode_kept(job) if is_kept else None,
                )
        now_ns = self.shard.now_ns
        for ended in bucket.ended:
            left_s = self._window_s - (now_ns - ended.ended_at_ns) / SECOND_NS
            if left_s > 0:
                yield Binding(
                    key=RequestKey(*ended.key),
                    job_id=ended.job_id,
                    body=ended.body,
                    fence=ended.fence,
                    state="FINISHED",
                    ok=ended.ok,
                    keep_s=left_s,
                )

    def _published(
        self, bucket: Bucket, request: Republish, outcomes: list[str], answer: Republished
    ) -> None:
        outcomes.append(answer.outcome)
        for key in answer.lost:
            self.lost((key.tenant, key.session_id, key.request_id))
        if not request.last:
            return
        bucket.is_asked = False
        if any(outcome != "done" for outcome in outcomes):
            return
        bucket.generation = request.generation
        if bucket.phase is Phase.FROZEN:
            self._thaw(bucket)
        else:
            self._touch(bucket)  # it says whether it is open
