"""The pools of one snapshot, with the answers that placements ask for again and again.

A view belongs to one version of the pools page and is replaced with it; what it has computed about
*classes* outlives it in the `PairMemo`, because classes are only ever appended. So a publish
that changes a count costs the next placement a walk over pools, not over languages.
"""

from collections.abc import Callable

from pointsman_shm.config import PoolsConfig
from pointsman_shm.rules.languages import language_failure
from pointsman_shm.rules.pool_match import (
    ClassLookup,
    Fit,
    PoolCounts,
    count_pool,
    eligible_pools,
    fit_unmatched,
    for_types,
    has_languages,
    needed_types,
    pool_order,
)
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.snapshot.records import ConfigPage, PoolRecord, PoolsPage, Requirement

QUESTIONS_MAX = 1024  # answers kept per view and per memo; all are dropped when it is full

UNASKED, YES, NO = 0, 1, 2


class PairMemo:
    """Which classes can do which language side: one byte per class and kind of question."""

    def __init__(self) -> None:
        self._answers: dict[Requirement, bytearray] = {}

    def clear(self) -> None:
        """Forget all: for a catalog in which class numbers mean something else."""
        self._answers.clear()

    def test(self, question: Requirement, class_of: ClassLookup) -> Callable[[int], bool]:
        """A function from class number to "can do the languages of `question`"."""
        known = self._answers.get(question)
        if known is None:
            if len(self._answers) >= QUESTIONS_MAX:
                self._answers.clear()
            known = self._answers[question] = bytearray()
        answers = known

        def can_pair(number: int) -> bool:
            if number >= len(answers):
                answers.extend(bytes(number + 1 - len(answers)))
            if answers[number] == UNASKED:
                capability = class_of(number)
                if capability is None:  # not decoded yet: no answer to keep
                    return False
                failure = language_failure(capability.languages, question)
                answers[number] = YES if failure is None else NO
            return answers[number] == YES

        return can_pair


class PoolGroup:
    """Some pools of a view, sorted by id, and the order in which they are asked."""

    __slots__ = ("_config", "_mode", "_orders", "ids", "records")

    def __init__(
        self, records: tuple[PoolRecord, ...], mode: PoolMode, config: PoolsConfig
    ) -> None:
        self.records = records
        self.ids = frozenset(pool.id for pool in records)
        self._mode = mode
        self._config = config
        self._orders: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def order(self, preferred_id: int) -> tuple[int, ...]:
        """The pools to ask: the preferred one, then with fallback on the others."""
        if not self._config.fallback_scan_all_pools:
            return (preferred_id,)
        found = self._orders.get(preferred_id)
        if found is None:
            found = pool_order(self.records, preferred_id, self._mode, self._config)
            self._orders[preferred_id] = found
        return found


class PoolView:
    """Read-only pools of a snapshot; every answer is computed once."""

    def __init__(
        self,
        page: PoolsPage,
        class_of: ClassLookup,
        config: ConfigPage,
        memo: PairMemo | None = None,
    ) -> None:
        self.mode = PoolMode(page.mode)
        self.config = config.pools
        self.pools = {pool.id: pool for pool in sorted(page.pools, key=lambda pool: pool.id)}
        self.all = PoolGroup(tuple(self.pools.values()), self.mode, self.config)
        # Is any node of any pool not Offline?
        self.has_members = any(pool.classes for pool in page.pools)
        is_wanted = config.pools.enabled and config.pools.mode == "two_level"
        # Do placements go by pools?  Otherwise they go over the whole fleet.
        self.is_two_level = is_wanted and self.has_members
        self._class_of = class_of
        self._core_types = config.catalogue.core_types
        self._memo = memo or PairMemo()
        self._eligible: dict[Requirement, PoolGroup] = {}  # by requirement and by question
        self._counts: dict[int, PoolCounts] = {}

    def needed(self, requirement: Requirement) -> tuple[str, ...]:
        """The types by which this request is matched with pools."""
        return needed_types(requirement.types, self._core_types, self.config)

    def eligible(self, requirement: Requirement) -> PoolGroup:
        """The pools that may do the request."""
        found = self._eligible.get(requirement)
        if found is None:
            # Requirements differ in what pools are not asked about, such as the tenant.
            question = for_types(requirement, self.needed(requirement))
            found = self._eligible.get(question)
            if found is None:
                found = self._find_eligible(question)
            if len(self._eligible) >= QUESTIONS_MAX:
                self._eligible.clear()
            self._eligible[question] = self._eligible[requirement] = found
        return found

    def _find_eligible(self, question: Requirement) -> PoolGroup:
        can_pair = self._memo.test(question, self._class_of) if has_languages(question) else None
        records = eligible_pools(self.all.records, question.types, self.config, can_pair)
        return PoolGroup(records, self.mode, self.config)

    def fit(self, pool_id: int, requirement: Requirement) -> Fit:
        """How one pool stands to the request; a pool that is gone has no pair."""
        pool = self.pools.get(pool_id)
        if pool is None:
            return Fit.NO_PAIR
        if pool_id in self.eligible(requirement).ids:
            return Fit.ELIGIBLE
        return fit_unmatched(pool, requirement, self.needed(requirement), self._class_of)

    def counts(self, pool_id: int) -> PoolCounts:
        """The core cache of a pool; raises KeyError for one that is not there."""
        found = self._counts.get(pool_id)
        if found is None:
            found = self._counts[pool_id] = count_pool(self.pools[pool_id], self._class_of)
        return found

    def has_type_online(self, name: str) -> bool:
        """Say whether some node that is not Offline has this service type installed."""
        return any(self.counts(pool_id).installed.get(name, 0) > 0 for pool_id in self.pools)
