"""Which lines are written when an event comes again and again: a token bucket for each.  Pure.

An event may come `burst` times at once and `per_s` times a second for ever; what is more is only
counted, and the count is told with the next line of that event, or when it has become quiet.
"""

import msgspec

KEYS_MAX = 256
TELL_AFTER_NS = 5_000_000_000


class _Bucket(msgspec.Struct):
    tokens: float
    at_ns: int
    kept_back: int = 0
    since_ns: int = 0  # of the first that was kept back


class Sampler:
    """Decides by event; what is more than KEYS_MAX different ones share a bucket."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_ns = per_s / 1e9
        self._burst = float(burst)
        self._buckets: dict[str, _Bucket] = {}  # at most KEYS_MAX and the shared one

    def may_write(self, event: str, now_ns: int) -> bool:
        """Take a token for one line of the event; without one the line is counted instead."""
        bucket = self._bucket(event, now_ns)
        gained = (now_ns - bucket.at_ns) * self._per_ns
        bucket.tokens = min(self._burst, bucket.tokens + gained)
        bucket.at_ns = now_ns
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return True
        if not bucket.kept_back:
            bucket.since_ns = now_ns
        bucket.kept_back += 1
        return False

    def take_kept_back(self, now_ns: int, *, is_last: bool = False) -> list[tuple[str, int]]:
        """Return (event, how many lines were kept back), for those that are due to be told."""
        told = []
        for event, bucket in self._buckets.items():
            is_due = is_last or now_ns - bucket.since_ns >= TELL_AFTER_NS
            if bucket.kept_back and is_due:
                told.append((event, bucket.kept_back))
                bucket.kept_back = 0
        return told

    def _bucket(self, event: str, now_ns: int) -> _Bucket:
        if event not in self._buckets and len(self._buckets) >= KEYS_MAX:
            event = "others"
        return self._buckets.setdefault(event, _Bucket(self._burst, now_ns))
