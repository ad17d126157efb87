"""Orphans: jobs from before this worker was born, until their clients name them.

As many as ORPHANS_MAX, and of those that have ended as much as RESULTS_BYTES_MAX holds.  What has
no room is forgotten, and may be: who repeats its request gets a job that runs.
"""

from collections.abc import Iterator

from pointsman_wire.lane_messages import NodeResult
from pointsman_workers.core.held import OVERHEAD_BYTES, extra_bytes
from pointsman_workers.core.state import Hold, Key, Lane, Orphan

ORPHANS_MAX = 10_000
RESULTS_BYTES_MAX = 64 * 1024 * 1024


class Orphans:
    """All of a shard, by key and by what they hold."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Orphan] = {}
        self._by_hold: dict[Hold, Orphan] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __contains__(self, key: Key) -> bool:
        return key in self._by_key

    @property
    def is_full(self) -> bool:
        """Has another one no room?"""
        return len(self._by_key) >= ORPHANS_MAX

    def get(self, key: Key) -> Orphan | None:
        """Return the orphan that waits under a key."""
        return self._by_key.get(key)

    def of(self, hold: Hold) -> Orphan | None:
        """Return the orphan whose dispatch this is, also when that is over."""
        return self._by_hold.get(hold)

    def running_of(self, whose: tuple[str, str]) -> Iterator[Orphan]:
        """The orphans of a session (tenant, session id) that a node still runs."""
        for key, orphan in self._by_key.items():
            if key[:2] == whose and orphan.result is None:
                yield orphan

    def add(self, orphan: Orphan) -> None:
        """Let it wait under its key, in the place of who waits there."""
        self.pop(orphan.key)
        self._by_key[orphan.key] = self._by_hold[orphan.hold] = orphan

    def pop(self, key: Key) -> Orphan | None:
        """Let go of the one that waits under a key, and return it."""
        orphan = self._by_key.pop(key, None)
        if orphan is not None:
            del self._by_hold[orphan.hold]
            self._bytes -= _result_bytes(orphan)
        return orphan

    def ended(self, orphan: Orphan, result: NodeResult, payload: bytes) -> bool:
        """Keep what became of it; False when that has no room, and it was forgotten."""
        orphan.result, orphan.payload = result, payload
        self._bytes += _result_bytes(orphan)
        if self._bytes <= RESULTS_BYTES_MAX:
            return True
        self.pop(orphan.key)
        return False

    def forget(self, lane: Lane) -> None:
        """The node is gone, and its orphans with it."""
        for key in [key for key, orphan in self._by_key.items() if orphan.hold.lane is lane]:
            self.pop(key)


def _result_bytes(orphan: Orphan) -> int:
    result = orphan.result
    if result is None:
        return 0
    return OVERHEAD_BYTES + len(orphan.payload) + len(result.message) + extra_bytes(result)
