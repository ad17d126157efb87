"""What a worker makes of its instance's share of a tenant's rate."""

from pointsman_shm.config import ListedTenant, TenantConfig, TenantsConfig
from pointsman_shm.memory.waiting import Usage, WaitingWords
from pointsman_shm.uplink import RateShares
from pointsman_workers.core.turns.names import NamedCounts
from pointsman_workers.core.turns.tenants import Tenants

SECOND = 1_000_000_000
CONFIG = TenantsConfig(
    others=TenantConfig(jobs_per_s=10.0, burst=10),
    listed=(ListedTenant(name="t", jobs_per_s=100.0, burst=10),),
)


def tenants() -> tuple[Tenants, WaitingWords]:
    words = WaitingWords(bytearray(WaitingWords.size(worker_count=1)), worker_count=1, create=True)
    own = words.own(0)
    return Tenants(CONFIG, words, own, 0, NamedCounts(words, own, 0, b"key")), words


def admitted(found: Tenants, tenant: str, *, seconds: int) -> int:
    """Of a job every millisecond, how many are not over the rate."""
    rules = found.rules(tenant)
    instants = range(SECOND, (1 + seconds) * SECOND, SECOND // 1_000)
    return sum(found.over_rate(tenant, rules, now_ns) is None for now_ns in instants)


def test_a_share_is_kept_to_as_the_rate_was() -> None:
    found, words = tenants()
    found.share(RateShares(living=2, shares=(("t", 25.0),)))
    assert 98 <= admitted(found, "t", seconds=4) <= 103
    assert words.used(0, Usage.ASKED) == 4_000, "what is asked for counts, admitted or not"


def test_tenants_that_are_not_listed_have_an_equal_part_at_every_instance() -> None:
    found, _ = tenants()
    found.share(RateShares(living=5, shares=(("t", 25.0),)))
    assert 8 <= admitted(found, "someone", seconds=4) <= 11


def test_without_a_share_nothing_is_admitted_and_the_refusal_says_when_to_ask_again() -> None:
    found, _ = tenants()
    found.share(RateShares(living=2, shares=(("t", 0.0),)))
    rules = found.rules("t")
    while found.over_rate("t", rules, SECOND) is None:
        pass  # what the bucket began with
    over = found.over_rate("t", rules, 60 * SECOND)
    assert over is not None
    assert over.retry_after_ns == SECOND
    assert "its share of 100 over all instances" in over.text
