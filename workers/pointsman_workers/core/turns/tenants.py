"""Tenants: their weights and priorities, how fast they may submit and how much they may hold.

A listed tenant has a place of its own in the waiting words, so what it may do counts over all
workers of the host: each worker keeps its own count there and adds the others'.  All other tenants
share the remaining places by their names, which bounds what any number of names can cost; their
limits hold over all workers as well, by counts of names that may come out a little too high
(names.py).

Rates are token buckets: `burst` jobs at once, then `jobs_per_s`.  Every worker fills the same
bucket by the same clock and takes out what the others' counters say that they have admitted.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from pointsman_shm.config import LISTED_MAX, TenantConfig, TenantsConfig
from pointsman_shm.memory.named_counts import NamedCount
from pointsman_shm.memory.waiting import PLACE_COUNT, OwnWaiting, Usage, WaitingWords
from pointsman_shm.uplink import RateShares
from pointsman_workers.core.turns.names import NamedCounts
from pointsman_workers.placement.kinds import PRIORITY_RANK

# What is counted of tenants that are not listed.
RATE, JOBS, QUEUED = "rate", "jobs", "queued"
# Virtual time that one job costs at weight 1.
JOB_COST = 1 << 16
# Buckets of tenants that are not listed; beyond so many, newcomers share one.
BUCKETS_MAX = 10_000
# Names whose rules are kept at hand, so that they need not be hashed for each job.
NAMES_MAX = 10_000
# A tenant without a share may have one after so long.
NO_SHARE_S = 1.0
FORGET_NS = 1_000_000_000
_WORD_MASK = (1 << 64) - 1


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a tenant, as this worker counts it."""

    place: int
    is_listed: bool
    cost: int  # virtual time of one job
    rank_min: int  # the highest priority that it may have
    jobs_per_s: float | None
    burst: float
    jobs_max: int | None
    queued_bytes_max: int | None
    sessions_max: int | None
    has_limits: bool  # is there anything to count for it?


class Bucket(msgspec.Struct):
    """A token bucket as it was at an instant."""

    tokens: float
    at_ns: int
    admitted_elsewhere: int = 0  # what the others' counters said then,
    named_elsewhere: tuple[int, ...] = ()  # or, of a tenant that is not listed, theirs by row


class Over(msgspec.Struct, frozen=True):
    """A limit that one more job would pass: in words, and when there may be room again."""

    text: str
    retry_after_ns: int | None = None  # None: when a job of the tenant ends


class Tenants:
    """Rules by tenant, and what each has used."""

    def __init__(
        self,
        config: TenantsConfig,
        words: WaitingWords,
        own: OwnWaiting,
        worker_index: int,
        names: NamedCounts,
    ) -> None:
        self._words = words
        self._own = own
        self._names = names
        self._worker_index = worker_index
        self._listed: dict[str, Rules] = {}
        self._holders: frozenset[str] = frozenset()  # tenants of whom there is a token
        self._buckets: dict[str, Bucket] = {}
        self._open: dict[str, int] = {}  # of tenants with jobs_max: accepted here, not ended
        self.configure(config, range(len(config.listed)))
        self._forget_at_ns = 0
        self._shared_bucket = Bucket(self._others[0].burst, 0)
        # What of the rates is this instance's; None while it has no others.
        self._shares: RateShares | None = None
        self._share_by_name: dict[str, float] = {}

    def configure(self, config: TenantsConfig, places: Sequence[int]) -> None:
        """Other rules hold from now on; `places` are those of the listed, in their order.

        Open jobs that are counted move along with who has them.  Those of a tenant that had no
        `jobs_max` are not counted afterwards.
        """
        for tenant, count in self._open.items():
            self._use_open(tenant, self.rules(tenant), -count)
        former = self._listed
        self._listed = {
            tenant.name: _rules(tenant, place, is_listed=True)
            for tenant, place in zip(config.listed, places, strict=True)
        }
        self._others = [
            _rules(config.others, place, is_listed=False)
            for place in range(LISTED_MAX, PLACE_COUNT)
        ]
        self._with_tokens = [
            _rules(config.with_tokens, rules.place, is_listed=False) for rules in self._others
        ]
        self._at_hand = dict(self._listed)  # by name
        for tenant, count in self._open.items():
            self._use_open(tenant, self.rules(tenant), count)
        self._follow_buckets(former)
        # Is there anybody whose open jobs are counted?
        all_rules = (*config.listed, config.others, config.with_tokens)
        self.has_counted = any(tenant.jobs_max is not None for tenant in all_rules)

    def _follow_buckets(self, former: dict[str, Rules]) -> None:
        """Who is listed from now on has a full bucket; what others admit counts from now on."""
        for name in former.keys() | self._listed.keys():
            rules, before = self._listed.get(name), former.get(name)
            if rules is None or before is None or rules.place != before.place:
                self._buckets.pop(name, None)  # what is counted in it, is counted elsewhere now
            if rules is not None and rules.jobs_per_s is not None and name not in self._buckets:
                self._buckets[name] = Bucket(rules.burst, 0, self._admitted_elsewhere(rules))

    def rules(self, tenant: str) -> Rules:
        """Return what holds for a tenant; a name that is not listed never fails."""
        rules = self._at_hand.get(tenant)
        if rules is None:
            unlisted = self._with_tokens if tenant in self._holders else self._others
            rules = unlisted[crc32(tenant.encode()) % len(unlisted)]
            if len(self._at_hand) >= len(self._listed) + NAMES_MAX:
                self._at_hand = dict(self._listed)
            self._at_hand[tenant] = rules
        return rules

    def hold_tokens(self, tenants: frozenset[str]) -> None:
        """These tenants have tokens: what holds for such holds for them, if they are not listed."""
        if tenants != self._holders:
            self._holders = tenants
            self._at_hand = dict(self._listed)

    def over_rate(self, tenant: str, rules: Rules, now_ns: int) -> Over | None:
        """Take one job from the tenant's bucket, or say that it is empty."""
        rate, burst = rules.jobs_per_s, rules.burst
        if rate is None:
            return None
        if rules.is_listed:
            self._own.use(rules.place, Usage.ASKED, 1)
        if self._shares is not None:
            share = self._share_of(tenant, rate, self._shares)
            rate, burst = rate * share, max(1.0, burst * share)
        bucket = self._bucket(tenant, rules, now_ns)
        elapsed_ns, bucket.at_ns = now_ns - bucket.at_ns, now_ns
        bucket.tokens = min(burst, bucket.tokens + elapsed_ns * rate / 1e9)
        if rules.is_listed:
            elsewhere = self._admitted_elsewhere(rules)
            bucket.tokens -= elsewhere - bucket.admitted_elsewhere & _WORD_MASK
            bucket.admitted_elsewhere = elsewhere
        elif bucket.named_elsewhere:
            rows = self._names.rows_elsewhere(NamedCount.ADMITTED, RATE, tenant)
            bucket.tokens -= _passed(bucket.named_elsewhere, rows)
            bucket.named_elsewhere = rows
        if bucket.tokens < 1:
            text = f"tenant {tenant!r} may submit {rate:g} jobs a second, {burst:g} at once"
            if self._shares is not None:
                text += f" here: its share of {rules.jobs_per_s:g} over all instances"
            after_s = min((1 - bucket.tokens) / rate, NO_SHARE_S) if rate else NO_SHARE_S
            return Over(text, int(after_s * 1e9))
        bucket.tokens -= 1
        self._own.use(rules.place, Usage.ADMITTED, 1)
        if not rules.is_listed:
            self._names.add(NamedCount.ADMITTED, RATE, tenant, 1)
        return None

    def share(self, told: RateShares) -> None:
        """Keep rates to what of them is this instance's, from now on."""
        self._shares = told if told.living > 1 or told.shares else None
        self._share_by_name = dict(told.shares)

    def _share_of(self, tenant: str, rate: float, told: RateShares) -> float:
        """Return which part of its rate a tenant has here, 0 to 1."""
        share = self._share_by_name.get(tenant)
        return share / rate if share is not None else 1 / told.living

    def over_jobs(self, tenant: str, rules: Rules) -> Over | None:
        """Would one more job pass what the tenant may have open?"""
        if rules.jobs_max is None:
            return None
        count = self._open.get(tenant, 0)
        if rules.is_listed:
            count += self._used_elsewhere(rules, Usage.OPEN)
        else:
            count += self._names.elsewhere(NamedCount.HELD, JOBS, tenant)
        if count < rules.jobs_max:
            return None
        return Over(f"tenant {tenant!r} has {count} open jobs, at most {rules.jobs_max} may be")

    def over_bytes(self, tenant: str, rules: Rules, waiting_bytes: int, size: int) -> Over | None:
        """Would a payload of this size pass what the tenant may have waiting?"""
        if rules.queued_bytes_max is None:
            return None
        held = waiting_bytes
        if rules.is_listed:
            held += self._used_elsewhere(rules, Usage.QUEUED_BYTES)
        else:
            held += self._names.elsewhere(NamedCount.BYTES, QUEUED, tenant)
        if held + size <= rules.queued_bytes_max:
            return None
        return Over(
            f"payloads of {held} bytes of tenant {tenant!r} wait, "
            f"at most {rules.queued_bytes_max} may"
        )

    def opened(self, tenant: str) -> bool:
        """A job of the tenant was accepted; True if `ended` is to be told of its end."""
        rules = self.rules(tenant)
        if rules.jobs_max is None:
            return False
        self._open[tenant] = self._open.get(tenant, 0) + 1
        self._use_open(tenant, rules, 1)
        return True

    def ended(self, tenant: str) -> None:
        """A job that `opened` has counted has ended."""
        left = self._open[tenant] - 1
        if left:
            self._open[tenant] = left
        else:
            del self._open[tenant]
        self._use_open(tenant, self.rules(tenant), -1)

    def _use_open(self, tenant: str, rules: Rules, change: int) -> None:
        self._own.use(rules.place, Usage.OPEN, change)
        if not rules.is_listed:
            self._names.add(NamedCount.HELD, JOBS, tenant, change)

    def queued(self, tenant: str, change_bytes: int) -> None:
        """Payloads of the tenant wait, or do no more; limited or not: it may be meanwhile."""
        rules = self.rules(tenant)
        if rules.is_listed:
            self._own.use(rules.place, Usage.QUEUED_BYTES, change_bytes)
        else:
            self._names.add(NamedCount.BYTES, QUEUED, tenant, change_bytes)

    def _used_elsewhere(self, rules: Rules, usage: Usage) -> int:
        return self._words.used_elsewhere(self._worker_index, rules.place, usage)

    def _bucket(self, tenant: str, rules: Rules, now_ns: int) -> Bucket:
        bucket = self._buckets.get(tenant)
        if bucket is not None:
            return bucket
        if len(self._buckets) >= BUCKETS_MAX and now_ns >= self._forget_at_ns:
            self._forget_at_ns = now_ns + FORGET_NS
            self._forget_full(now_ns)
        if len(self._buckets) >= BUCKETS_MAX:
            return self._shared_bucket
        rows = self._names.rows_elsewhere(NamedCount.ADMITTED, RATE, tenant)
        # Who is known to others has had their burst: not one more from each worker.
        share = self._names.worker_count if min(rows, default=0) else 1
        bucket = Bucket(max(1.0, rules.burst / share), now_ns, named_elsewhere=rows)
        self._buckets[tenant] = bucket
        return bucket

    def _admitted_elsewhere(self, rules: Rules) -> int:
        return self._used_elsewhere(rules, Usage.ADMITTED)

    def _forget_full(self, now_ns: int) -> None:
        """Forget buckets that are full again by now: new ones would say the same."""
        self._buckets = {
            tenant: bucket
            for tenant, bucket in self._buckets.items()
            if tenant in self._listed or not self._is_full(self.rules(tenant), bucket, now_ns)
        }

    @staticmethod
    def _is_full(rules: Rules, bucket: Bucket, now_ns: int) -> bool:
        earned = (now_ns - bucket.at_ns) * (rules.jobs_per_s or 0.0) / 1e9
        return bucket.tokens + earned >= rules.burst


def _passed(before: tuple[int, ...], now: tuple[int, ...]) -> int:
    """Return by how much a count has grown, by the row in which fewest others share its cell."""
    return min(new - old & _WORD_MASK for old, new in zip(before, now, strict=True))


def _rules(config: TenantConfig, place: int, *, is_listed: bool) -> Rules:
    burst = config.burst
    if burst is None:
        burst = max(1, round(2 * (config.jobs_per_s or 0)))
    return Rules(
        place=place,
        is_listed=is_listed,
        cost=max(1, round(JOB_COST / config.weight)),
        rank_min=PRIORITY_RANK[config.priority_max],
        jobs_per_s=config.jobs_per_s,
        burst=float(burst),
        jobs_max=config.jobs_max,
        queued_bytes_max=config.queued_bytes_max,
        sessions_max=config.sessions_max,
        has_limits=not config.jobs_per_s is config.jobs_max is config.queued_bytes_max is None,
    )
