"""Unknown outcomes: a Bind was sent, no answer came, and its client was told that it failed.

It may have been done.  A client that repeats its request proposes the same job again, which
changes nothing; for one that does not, the key is looked up once Redis answers, and freed.
"""

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import Bound, Lookup, RequestKey
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Key

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

UNKNOWN_MAX = 10_000
LOOKED_UP_A_TICK_MAX = 256


class UnknownOutcomes:
    """Keys that may be bound to jobs which were refused."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._jobs: dict[Key, str] = {}

    def note(self, key: Key, job_id: str) -> None:
        """This key may be bound to this job, which does not exist."""
        self._jobs[key] = job_id
        if len(self._jobs) > UNKNOWN_MAX:
            del self._jobs[next(iter(self._jobs))]  # its lease lapses by itself

    def proposal(self, key: Key) -> str:
        """The job that the key may be bound to: the one to propose again."""
        return self._jobs.pop(key, "")

    def __len__(self) -> int:
        return len(self._jobs)

    def tick(self) -> None:
        """Look up some of them; once a second."""
        book = self.sharing.book
        for key in [*islice(self._jobs, LOOKED_UP_A_TICK_MAX if book.is_up else 1)]:
            bucket = bucket_of(RequestKey(*key))
            if not self.sharing.buckets.is_open(bucket):
                continue
            request = Lookup(
                book.next_number(), key=RequestKey(*key), owner=book.owner, seen=book.seen(bucket)
            )
            book.ask(request, partial(self._looked_up, key), bucket)

    def _looked_up(self, key: Key, answer: Bound) -> None:
        if answer.outcome in ("down", "unknown", "frozen"):
            return
        job_id = self._jobs.pop(key, "")
        is_mine = answer.outcome == "mine" and answer.job_id == job_id
        if is_mine and not self.sharing.is_ours(key):
            self.sharing.ending.release(key, answer.fence)
