"""What a life is given: a configuration drawn from its dice, and the abilities of its nodes."""

from random import Random

from fleet_samples import speech_class
from msgspec.structs import replace

from pointsman_shm.config import (
    Config,
    JobsConfig,
    JournalConfig,
    ListedTenant,
    PoolsConfig,
    SessionsConfig,
    TalkConfig,
    TenantsConfig,
)

ABILITIES = (
    speech_class("en", "es"),
    speech_class("en", "es", "fr"),
    speech_class("en", "es", types=("nmt",)),
    speech_class("en", "es", types=("asr", "nmt")),
)
POOLS = (
    PoolsConfig(),
    PoolsConfig(auto_language_pools=False, pool_count=3),
    PoolsConfig(mode="single_level"),
    PoolsConfig(session_affinity=True),
)
TENANTS = (
    TenantsConfig(
        listed=(
            ListedTenant(name="t1", jobs_max=3, sessions_max=4),
            ListedTenant(name="t2", jobs_per_s=2.0, burst=3, weight=3.0),
        )
    ),
    TenantsConfig(listed=(ListedTenant(name="t2", jobs_max=1), ListedTenant(name="t1", weight=9))),
    TenantsConfig(),
)


def sections_of(dice: Random) -> dict[str, object]:
    """Draw the sections of a configuration: small bounds and short times."""
    return {
        "jobs": JobsConfig(
            timeout_s=dice.choice((4.0, 20.0)),
            wait_busy_s=dice.choice((1.0, 5.0)),
            wait_none_s=1.0,
            lane_grace_s=2.0,
            hedge_after_percentile=dice.choice((0.0, 60.0)),
            hedge_after_min_s=0.05,
            hedge_budget_percent=50.0,
            failovers_max=dice.choice((0, 3)),
            window_s=dice.choice((5.0, 300.0)),
        ),
        "sessions": SessionsConfig(
            idle_s=20.0,
            resume_s=8.0,
            gap_window_s=dice.choice((0.5, 3.0)),
            serial_silence_s=1.5,
            pending_results_max=dice.choice((3, 200)),
        ),
        "talk": TalkConfig(
            silence_s=1.0, utterances_open_max=4, room_members_max=dice.choice((2, 4))
        ),
        "journal": JournalConfig(
            durability=dice.choice(("memory", "journal", "fsync")),
            result_bytes_max=dice.choice((16, 65_536)),
        ),
        "pools": dice.choice(POOLS),
        "tenants": TENANTS[0],
    }


def reloaded(config: Config, dice: Random) -> Config:
    """Draw a change that a reload may bring."""
    jobs, sessions, talk = config.jobs, config.sessions, config.talk
    match dice.randrange(5):
        case 0:
            jobs = replace(
                jobs,
                hedge_after_percentile=dice.choice((0.0, 60.0)),
                timeout_s=dice.choice((2.0, 20.0)),
                failovers_max=dice.choice((0, 2)),
                window_jobs_max=dice.choice((3, 1_000)),
                window_s=dice.choice((2.0, 300.0)),
            )
            return replace(config, jobs=jobs)
        case 1:
            return replace(config, tenants=dice.choice(TENANTS))
        case 2:
            talk = replace(
                talk,
                utterances_open_max=dice.choice((1, 4)),
                silence_s=dice.choice((0.3, 3.0)),
                room_members_max=dice.choice((2, 3)),
            )
            return replace(config, talk=talk)
        case 3:
            sessions = replace(
                sessions,
                gap_window_s=dice.choice((0.3, 5.0)),
                pending_results_max=dice.choice((1, 50)),
                resume_s=dice.choice((2.0, 8.0)),
            )
            return replace(config, sessions=sessions)
    pools = replace(config.pools, sample_size=dice.choice((1, 2, 8)), spread=dice.random() < 0.5)
    return replace(config, pools=pools)
