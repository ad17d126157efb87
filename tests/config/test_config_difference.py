"""What differs between two configurations, told key by key."""

import pytest

from pointsman_shm.config import Config
from pointsman_shm.config_difference import differences, hot_differences
from pointsman_shm.config_load import parse_config

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


def test_there_and_back_are_the_same_keys() -> None:
    there, back = changes("", TWO_POOLS), changes(TWO_POOLS, "")
    assert [c.split(":")[0] for c in there] == [c.split(":")[0] for c in back]


def test_only_pools_and_catalogue_can_change_while_a_service_runs() -> None:
    text = "[pools]\nspread = true\n[catalogue]\nservices = ['chat']\n[nodes]\nmax_nodes = 5\n"
    hot, cold = hot_differences(differences(Config(), parse_config(text, "new")))
    assert [change.split(".")[0] for change in hot] == ["pools", "catalogue"]
    assert cold == ["nodes.max_nodes: 10000 -> 5"]
