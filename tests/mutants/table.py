"""Every seeded bug, and what must catch it: a promise broken in a simulation, or a test by name."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest
from mutants import journal_bugs, tested_bugs, weather_bugs

from pointsman_sim.settings import FAULTS, Settings
from pointsman_sim.simulation import simulate

Bug = Callable[[pytest.MonkeyPatch], None]
CALM: tuple[str, ...] = ()
TRIES = 12


class Weather(NamedTuple):
    """Seeds with these faults break one of these promises."""

    bug: Bug
    faults: tuple[str, ...]
    promises: tuple[str, ...]
    faults_per_s: float = 3.0
    duration_s: float = 8.0
    steps: int = 4_000


class Named(NamedTuple):
    """This test fails."""

    bug: Bug
    test: str


WEATHER = (
    Weather(weather_bugs.without_capacity, CALM, ("I4",)),
    Weather(weather_bugs.without_capacity_at_the_node_either, CALM, ("I4",)),
    Weather(weather_bugs.without_fences, FAULTS, ("I3", "I1")),
    Weather(weather_bugs.without_release, CALM, ("I10",)),
    Weather(weather_bugs.with_double_release, CALM, ("I10",)),
    Weather(weather_bugs.without_memory, CALM, ("I2",)),
    Weather(weather_bugs.with_jobs_that_rise_again, CALM, ("I11",)),
    Weather(weather_bugs.with_lost_jobs, CALM, ("I1",)),
    Weather(weather_bugs.without_timers, CALM, ("I1",)),
    Weather(weather_bugs.with_any_node, ("agent_wishes", "partition", "agent_stall"), ("I8",)),
    Weather(weather_bugs.without_patience, ("worker_crash",), ("I2",)),
    Weather(weather_bugs.with_haste, CALM, ("spin",)),
    Weather(weather_bugs.without_certainty, ("agent_stall", "partition", "lane_stall"), ("I5",)),
    Weather(weather_bugs.without_asking, ("lane_stranded",), ("I5",), 1.0, 40.0, 20_000),
    Weather(weather_bugs.without_turns, CALM, ("I5",)),
    Weather(weather_bugs.without_relief, ("client_slow",), ("I1",)),
    Weather(journal_bugs.acknowledging_before_the_journal, ("worker_crash",), ("I1", "I13")),
    Weather(journal_bugs.without_waiting_for_the_sync, ("power_loss",), ("I1", "I11")),
    Weather(
        journal_bugs.without_ends_in_the_journal,
        ("worker_crash",),
        ("I1", "I2", "I3", "I5", "I11", "a core broke"),
    ),
    Weather(journal_bugs.with_a_short_window, CALM, ("I2",)),
    Weather(journal_bugs.newest_first, CALM, ("I5", "a core broke")),
    Weather(journal_bugs.with_cancelled_slots_given_away, CALM, ("I4", "I10")),
    Weather(journal_bugs.with_ends_that_are_never_told, CALM, ("I1", "I10")),
    Weather(
        journal_bugs.without_saying_that_a_snapshot_is_old,
        ("long_stall",),
        ("I7",),
        1.0,
        16.0,
    ),
)

NAMED = (
    Named(
        tested_bugs.agents_that_forget_epochs,
        "clients/test_agent_core.py::test_a_lane_with_an_older_epoch_than_one_seen_is_dropped",
    ),
    Named(
        tested_bugs.agents_without_dedup,
        "clients/test_agent_core.py::test_the_same_fence_twice_starts_once",
    ),
    Named(
        tested_bugs.exclusion_list_lost,
        "jobs/test_failover_stories.py::test_failed_nodes_are_avoided_for_all_later_attempts_and_"
        "taken_when_nobody_else_can",
    ),
    Named(
        tested_bugs.poison_never_ends,
        "jobs/test_poison_stories.py::test_a_job_that_fails_on_three_nodes_is_poison_and_its_"
        "nodes_keep_their_reputation",
    ),
    Named(
        tested_bugs.any_code_goes_elsewhere,
        "jobs/test_failover_stories.py::test_a_final_code_of_a_node_ends_the_job",
    ),
    Named(
        tested_bugs.epoch_not_counted_up,
        "workers/test_shell_state_files.py::test_epochs_count_up_and_shards_do_not_share_them",
    ),
    Named(
        tested_bugs.torn_tail_kept,
        "journal/test_journal_store.py::test_the_torn_tail_is_cut_and_its_room_given_back",
    ),
    Named(
        tested_bugs.journal_without_checksums,
        "journal/test_journal_records.py::test_the_last_record_may_be_torn_but_not_wrong",
    ),
    Named(
        tested_bugs.snapshot_without_checksums,
        "shm/memory/test_memory_catalog_damage.py::"
        "test_s4_readers_take_a_published_version_or_nothing",
    ),
    Named(
        tested_bugs.send_queues_without_a_bound,
        "wire/test_connections_deadlines.py::"
        "test_a_slow_consumer_is_closed_when_too_many_bytes_wait",
    ),
    Named(
        tested_bugs.ledger_without_a_fence,
        "shm/memory/test_memory_ledger_model.py::test_i4_two_workers_and_one_slot",
    ),
    Named(
        tested_bugs.heartbeats_reset_what_is_held,
        "liveness/test_churn.py::test_t4_heartbeats_and_reconnects_leave_what_is_held_alone",
    ),
    Named(
        tested_bugs.failovers_without_a_budget,
        "workers/test_job_stories.py::"
        "test_after_three_failovers_the_job_fails_with_the_reason_of_each_attempt",
    ),
    Named(
        tested_bugs.version_by_pack_into,
        "shm/memory/test_memory_catalog_weak.py::"
        "test_s1_the_version_follows_what_it_names_and_is_never_seen_half_stored",
    ),
    Named(
        tested_bugs.slots_of_lost_nodes_kept,
        "jobs/test_job_moves.py::"
        "test_t5_i10_however_a_dispatch_ends_its_slot_is_given_back_once[node_lost]",
    ),
    Named(
        tested_bugs.nodes_chosen_by_their_size,
        "placement/test_traps.py::test_t3_what_is_free_decides_and_not_how_large_a_node_is",
    ),
    Named(
        tested_bugs.nodes_with_a_short_memory,
        "liveness/test_seen_fences.py::"
        "test_i3_i9_half_of_the_bound_is_remembered_and_never_more_than_all_of_it",
    ),
    Named(
        tested_bugs.syncs_of_the_last_segment_alone,
        "journal/test_journal_syncing.py::"
        "test_i1_c6_a_sync_reaches_the_segments_that_have_filled_up_before_it",
    ),
    Named(
        tested_bugs.syncs_that_tell_of_later_turns,
        "journal/test_journal_syncing.py::"
        "test_i1_a_sync_says_nothing_of_what_was_written_after_it_had_begun",
    ),
    Named(
        tested_bugs.rows_given_away_at_once,
        "sched/test_publishing.py::test_i8_a_row_is_nobody_elses_while_a_worker_may_take_it_for_"
        "the_nodes_that_is_gone[slots]",
    ),
    Named(
        tested_bugs.old_revocations_taken,
        "secure/test_enrolment.py::"
        "test_e6_who_was_introduced_anew_stays_when_an_older_revocation_is_told_again",
    ),
    Named(
        tested_bugs.acknowledgements_of_everything,
        "workers/test_session_stories.py::"
        "test_i1_n6_an_acknowledgement_lets_go_of_what_it_names_and_of_nothing_after_it",
    ),
)


def broken_by(settings: Settings, tries: int = TRIES) -> str:
    """Run seeds until one breaks a promise; return which, and "" when all were kept."""
    for seed in range(tries):
        violation = simulate(msgspec.structs.replace(settings, seed=seed)).violation
        if violation:
            return violation.partition(":")[0]
    return ""


def caught_in_weather(mutant: Weather) -> str:
    """Return the promise that the bug breaks, "" when nobody notices it."""
    settings = Settings(
        seed=0,
        steps=mutant.steps,
        duration_s=mutant.duration_s,
        faults=mutant.faults,
        faults_per_s=mutant.faults_per_s,
    )
    with pytest.MonkeyPatch.context() as patch:
        mutant.bug(patch)
        return broken_by(settings)
