"""What differs between two configurations, told key by key."""

import pytest
from msgspec.structs import replace

from pointsman_shm.config import Config, ListedTenant, TenantConfig, TenantsConfig
from pointsman_shm.config_difference import differences, hot_differences
from pointsman_shm.config_live import (
    HOT_KEYS,
    HOT_SECTIONS,
    live_places,
    live_settings,
    tenant_places,
)
from pointsman_shm.config_load import all_keys, parse_config

TWO_POOLS = """
[pools]
tenant_overrides = [["acme", 2]]
pools = [
    {id = 1, name = "hear", required_services = ["asr"]},
    {id = 2, name = "say", required_services = ["tts"]},
]
"""


def changes(old: str, new: str) -> list[str]:
    return differences(parse_config(old, "old"), parse_config(new, "new"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", []),
        (
            "",
            "[pools]\nmode = 'single_level'\n",
            ["pools.mode: two_level -> single_level"],
        ),
        ("", "[pools]\nspread = true\n", ["pools.spread: false -> true"]),
        (
            "[directories]\nstate_dir = '/var/lib/p'\n",
            "",
            ["directories.state_dir: /var/lib/p -> (none)"],
        ),
        (
            "",
            "[catalogue.features]\n",
            [
                f"catalogue.features.{name}: [{needed}] -> (none)"
                for name, needed in [
                    ("emotion_detection", "emotion_detection"),
                    ("persona_adaptation", "persona_adaptation"),
                    ("speaker_identification", "speaker_identification"),
                    ("speech_rate_control", "speech_rate_control"),
                    ("speech_rate_detection", "speech_rate_detection"),
                    ("voice_cloning", "voice_cloning"),
                    ("voice_style_detection", "voice_cloning"),
                ]
            ],
        ),
        (
            TWO_POOLS,
            TWO_POOLS.replace('"tts"', '"nmt", "tts"').replace('"acme", 2', '"bolt", 1'),
            [
                "pools.pools.say.required_services: [tts] -> [nmt, tts]",
                "pools.tenant_overrides.acme: 2 -> (none)",
                "pools.tenant_overrides.bolt: (none) -> 1",
            ],
        ),
        (
            TWO_POOLS,
            "[pools]\n",
            [
                "pools.pools.hear: {id = 1, name = hear, required_services = [asr]} -> (none)",
                "pools.pools.say: {id = 2, name = say, required_services = [tts]} -> (none)",
                "pools.tenant_overrides.acme: 2 -> (none)",
            ],
        ),
    ],
)
def test_a_difference_names_the_key_and_both_values(old: str, new: str, told: list[str]) -> None:
    assert changes(old, new) == told


def test_of_what_is_new_nothing_is_told_that_is_not_set() -> None:
    (told,) = changes("", '[[tenants.listed]]\nname = "acme"\njobs_per_s = 5.0\n')
    assert told.startswith("tenants.listed.acme: (none) -> {")
    assert "jobs_per_s = 5.0" in told
    assert "burst" not in told


def test_there_and_back_are_the_same_keys() -> None:
    there, back = changes("", TWO_POOLS), changes(TWO_POOLS, "")
    assert [c.split(":")[0] for c in there] == [c.split(":")[0] for c in back]


def test_p13_what_can_change_while_a_service_runs_is_told_from_what_cannot() -> None:
    """P13: the keys that workers follow, and by name what needs a restart."""
    text = """
[pools]
spread = true
[catalogue]
services = ['chat']
[nodes]
max_nodes = 5
drain_s = 5.0
[jobs]
wait_busy_s = 5.0
window_s = 5.0
[limits]
queued_per_shard_max = 5
frame_arrival_s = 5.0
[tenants.others]
jobs_per_s = 5.0
[[tenants.listed]]
name = "acme"
"""
    hot, cold = hot_differences(Config(), parse_config(text, "new"))
    assert [change.split(":")[0] for change in hot] == [
        "nodes.drain_s",
        "pools.spread",
        "jobs.wait_busy_s",
        "limits.queued_per_shard_max",
        "tenants.others.jobs_per_s",
        "tenants.listed.acme",
        "catalogue.services",
    ]
    assert [change.split(":")[0] for change in cold] == [
        "nodes.max_nodes",
        "jobs.window_s",
        "limits.frame_arrival_s",
    ]


def test_tenants_are_listed_and_struck_off_while_the_service_runs_unless_it_shares_a_fleet() -> (
    None
):
    """Instances divide a rate among themselves by what each began with."""
    one = '[[tenants.listed]]\nname = "acme"\njobs_per_s = 5.0\n'
    bolt = '[[tenants.listed]]\nname = "bolt"\n'
    start = parse_config(one, "old")
    for text, keys in (
        (one.replace("5.0", "7.0"), ["tenants.listed.acme.jobs_per_s"]),
        (one + bolt, ["tenants.listed.bolt"]),
        (bolt, ["tenants.listed.acme", "tenants.listed.bolt"]),
    ):
        hot, cold = hot_differences(start, parse_config(text, "new"))
        assert ([change.split(":")[0] for change in hot], cold) == (keys, [])
        assert hot_differences(start, parse_config(text, "new"), is_alone=False) == ([], hot)
    both, turned = parse_config(one + bolt, "old"), parse_config(bolt + one, "new")
    assert hot_differences(both, turned) == ([], []), "their order says nothing"


def test_who_stays_listed_keeps_his_place_and_who_is_new_gets_the_lowest_free_one() -> None:
    def listed(*names: str) -> tuple[ListedTenant, ...]:
        return tuple(ListedTenant(name=name) for name in names)

    places = tenant_places(listed("a", "b", "c"))
    assert places == ("a", "b", "c")
    assert tenant_places(listed("c", "a"), places) == ("a", None, "c")
    assert tenant_places(listed("e", "c", "d", "a"), ("a", None, "c")) == ("a", "e", "c", "d")
    told = live_settings(Config(tenants=TenantsConfig(listed=listed("c", "a"))), ("a", None, "c"))
    assert [*live_places(told, listed("c", "a"))] == [2, 0]
    assert [*live_places(told, listed("c"))] == [0], "what does not fit together is not believed"


def test_every_key_is_either_live_or_said_to_need_a_restart() -> None:
    known = set(all_keys())
    for section, keys in HOT_KEYS.items():
        assert {f"{section}.{key}" for key in keys} <= known
    for path in known:
        section, key = path.split(".")
        if section in HOT_SECTIONS or path == "tenants.listed":
            continue  # their values bind one another; they have tests above
        part = getattr(Config(), section)
        try:
            changed = replace(part, **{key: another(getattr(part, key))})
        except ValueError:  # keys of TLS that go together
            assert section not in HOT_KEYS, path
            continue
        hot, cold = hot_differences(Config(), replace(Config(), **{section: changed}))
        is_live = key in HOT_KEYS.get(section, ())
        assert (len(hot), len(cold)) == ((1, 0) if is_live else (0, 1)), path


def another(value: object) -> object:
    """Another value of about the same kind; nothing checks it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, TenantConfig):
        return replace(value, weight=2.0)
    return "other"
