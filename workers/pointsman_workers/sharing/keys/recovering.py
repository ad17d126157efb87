"""Recovering: what the journal of a predecessor brought back is asked for in the fleet.

Open jobs are unsure until their key is bound again (leases.py).  Of those that had ended, the
newest may not have been told to the fleet: their keys are bound once more, unless a later job has
them, and if they are still ours, ended.
"""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import Bound, End, Ended, RequestKey
from pointsman_workers.core.shard import Shard
from pointsman_workers.journal.entries import JobKept, Recovered, RecoveredResult
from pointsman_workers.sharing.keys.binding import OURS
from pointsman_workers.sharing.keys.keeping import encode_kept_result

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

# Ends have an answer within a fraction of a second, so only the last few can lack it; but Redis may
# have been away for long when we died.
ENDS_MAX = 10_000
ENDS_A_TICK_MAX = 200
_GOOD = ("completed", "completed_no_text")


class RecoveringDesk:
    """Ends again what a predecessor may not have ended."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._ends: deque[JobKept] = deque(maxlen=ENDS_MAX)

    def begin(self, recovered: Recovered) -> None:
        """Take note of what had ended, newest first."""
        newest = recovered.ended[-ENDS_MAX:]
        self._ends.extend(result.kept for result in reversed(newest))

    def tick(self) -> None:
        """Ask about some of them; ten times a second."""
        binding = self.sharing.binding
        for _ in range(min(len(self._ends), ENDS_A_TICK_MAX)):
            kept = self._ends.popleft()
            if self._has_another(kept):
                continue
            key = RequestKey(*kept.key)
            bucket = bucket_of(key)
            if not self.sharing.buckets.is_open(bucket):
                self._ends.append(kept)
                continue
            act = partial(self._bound, bucket, kept)
            binding.bind((key, bucket, binding.next_fence()), kept, act)

    def _has_another(self, kept: JobKept) -> bool:
        """Has its key a later job, after its window was over?

        To ask for the key would raise the fence of that one, whose own end would be refused then.
        """
        bound = self.shard.window.by_key.get(kept.key)
        if isinstance(bound, RecoveredResult):
            return bound.kept.job_id != kept.job_id
        is_other = bound is not None and bound.job_id != kept.job_id
        return is_other or self.sharing.binding.is_pending(kept.key)

    def _bound(self, bucket: int, kept: JobKept, answer: Bound) -> None:
        if answer.outcome in ("down", "unknown", "frozen"):
            self._ends.append(kept)
            return
        if answer.outcome == "follows":
            self.shard.window.disown(kept.key)  # the result that we have does not count
            return
        if answer.outcome not in OURS or answer.job_id != kept.job_id:
            return  # it was told, or the key is another job's
        book = self.sharing.book
        is_stored = answer.keep is not None
        request = End(
            book.next_number(),
            key=RequestKey(*kept.key),
            owner=book.owner,
            fence=answer.fence,
            ok=kept.result.status in _GOOD,
            keep_s=self.shard.config.jobs.window_s,
            result=_stored(kept) if is_stored else None,
            seen=book.seen(bucket),
        )
        book.ask(request, partial(self._ended, kept), bucket)

    def _ended(self, kept: JobKept, answer: Ended) -> None:
        if answer.outcome in ("down", "unknown"):
            self._ends.append(kept)


def _stored(kept: JobKept) -> bytes | None:
    """What the fleet keeps of an end; nothing when its output is gone."""
    return None if kept.is_result_gone else encode_kept_result(kept.result, kept.output)
