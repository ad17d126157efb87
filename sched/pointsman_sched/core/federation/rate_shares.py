"""What of a tenant's rate is this instance's: shares by demand, whose sum never passes the rate.

An instance first *claims* a larger share, then reads what all claim, and uses it only if all
claims together stay within the rate; else it takes the claim back.  As a claim stands in the store
before the others' are read, of two that claim at once at least one sees the other.  (The slot
ledger works in the same way.)  A smaller share is used at once, and told afterwards.

    target = rate * weight / sum of weights        weight = asked for a second + a small floor

so that who asks for nothing keeps a little to begin with.  Before anybody was heard, and while the
store is away, it is the rate over the number of living instances at most.  Tenants that are not
listed are told from each other by name only, at their workers: of their rate every instance has an
equal part.
"""

from collections.abc import Sequence

from pointsman_sched.core.events import TellWorkers
from pointsman_sched.core.federation.followed import Followed
from pointsman_sched.core.federation.told import TenantShare
from pointsman_sched.core.state import ManagementState
from pointsman_shm.config import TenantsConfig
from pointsman_shm.memory.waiting import Usage, WaitingWords
from pointsman_shm.uplink import RateShares as RateSharesTold

# Of the mean of all weights: what an instance weighs that asks for nothing.
FLOOR_SHARE = 0.05
# How much of the newest second is in what is said to be asked for.
NEWEST_SHARE = 0.5
# Shares that differ by less are the same: sums of floats.
SLACK = 1e-9


class Share:
    """One tenant's rate, and what of it is ours: used by our workers, and claimed in the store."""

    __slots__ = ("asked_count", "asked_per_s", "claimed", "place", "rate", "told", "used")

    def __init__(self, rate: float, place: int, living_count: int) -> None:
        self.rate = rate
        self.place = place
        self.used = rate / living_count
        self.claimed = 0.0  # what the next presence says
        self.told = 0.0  # what the store has, as far as we know
        self.asked_count = 0
        self.asked_per_s = 0.0


class RateShares:
    """Shares of all listed tenants that have a rate."""

    def __init__(self, config: TenantsConfig, words: WaitingWords, living_count: int) -> None:
        self._words = words
        self._shares = {
            tenant.name: Share(tenant.jobs_per_s, place, living_count)
            for place, tenant in enumerate(config.listed)
            if tenant.jobs_per_s is not None
        }
        self._living_count = living_count
        self._asked_at_ns = 0
        self._is_begun = False
        self._last_told: RateSharesTold | None = None

    def message(self) -> RateSharesTold:
        """Return what workers are told."""
        shares = tuple((name, share.used) for name, share in self._shares.items())
        return RateSharesTold(living=self._living_count, shares=shares)

    def claims(self, state: ManagementState) -> tuple[TenantShare, ...]:
        """Return what the next presence says; what was asked for is counted for it."""
        self._count_asked(state.now_ns)
        return tuple(
            TenantShare(name, share.asked_per_s, share.claimed)
            for name, share in self._shares.items()
        )

    def told(self) -> None:
        """The store has the claims of the last presence."""
        for share in self._shares.values():
            share.told = share.claimed

    def heard(self, state: ManagementState, living: Sequence[Followed]) -> None:
        """The others' claims were read, after ours stood there: use it, or take it back."""
        self._living_count = 1 + len(living)
        others = {other.name: {told.tenant: told for told in other.shares} for other in living}
        for name, share in self._shares.items():
            found = [told[name] for told in others.values() if name in told]
            self._weigh(share, found)
        self._is_begun = True
        self._tell(state)

    def away(self, state: ManagementState, living_count: int) -> None:
        """Nothing is known of the others' claims: an equal part at most.

        Who is silent meanwhile may live, and be as cut off as we are: its part stays its own.
        """
        self._living_count = max(self._living_count, living_count)
        for share in self._shares.values():
            share.used = min(share.used, share.rate / self._living_count)
            share.claimed = share.used
        self._tell(state)

    def _weigh(self, share: Share, others: list[TenantShare]) -> None:
        """Use our claim or take it back, and claim anew."""
        room = max(0.0, share.rate - sum(told.claimed_per_s for told in others))
        before = share.used
        if not self._is_begun:
            before = min(before, share.rate / self._living_count)
        elif share.used < share.told <= room + SLACK:
            before = share.told
        target = self._target(share, others)
        share.used = min(before, target, room)
        share.claimed = max(share.used, min(target, room))

    def _target(self, share: Share, others: list[TenantShare]) -> float:
        """What is ours by demand; who lives and did not speak of the tenant has its floor kept."""
        asked_elsewhere = sum(told.asked_per_s for told in others)
        mean = (share.asked_per_s + asked_elsewhere) / self._living_count
        floor = max(FLOOR_SHARE * mean, SLACK)
        total = share.asked_per_s + asked_elsewhere + floor * self._living_count
        return share.rate * (share.asked_per_s + floor) / total

    def _count_asked(self, now_ns: int) -> None:
        elapsed_s = (now_ns - self._asked_at_ns) / 1e9
        is_first, self._asked_at_ns = not self._asked_at_ns, now_ns
        for share in self._shares.values():
            count = self._words.used(share.place, Usage.ASKED)
            asked, share.asked_count = count - share.asked_count, count
            if not is_first and elapsed_s > 0 and asked >= 0:
                share.asked_per_s += (asked / elapsed_s - share.asked_per_s) * NEWEST_SHARE

    def _tell(self, state: ManagementState) -> None:
        message = self.message()
        if message != self._last_told:
            self._last_told = message
            state.outbox.wish(TellWorkers(message))
