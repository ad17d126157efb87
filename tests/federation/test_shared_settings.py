"""Pools and catalogue of the fleet: the newest rule on every instance."""

import msgspec
from federation.many_instances import Core, Instances
from manager_harness import SECOND, config_with, registration

from pointsman_sched.core.events import Answer, ConfigOffered
from pointsman_sched.core.federation.shared_settings import SharedSettings
from pointsman_shm.config import Config, PoolConfig, PoolsConfig
from pointsman_wire.order_messages import ConfigDiff

TRANSLATORS = PoolsConfig(pools=(PoolConfig(id=1, name="translators", required_services=("nmt",)),))
SPEAKERS = PoolsConfig(pools=(PoolConfig(id=2, name="speakers", required_services=("tts",)),))


def reload(core: Core, pools: PoolsConfig, ticket: int = 7) -> None:
    config = msgspec.structs.replace(core.config, pools=pools)
    core.feed(ConfigOffered(ticket=ticket, source="p.toml", config=config))


def pool_names(core: Core) -> set[str]:
    return {pool.name for pool in core.read().pools.pools}


def settings(core: Core) -> SharedSettings:
    federation = core.core.state.federation
    assert federation is not None
    return federation.settings


def test_a_reload_on_any_instance_is_followed_by_all() -> None:
    fleet = Instances("a", "b", "c")
    fleet["a"].make_ready(registration("n1"))
    fleet.advance(3 * SECOND)
    assert {settings(fleet[name]).version for name in "abc"} == {1}
    reload(fleet["b"], TRANSLATORS)
    fleet.advance(4 * SECOND)
    for name in "abc":
        assert "translators" in pool_names(fleet[name]), name
        assert (settings(fleet[name]).version, settings(fleet[name]).by) == (2, "b")
    assert fleet.store.leader == "b"


def test_a_reload_is_answered_where_it_was_ordered_and_nowhere_else() -> None:
    fleet = Instances("a", "b")
    fleet.advance(3 * SECOND)
    answers: dict[str, list[Answer]] = {"a": [], "b": []}
    config = msgspec.structs.replace(fleet["a"].config, pools=TRANSLATORS)
    offered = ConfigOffered(ticket=7, source="p.toml", config=config)
    answers["a"] += [c for c in fleet["a"].feed(offered) if isinstance(c, Answer)]
    for _ in range(150):
        for name, core in fleet.cores.items():
            core.now_ns += SECOND // 40
            commands = core.feed()
            while core.wishes:
                commands += core.feed(fleet.store.obey(name, core.wishes.pop(0)))
            answers[name] += [c for c in commands if isinstance(c, Answer)]
    (ordered,) = answers["a"]
    (followed,) = answers["b"]
    assert (ordered.ticket, followed.ticket) == (7, 0)
    assert isinstance(followed.message, ConfigDiff)
    assert followed.message.applied
    assert followed.message.source == "version 2 of instance a"


def test_of_two_reloads_at_once_one_rules_and_the_other_is_told_so() -> None:
    fleet = Instances("a", "b")
    fleet.advance(3 * SECOND)
    reload(fleet["a"], TRANSLATORS)
    reload(fleet["b"], SPEAKERS)
    fleet.advance(5 * SECOND)
    assert pool_names(fleet["a"]) == pool_names(fleet["b"])
    told = [*fleet["a"].alarms, *fleet["b"].alarms]
    assert sum("at the same time" in words for words in told) == 1


def test_an_instance_that_comes_with_another_file_follows_the_fleet_and_says_so() -> None:
    fleet = Instances("a", config=config_with(TRANSLATORS))
    fleet.advance(3 * SECOND)
    fleet.join("b", config_with(SPEAKERS))
    fleet.advance(5 * SECOND)
    assert pool_names(fleet["b"]) == pool_names(fleet["a"]) == {"translators"}
    assert any("not this instance's file" in words for words in fleet["b"].alarms)


def test_an_instance_alone_that_starts_again_with_another_file_makes_it_the_fleets() -> None:
    fleet = Instances("a", config=config_with(TRANSLATORS))
    fleet.advance(3 * SECOND)
    fleet["a"].config = config_with(SPEAKERS)
    fleet["a"].start()
    fleet.advance(3 * SECOND)
    assert pool_names(fleet["a"]) == {"speakers"}
    assert settings(fleet["a"]).version == 2


def test_a_store_that_forgot_the_settings_gets_them_from_who_leads() -> None:
    """R3: nobody's settings change because the store lost them."""
    fleet = Instances("a", "b")
    fleet.advance(3 * SECOND)
    reload(fleet["b"], TRANSLATORS)
    fleet.advance(4 * SECOND)
    fleet.store.flush()
    fleet.advance(5 * SECOND)
    assert fleet.store.settings[0] == 2
    assert pool_names(fleet["a"]) == pool_names(fleet["b"]) == {"translators"}


def test_settings_that_cannot_be_are_told_and_not_applied() -> None:
    """D2: what the store holds is judged like what a network brings."""
    fleet = Instances("a", config=config_with(TRANSLATORS))
    fleet.advance(3 * SECOND)
    fleet.store.settings = (9, "x", b"\x81\xa2by\xa1x")
    fleet.advance(3 * SECOND)
    assert pool_names(fleet["a"]) == {"translators"}
    assert any("not applied here" in words for words in fleet["a"].alarms)
    assert settings(fleet["a"]).trouble


def test_settings_that_contradict_each_other_are_not_applied() -> None:
    fleet = Instances("a", "b")
    fleet.advance(3 * SECOND)
    unknown = PoolsConfig(pools=(PoolConfig(id=3, name="x", required_services=("unheard-of",)),))
    told = {"by": "x", "version": 5, "pools": unknown, "catalogue": Config().catalogue}
    fleet.store.settings = (5, "x", msgspec.msgpack.encode(told))
    fleet.advance(3 * SECOND)
    for name in "ab":
        assert any("contradict" in words for words in fleet[name].alarms)
        assert "x" not in pool_names(fleet[name])


def test_a_reload_that_a_failover_lost_is_told_again_by_who_has_it() -> None:
    """R5: whoever leads has not seen it, so it cannot give it back."""
    fleet = Instances("a", "b", "c")
    fleet.advance(3 * SECOND)
    before, leader = fleet.store.settings, fleet.store.leader
    assert leader != "b"
    reload(fleet["b"], TRANSLATORS)
    for _ in range(20):
        fleet.frozen = {"a", "c"}
        fleet.advance(SECOND // 10)
        if fleet.store.settings[0] == 2:
            break
    assert settings(fleet["b"]).version == 2
    fleet.store.settings, fleet.store.leader = before, leader
    fleet.frozen = set()
    fleet.advance(5 * SECOND)
    assert fleet.store.settings[:2] == (2, "b")
    for name in "abc":
        assert pool_names(fleet[name]) == {"translators"}, name
        assert not any("at the same time" in words for words in fleet[name].alarms)


def test_an_instance_that_refused_the_fleets_settings_does_not_give_older_ones_to_a_store() -> None:
    """R3: it leads by chance after a flush, and has what ruled before."""
    fleet = Instances("a", "b", "c")
    fleet.advance(3 * SECOND)
    fleet.store.down = {"a"}
    reload(fleet["b"], TRANSLATORS)
    fleet.advance(3 * SECOND)
    fleet.store.flush()
    fleet.store.down = set()
    fleet.advance(5 * SECOND)
    assert fleet.store.settings[0] == 2
    for name in "abc":
        assert pool_names(fleet[name]) == {"translators"}, name


def test_of_two_settings_of_one_version_those_in_the_store_rule() -> None:
    """R5: a failover lost the reload of one instance, and another one reloaded since."""
    fleet = Instances("a", "b")
    fleet.advance(3 * SECOND)
    reload(fleet["b"], TRANSLATORS)
    fleet.advance(4 * SECOND)
    told = {"by": "a", "version": 2, "pools": SPEAKERS, "catalogue": Config().catalogue}
    fleet.store.settings = (2, "a", msgspec.msgpack.encode(told))
    fleet.advance(4 * SECOND)
    for name in "ab":
        assert pool_names(fleet[name]) == {"speakers"}, name
        assert (settings(fleet[name]).version, settings(fleet[name]).by) == (2, "a")
