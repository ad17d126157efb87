"""The pages that recorded decisions refer to, kept as long as they fit.

A page is immutable and successive snapshots share what did not change, so keeping the pages of a
version costs what was published with it.
"""

import msgspec

from pointsman_shm.snapshot.records import ConfigPage, PolicyPage, PoolsPage
from pointsman_shm.snapshot.snapshot import ClassTable, RuntimeSnapshot

VERSIONS_MAX = 1024
PAGES_BYTES_MAX = 16 * 1024 * 1024
POOL_BYTES = 300  # what a pool and one of its counts by class take, about
COUNT_BYTES = 150


class Pages(msgspec.Struct, frozen=True):
    """What a decision looked at beside words: pools, classes, configuration, overrides."""

    version: int
    classes: ClassTable
    pools: PoolsPage
    config: ConfigPage
    policy: PolicyPage


class KeptPages:
    """The pages of versions under which a decision was made, the oldest forgotten first."""

    def __init__(self) -> None:
        self._kept: dict[int, Pages] = {}
        self._size = 0
        self._sizes: dict[int, int] = {}
        self.latest_version = -1

    def keep(self, snapshot: RuntimeSnapshot) -> None:
        """Keep what this snapshot consists of."""
        before = self._kept.get(self.latest_version)
        self.latest_version = version = snapshot.version
        is_shared = before is not None and before.pools is snapshot.pools
        self._kept[version] = Pages(
            version, snapshot.classes, snapshot.pools, snapshot.config, snapshot.policy
        )
        self._sizes[version] = 0 if is_shared else _size(snapshot.pools)
        self._size += self._sizes[version]
        while len(self._kept) > VERSIONS_MAX or self._size > PAGES_BYTES_MAX:
            if len(self._kept) == 1:
                return
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._kept))
        gone = self._kept.pop(oldest)
        size = self._sizes.pop(oldest)
        following = next(iter(self._kept.values()))
        if following.pools is gone.pools:
            self._sizes[following.version] = size  # what was shared is still there
        else:
            self._size -= size

    def of(self, version: int) -> Pages | None:
        """The pages of one version, None when they were not kept."""
        return self._kept.get(version)

    def latest(self) -> Pages | None:
        """The pages of the version that was kept last."""
        return self._kept.get(self.latest_version)

    def __len__(self) -> int:
        return len(self._kept)


def _size(page: PoolsPage) -> int:
    return sum(POOL_BYTES + COUNT_BYTES * len(pool.classes) for pool in page.pools)
