"""The census: nodes grouped by what the checks look at, so that a refusal judges groups.

Nodes whose standing word, lane and ledger sum are the same fail the same check, unless they are
marked or excluded by name.  A census is taken of one pool at a time and shared by all refusals of a
short while, whatever they ask for; so a storm of refusals looks at each node a few times a second,
and the rest of its cost is by group.
"""

from collections.abc import Iterable, Iterator

import msgspec

from pointsman_workers.placement.fleet import Fleet

CENSUS_NS = 50_000_000

Signature = tuple[int, int, int]  # standing word, ledger sum, generation to which the lane is up
Groups = dict[Signature, list[int]]
PoolGroup = tuple[int | None, Signature, list[int]]


class Census(msgspec.Struct, frozen=True):
    """The rows of a pool by signature, each list in ascending order."""

    groups: Groups
    version: int
    taken_at_ns: int


class Censuses:
    """Takes and shares censuses; `looked_count` is how many nodes were looked at in all."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._taken: dict[int | None, Census] = {}
        self.looked_count = 0

    def of_pools(self, pools: Iterable[int | None]) -> Iterator[PoolGroup]:
        """Groups of all nodes of these pools (None: of the whole fleet), each node once."""
        seen: set[int] | None = set() if self._fleet.config.pools.multi_pool else None
        for pool_id in pools:
            for signature, rows in self._of(pool_id).groups.items():
                fresh = rows
                if seen is not None:
                    fresh = [row for row in rows if row not in seen]
                    seen.update(fresh)
                if fresh:
                    yield pool_id, signature, fresh

    def _of(self, pool_id: int | None) -> Census:
        census = self._taken.get(pool_id)
        if census is None or not self._is_fresh(census):
            self._taken = {pool: old for pool, old in self._taken.items() if self._is_fresh(old)}
            census = Census(self._take(pool_id), self._fleet.version, self._fleet.now_ns)
            self._taken[pool_id] = census
        return census

    def _is_fresh(self, census: Census) -> bool:
        is_recent = census.taken_at_ns + CENSUS_NS > self._fleet.now_ns
        return is_recent and census.version == self._fleet.version

    def _take(self, pool_id: int | None) -> Groups:
        fleet = self._fleet
        standing, held, lanes = fleet.standing, fleet.held, fleet.lane_generations
        rows = sorted(row for bucket in fleet.index.buckets(pool_id).values() for row in bucket)
        self.looked_count += len(rows)
        groups: Groups = {}
        for row in rows:
            groups.setdefault((standing[row], held(row), lanes[row]), []).append(row)
        return groups
