"""The numbers of the promises, written down a second time: by themselves, not as the code has them.

Other tests show what happens at a bound, wherever it is; who moves one finds it here.

Ids: A1, A2, A6, C3, D2, E2, E3, E4, I7, I8, I9, N1, N3, N5, N6, N7, N8, N9, N13, N14, N15, P6, P9,
P13, R6, R10, T23, U4, X2.
"""

from importlib import import_module

import pytest
from bounds.limits_table import configured

from pointsman_shm.config import Config

KIB, MIB = 1 << 10, 1 << 20
MINUTE_NS = 60_000_000_000

CONFIGURED = {
    # What a peer may cost: I9, N5, N6, N13, N14, N15.
    "limits.frame_bytes_max": 2 * MIB,
    "limits.payload_bytes_max": 1 * MIB,
    "limits.handshake_s": 5,
    "limits.handshake_bytes_max": 16 * KIB,
    "limits.frame_arrival_s": 10,
    "limits.unauthenticated_max": 256,
    "limits.unauthenticated_per_address_max": 8,
    "limits.descriptors_percent": 80,
    "limits.node_queue_bytes_max": 8 * MIB,
    "limits.node_queue_frames_max": 8_192,
    "limits.node_stall_s": 5,
    "limits.results_queue_bytes_max": 4 * MIB,
    "limits.queued_per_tenant_max": 10_000,
    "limits.queued_per_shard_max": 50_000,
    "limits.queued_per_host_max": 100_000,
    "redis.inbox_max": 10_000,  # R10
    # How old what is known may be, and whose death is believed: I7, N1, N3, N7, N8, P6.
    "limits.snapshot_stale_s": 5,
    "limits.snapshot_refuse_s": 60,
    "nodes.heartbeat_interval_s": 1,
    "nodes.heartbeats_per_second_max": 5_000,
    "nodes.suspect_intervals": 3,
    "nodes.offline_intervals": 5,
    "nodes.mass_loss_percent": 50,
    "nodes.mass_loss_nodes_min": 3,
    "nodes.mass_loss_hold_s": 300,
    "nodes.flap_backoff_max_s": 60,
    "nodes.takeovers_max": 3,
    "redis.timeout_ms": 250,  # R6
    # What fails everywhere: T23.
    "jobs.poison_failures": 3,
    "jobs.poison_crashes": 2,
    # Who proves what he is: A2, A6, E4.
    "auth.failures_per_minute_max": 10,
    "auth.failure_delay_s": 1,
    "tls.node_certificate_s": 24 * 3_600,
    "journal.flush_s": 1,
    "journal.sync_gather_ms": 5,
}
FIXED = {
    # E2, E3: five minutes, half an hour, ten minutes; 128 and 40 bits; tries at a code.
    "pointsman_sched.core.joining.introductions:TOKEN_LASTS_NS": 5 * MINUTE_NS,
    "pointsman_sched.core.joining.introductions:TOKEN_LASTS_MAX_NS": 30 * MINUTE_NS,
    "pointsman_sched.core.joining.introductions:TOKEN_BYTES": 16,
    "pointsman_sched.core.joining.introductions:CODE_LASTS_NS": 10 * MINUTE_NS,
    "pointsman_sched.core.joining.pairing:CODE_LASTS_NS": 10 * MINUTE_NS,
    "pointsman_sched.core.joining.pairing:CODE_BYTES": 5,
    "pointsman_sched.core.joining.guesses:TRIES_PER_ADDRESS_MAX": 5,
    "pointsman_sched.core.joining.guesses:WRONG_PER_ADDRESS_MAX": 10,
    "pointsman_sched.core.joining.guesses:WRONG_IN_ALL_MAX": 100,
    "pointsman_sched.core.joining.guesses:WINDOW_NS": MINUTE_NS,
    "pointsman.secure.renewal:RENEW_PERCENT": 67,
    "pointsman_sched.core.joining.certified:OVERDUE_PERCENT": 90,
    # A1, D2, U4: what nobody shall guess.
    "pointsman_shm.tokens.judging:SECRET_BYTES": 32,
    "pointsman_wire.coordination.signing:KEY_BYTES_MIN": 16,
    "pointsman_sched.console.admin.callers:TOKEN_LENGTH_MIN": 22,
    # N7, N8, N9: who comes back, and how fast.
    "pointsman_sched.core.fleet.quarantine:WINDOW_NS": MINUTE_NS,
    "pointsman_sched.core.fleet.damping:BACKOFF_FIRST_NS": 1_000_000_000,
    "pointsman.node_core.control:BACKOFF_FIRST_S": 0.5,
    "pointsman.node_core.control:BACKOFF_CAP_S": 30,
    "pointsman_workers.shell.doorway:ACCEPTS_PER_S_MAX": 500,
    "pointsman_sched.supervisor.grounds:BACKLOG": 4_096,
    # I8, P9, P13: who is given up, and how long an end may take.
    "pointsman_workers.desks.lane_watch:ZOMBIE_NS": 3_000_000_000,
    "pointsman_sched.supervisor.children:UNREADY_DEATHS_MAX": 5,
    "pointsman_sched.supervisor.children:UNREADY_WINDOW_S": 60,
    "pointsman_sched.supervisor.children:PAUSE_MAX_S": 1,
    "pointsman_sched.supervisor.process:STOP_S": 30,
    # What is read of shared memory, and how often it says that its writer lives.
    "pointsman_shm.memory.catalog_reader:TRIES_MAX": 8,
    "pointsman_sched.core.publishing:BEAT_INTERVAL_NS": 100_000_000,
    # Under overload, by how full the fullest is.
    "pointsman_workers.core.overload:STEPS": (0.80, 0.90, 0.95, 0.99),
    "pointsman_workers.core.overload:HYSTERESIS": 0.10,
    "pointsman_workers.core.overload:LAG_MAX_NS": 100_000_000,
    "pointsman_workers.core.overload:LOOK_NS": 250_000_000,
}


@pytest.mark.parametrize(("knob", "number"), CONFIGURED.items())
def test_i9_a_default_is_the_number_that_is_promised(knob: str, number: float) -> None:
    assert configured(knob) == number


@pytest.mark.parametrize(("place", "number"), FIXED.items())
def test_a_fixed_bound_is_the_number_that_is_promised(place: str, number: object) -> None:
    module, _, name = place.partition(":")
    assert getattr(import_module(module), name) == number


def test_a2_whoever_has_a_token_may_submit_a_hundred_a_second_and_nobody_else_is_bounded() -> None:
    tenants = Config().tenants
    assert (tenants.with_tokens.jobs_per_s, tenants.with_tokens.burst) == (100, 200)
    assert tenants.others.jobs_per_s is None
    for each in (tenants.with_tokens, tenants.others):
        assert each.jobs_max is each.queued_bytes_max is None, "off unless somebody sets them"


def test_x2_two_hundred_handshakes_a_second_may_begin_in_a_process() -> None:
    entrance = import_module("pointsman_workers.shell.secure.entrance")
    limits = entrance.EntranceLimits()
    assert limits.handshakes_per_s_max == 200
