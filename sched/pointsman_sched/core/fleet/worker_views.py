"""Which workers live, and the oldest snapshot that any of them may still act on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pointsman_shm.memory.stats import StatsPage

APPLIED_VERSION = "applied_version"
# A worker whose uplink broke may live on and come back; after this long it is taken for dead.
GONE_AFTER_NS = 10_000_000_000
# A worker tells every second that it is pressed; one that has not for so long is not.
PRESSED_NS = 3_000_000_000
EVERYTHING = 2**64 - 1


class WorkerViews:
    """One entry per worker index; a worker that was not heard of yet counts as gone since birth."""

    def __init__(self, pages: tuple["StatsPage", ...], now_ns: int) -> None:
        self._pages = pages
        # None while the worker has an uplink.
        self._gone_since_ns: list[int | None] = [now_ns] * len(pages)
        self._pressed_until_ns = [0] * len(pages)

    @property
    def connected_count(self) -> int:
        """Return how many workers have an uplink."""
        return sum(since is None for since in self._gone_since_ns)

    def is_worker(self, index: int) -> bool:
        """Say whether there is a worker of this index."""
        return 0 <= index < len(self._pages)

    def arrived(self, index: int) -> None:
        """Note that a worker's uplink stands."""
        self._gone_since_ns[index] = None

    def left(self, index: int, now_ns: int) -> None:
        """Note that a worker's uplink broke."""
        self._gone_since_ns[index] = now_ns

    def pressed(self, index: int, now_ns: int, *, is_pressed: bool) -> None:
        """Note that a worker has too much to do, or no more."""
        self._pressed_until_ns[index] = now_ns + PRESSED_NS if is_pressed else 0

    def is_any_pressed(self, now_ns: int) -> bool:
        """Has any worker too much to do?"""
        return max(self._pressed_until_ns) > now_ns

    def applied_version(self, now_ns: int) -> int:
        """Return the oldest version that a live worker has applied.

        A worker that has applied none (0) holds no snapshot at all, so it cannot hold an old one.
        """
        oldest = EVERYTHING
        for page, gone_since_ns in zip(self._pages, self._gone_since_ns, strict=True):
            if gone_since_ns is not None and now_ns - gone_since_ns >= GONE_AFTER_NS:
                continue
            applied = page.read().gauges[APPLIED_VERSION]
            if applied:
                oldest = min(oldest, applied)
        return oldest
