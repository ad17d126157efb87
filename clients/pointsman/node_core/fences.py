"""Fences: what a node refuses because it has seen something newer.

The fence of a dispatch is (instance_uid, shard, epoch, dispatch).  A *place* is a small number
that stands for (instance_uid, shard), so that jobs are keyed by numbers.

Rule 1: for each place the highest epoch ever seen counts; a lane with a lower one is a worker
        that was replaced and does not know it yet.
Rule 2: for each job the highest (epoch, dispatch) ever seen counts; a lower one never starts.
"""

from enum import Enum

from pointsman.backoff import NS_PER_S

EPOCHS_MAX = 1024


class Seen(Enum):
    """What a fence is, compared with those seen before."""

    NEW = "new"
    REPEATED = "repeated"
    STALE = "stale"


class EpochTable:
    """The highest epoch of each shard; at its bound the shard that came first is forgotten."""

    def __init__(self, known: dict[tuple[str, int], int]) -> None:
        self._epochs = dict(known)
        self._places: dict[tuple[str, int], int] = {}

    def see(self, instance_uid: str, shard: int, epoch: int) -> Seen:
        """Compare an epoch with the highest one, and remember it when it is higher."""
        highest = self._epochs.get((instance_uid, shard))
        if highest == epoch:
            return Seen.REPEATED
        if highest is not None and epoch < highest:
            return Seen.STALE
        self._epochs[instance_uid, shard] = epoch
        if len(self._epochs) > EPOCHS_MAX:
            del self._epochs[next(iter(self._epochs))]
        return Seen.NEW

    def place(self, instance_uid: str, shard: int) -> int:
        """Return the number that stands for this shard as long as the node runs."""
        return self._places.setdefault((instance_uid, shard), len(self._places))


class SeenFences:
    """The highest fence of each job, kept in two generations.

    When the younger generation is half of the bound or as old as the age, it becomes the older
    one and what was the older one is forgotten: bounded in count and age without a time per job.
    """

    def __init__(self, count_max: int, age_s: float) -> None:
        self._half = max(1, count_max // 2)
        self._age_ns = int(age_s * NS_PER_S)
        self._young: dict[tuple[int, str], tuple[int, int]] = {}
        self._old: dict[tuple[int, str], tuple[int, int]] = {}
        self._young_since_ns: int | None = None

    def see(self, now_ns: int, key: tuple[int, str], fence: tuple[int, int]) -> Seen:
        """Compare (epoch, dispatch) of the job (place, job_id), and remember it when higher."""
        highest = self.highest(key)
        if highest is not None and fence <= highest:
            return Seen.REPEATED if fence == highest else Seen.STALE
        self._turn(now_ns)
        self._young[key] = fence
        return Seen.NEW

    def highest(self, key: tuple[int, str]) -> tuple[int, int] | None:
        """Return the highest fence seen for the job, or None."""
        return self._young.get(key) or self._old.get(key)

    def _turn(self, now_ns: int) -> None:
        if self._young_since_ns is None:
            self._young_since_ns = now_ns
        is_old = now_ns - self._young_since_ns >= self._age_ns
        if is_old or len(self._young) >= self._half:
            self._old, self._young = self._young, {}
            self._young_since_ns = now_ns

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
