"""P13: tenants are listed and struck off while a service runs; what is counted moves with them."""

import msgspec
from manager_harness import Harness, config_with
from msgspec.structs import replace

from pointsman_sched.core.events import Answer, ConfigOffered
from pointsman_shm.config import ListedTenant, TenantConfig, TenantsConfig
from pointsman_shm.config_live import live_places
from pointsman_shm.memory.named_counts import NamedCount
from pointsman_shm.memory.waiting import Usage, WaitingWords
from pointsman_shm.snapshot.records import ConfigPage
from pointsman_workers.core.turns.names import NamedCounts
from pointsman_workers.core.turns.tenants import JOBS, Tenants

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000


def words_of_two() -> WaitingWords:
    """The waiting words of two workers."""
    return WaitingWords(bytearray(WaitingWords.size(2)), worker_count=2, create=True)


def test_p13_the_manager_tells_who_stays_his_place_and_who_is_new_the_lowest_free_one() -> None:
    h = Harness(config_with())

    def places(*names: str) -> list[int]:
        listed = tuple(ListedTenant(name=name) for name in names)
        offered = replace(h.core.state.config, tenants=TenantsConfig(listed=listed))
        commands = h.feed(ConfigOffered(1, "file.toml", offered, False))
        while not any(isinstance(command, Answer) for command in commands):
            h.now_ns += MILLISECOND_NS
            commands = h.feed()
        page = h.read().pages[h.core.state.layout.config]
        return [*live_places(msgspec.msgpack.decode(page, type=ConfigPage).live, listed)]

    assert places("a", "b", "c") == [0, 1, 2]
    assert places("d", "c", "a") == [1, 2, 0]
    assert places("c") == [2]


def test_a_rate_of_who_is_newly_listed_counts_what_other_workers_admit_from_then_on() -> None:
    """What they admitted in its place before, of whoever had it, is nothing to it."""
    words = words_of_two()
    own, other = words.own(0), words.own(1)
    names = NamedCounts(words, own, 0, b"key")
    tenants = Tenants(TenantsConfig(listed=(ListedTenant(name="old"),)), words, own, 0, names)
    other.use(0, Usage.ADMITTED, 100)
    new = ListedTenant(name="new", jobs_per_s=1.0, burst=3)
    now_ns = 100 * SECOND_NS

    def is_over() -> bool:
        return tenants.over_rate("new", tenants.rules("new"), now_ns) is not None

    assert not is_over(), "nobody bounds it yet"
    tenants.configure(TenantsConfig(listed=(new,)), [0])
    assert not is_over()
    other.use(0, Usage.ADMITTED, 1)
    assert [is_over(), is_over()] == [False, True]
    tenants.configure(TenantsConfig(listed=(replace(new, burst=9),)), [0])
    assert is_over(), "a reload that leaves it where it is gives it nothing"


def test_what_other_workers_see_of_a_tenant_moves_with_it_into_a_place_and_out_of_it() -> None:
    words = words_of_two()
    hands = [words.own(index) for index in range(2)]
    names = [NamedCounts(words, hand, index, b"key") for index, hand in enumerate(hands)]
    counted = TenantConfig(jobs_max=9)
    tenants = Tenants(TenantsConfig(others=counted), words, hands[0], 0, names[0])
    assert [tenants.opened("acme") for _ in range(3)] == [True] * 3

    def seen() -> tuple[int, int]:
        return words.used_elsewhere(1, 0, Usage.OPEN), names[1].elsewhere(
            NamedCount.HELD, JOBS, "acme"
        )

    assert seen() == (0, 3)
    listed = TenantsConfig(others=counted, listed=(ListedTenant(name="acme", jobs_max=9),))
    tenants.configure(listed, [0])
    assert seen() == (3, 0)
    tenants.ended("acme")
    tenants.configure(TenantsConfig(others=counted), [])
    assert seen() == (0, 2)
    tenants.ended("acme")
    tenants.ended("acme")
    assert seen() == (0, 0)
