"""What a run is given: a seed, sizes, and the faults that may happen; a seed makes its own variety.

`settings_of(seed)` draws sizes and faults from the seed, so that a row of seeds covers small and
large clusters, calm and stormy ones.  Everything else that varies is drawn inside the run.
"""

import msgspec

from pointsman_shm.config import Config, JobsConfig, NodesConfig, PoolsConfig, SessionsConfig
from pointsman_sim.world.dice import Dice

FAULTS = (
    "agent_crash",  # a node's process dies and is restarted with what it stored
    "agent_amnesia",  # the same, and its stored state is lost: it comes back as a new node
    "agent_power_loss",  # the machine is gone without a word; restarted later
    "agent_lies",  # results twice or of jobs it never had, acknowledgements of old attempts
    "agent_stall",  # a node's process does not run for a while
    "agent_wishes",  # its owner pauses it, stops services, or drains it
    "client_crash",  # a client dies; the next one asks again under the same ids
    "client_slow",  # it does not read what is sent, and its worker is told that much waits
    "connection_drop",  # one connection breaks, what was on its way is lost
    "connection_half_open",  # one connection goes silent, and nobody is told for half a minute
    "dial_failure",  # connecting fails
    "disk_full",  # no journal gets more room for a while
    "flapping",  # a node's connections break every second
    "half_partition",  # half of the nodes are cut off, for 2, 10 or 45 s
    "host_pause",  # manager and workers stand still for 10 or 60 s, all at once
    "lane_stall",  # one lane carries nothing for a while, the control connection does
    "lane_stranded",  # one is over for the worker, and its node gets the rest of it much later
    "long_stall",  # one of them does
    "manager_crash",  # at a named point, or between two turns
    "manager_stall",
    "partition",  # one node is cut off for a while
    "power_loss",  # the host: what the journals had not synced is lost
    "service_crash",  # manager and workers at once, and the shared memory with them
    "worker_crash",  # between two commands of a turn: memory lost, epoch + 1
    "worker_stall",
    "worker_stop",  # the polite way: no new jobs, and another worker after it
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run.  The working part ends after `steps` turns of all cores, or `duration_s`."""

    seed: int
    steps: int = 20_000
    duration_s: float = 30.0
    workers: int = 2
    nodes: int = 6
    clients: int = 3
    faults: tuple[str, ...] = ()
    # How many faults happen a second, all kinds together.
    faults_per_s: float = 1.0
    # How long after the last fault and the last submit everything must have ended.
    quiet_s: float = 180.0
    # How many of the last turns are kept to be printed.
    tail: int = 60

    def __post_init__(self) -> None:
        for fault in self.faults:
            if fault not in FAULTS:
                raise ValueError(f"fault {fault!r} is not known; known are {', '.join(FAULTS)}")


# How much more often than in the mix, where about half of the kinds take turns.
ALONE_FACTOR = 10.0


def alone(settings: Settings) -> Settings:
    """Return a run in which one kind of fault happens ten times as often as it does in the mix.

    Each seed has its kind: as many seeds in a row as there are kinds have every one of them.
    """
    kind = FAULTS[settings.seed % len(FAULTS)]
    rate = settings.faults_per_s * ALONE_FACTOR / (len(FAULTS) / 2)
    return msgspec.structs.replace(settings, faults=(kind,), faults_per_s=rate)


def settings_of(seed: int) -> Settings:
    """Draw a small cluster and its faults: one seed in four is calm."""
    dice = Dice(seed, "settings")
    faults: tuple[str, ...] = ()
    if seed % 4:
        faults = tuple(fault for fault in FAULTS if dice.chance(0.5))
    return Settings(
        seed=seed,
        steps=3_000,
        duration_s=12.0,
        workers=dice.between(1, 3),
        nodes=dice.between(1, 6),
        clients=dice.between(1, 3),
        faults=faults,
        faults_per_s=dice.pick((0.5, 1.0, 3.0)),
    )


def config_of(settings: Settings) -> Config:
    """Draw a configuration: the default's proportions at half its durations, any pool mode."""
    dice = Dice(settings.seed, "config")
    pools = dice.pick(
        (
            PoolsConfig(),
            PoolsConfig(auto_language_pools=False, pool_count=4),
            PoolsConfig(auto_language_pools=False, pool_count=4, session_affinity=True),
            PoolsConfig(mode="single_level"),
            PoolsConfig(sample_size=1, pool_choice="weighted"),
        )
    )
    return Config(
        nodes=NodesConfig(
            max_nodes=settings.nodes + dice.pick((2, 50)),
            heartbeat_interval_s=0.5,
            remember_offline_s=dice.pick((2.0, 20.0)),
            model_mark_s=2.0,
            mass_loss_hold_s=15.0,
        ),
        pools=pools,
        jobs=JobsConfig(
            timeout_s=4.0,
            ack_s=1.5,
            wait_busy_s=3.0,
            wait_none_s=0.5,
            lane_grace_s=2.5,
            hedge_after_percentile=dice.pick((0.0, 60.0)),
            hedge_after_min_s=0.05,
            hedge_budget_percent=30.0,
        ),
        sessions=SessionsConfig(
            idle_s=60.0, resume_s=15.0, gap_window_s=dice.pick((0.5, 5.0)), serial_silence_s=1.5
        ),
    )
