"""The table of docs/limits.md: what each bound is, its default, and what happens there.

Defaults come from the code, the words are here, and each row names the test that shows it.

    python tests/bounds/limits_table.py --write   bring the table up to date
"""

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from pointsman_shm.config import Config

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "limits.md"
BLOCK = re.compile(r"<!-- table limits -->\n.*?<!-- end -->", re.DOTALL)
HEAD = "| what | knob | default | what happens there |\n|---|---|---|---|\n"


class Row(NamedTuple):
    """`knob` is a key of the configuration, or module:NAME of a bound that is not configurable."""

    what: str
    knob: str
    happens: str
    shown_by: str


ROWS = (
    Row(
        "a frame",
        "limits.frame_bytes_max",
        "refused by its length, before memory is taken; one `error`, then the connection ends",
        "test_n13_an_oversized_frame_is_answered_by_an_error_and_the_connection_closed",
    ),
    Row(
        "the payload of a submit",
        "limits.payload_bytes_max",
        "`INVALID_MESSAGE`; clients are told the bound and refuse by themselves",
        "test_a_submit_above_the_configured_payload_is_refused_and_others_go_on",
    ),
    Row(
        "the first frame of a connection",
        "limits.handshake_bytes_max",
        "one `error`, then the connection ends",
        "test_a_frame_above_the_handshakes_bound_is_refused_only_before_the_first_message",
    ),
    Row(
        "a node's `register`",
        "pointsman_wire.limits:REGISTER_BYTES_MAX",
        "one `error`, then the connection ends",
        "test_a_registration_may_be_larger_than_other_first_frames",
    ),
    Row(
        "from accept to the first whole frame",
        "limits.handshake_s",
        "one `error`, then the connection ends",
        "test_preamble_hand_over_and_first_frame_share_one_deadline",
    ),
    Row(
        "a frame, from its first byte to its last",
        "limits.frame_arrival_s",
        "one `error`, then the connection ends, whatever dripped meanwhile",
        "test_n14_the_deadline_of_a_frame_counts_from_its_first_byte",
    ),
    Row(
        "frames that are no messages, in a row",
        "pointsman_wire.sockets.bounds:UNREADABLE_MAX",
        "one `error`, then the connection ends; ten a second are forgiven",
        "test_many_frames_that_are_no_messages_end_the_connection_with_words",
    ),
    Row(
        "peers that have not said who they are",
        "limits.unauthenticated_max",
        "the newest is closed",
        "test_strangers_above_the_bound_are_turned_away_and_the_bound_is_given_back",
    ),
    Row(
        "such peers of one address that is not loopback",
        "limits.unauthenticated_per_address_max",
        "the newest is closed",
        "test_strangers_above_the_bounds_are_turned_away_until_others_are_known",
    ),
    Row(
        "percent of a process's descriptors for connections",
        "limits.descriptors_percent",
        "the newest is closed; of 10,000 descriptors and more, 2,000 are kept in any case",
        "test_n15_above_its_share_of_descriptors_a_process_adopts_no_connection",
    ),
    Row(
        "connections accepted in a second, per worker",
        "pointsman_workers.shell.doorway:ACCEPTS_PER_S_MAX",
        "the others wait in the kernel's backlog",
        "test_n9_accepting_is_bounded_by_rate",
    ),
    Row(
        "admin connections of a process",
        "pointsman_wire.sockets.admin:CONNECTIONS_MAX",
        "the others wait in the kernel's backlog",
        "test_i9_admin_connections_above_the_bound_wait_and_are_answered_later",
    ),
    Row(
        "connections of the console",
        "console.connections_max",
        "the newest is closed; one address that is not loopback has an eighth of them",
        "test_one_address_cannot_keep_all_others_out",
    ),
    Row(
        "bytes that wait for a peer to read",
        "limits.node_queue_bytes_max",
        "it is closed as a slow consumer; a node's jobs go to others",
        "test_a_slow_consumer_is_closed_when_too_many_bytes_wait",
    ),
    Row(
        "frames that wait for a peer to read",
        "limits.node_queue_frames_max",
        "the same",
        "test_a_slow_consumer_is_closed_when_too_many_frames_wait",
    ),
    Row(
        "seconds in which a peer reads nothing of what waits for it",
        "limits.node_stall_s",
        "the same",
        "test_a_slow_consumer_is_closed_after_a_stall_and_not_while_it_reads",
    ),
    Row(
        "sessions of a worker",
        "sessions.sessions_max",
        "a new one gets `QUEUE_FULL` with `retry_after_ms`; known ones are resumed",
        "test_t16_a_million_new_session_ids_cost_no_more_than_the_bound",
    ),
    Row(
        "sessions of one address that is not loopback, at all workers",
        "limits.sessions_per_address_max",
        "`RATE_LIMITED` with `retry_after_ms`",
        "test_an_address_has_at_most_so_many_sessions_whatever_tenants_they_are_of",
    ),
    Row(
        "wrong tokens of an address within a minute, at all workers",
        "auth.failures_per_minute_max",
        "what it sends then is judged `auth.failure_delay_s` later, right or wrong",
        "test_a6_a_wrong_address_is_looked_at_later_after_ten_times_in_a_minute",
    ),
    Row(
        "session openings that wait to be judged later",
        "pointsman_workers.desks.entrance.tokens:POSTPONED_MAX",
        "`RATE_LIMITED` with `retry_after_ms`",
        "test_a6_only_so_many_wait_and_so_many_failures_are_known",
    ),
    Row(
        "wrong tokens that are remembered for a minute, per worker",
        "pointsman_workers.desks.entrance.tokens:FAILURES_MAX",
        "the one of the longest ago is forgotten",
        "test_a6_only_so_many_wait_and_so_many_failures_are_known",
    ),
    Row(
        "bytes of results that a session has not read",
        "limits.results_queue_bytes_max",
        "the others wait for `result_ack`: `results_waiting` (docs/jobs.md)",
        "test_results_above_the_bound_wait_until_the_client_has_acknowledged",
    ),
    Row(
        "jobs of a session with an order that have not ended, or whose results are held back",
        "sessions.pending_results_max",
        "`QUEUE_FULL` with `retry_after_ms`, before acceptance",
        "test_no_more_than_so_many_may_be_pending_held_back_ones_included",
    ),
    Row(
        "poison jobs that are listed, per worker",
        "pointsman_workers.desks.poison:KEPT_MAX",
        "the oldest is forgotten",
        "test_the_list_keeps_the_newest_and_counts_all",
    ),
    Row(
        "jobs that wait for a node, per tenant",
        "limits.queued_per_tenant_max",
        "`QUEUE_FULL` with `retry_after_ms`, before acceptance",
        "test_a_queue_that_is_full_refuses_before_acceptance",
    ),
    Row(
        "jobs that wait for a node, per worker",
        "limits.queued_per_shard_max",
        "the same",
        "test_a_queue_that_is_full_refuses_before_acceptance",
    ),
    Row(
        "jobs that wait for a node, on the host",
        "limits.queued_per_host_max",
        "the same",
        "test_a_full_queue_refuses_before_acceptance_and_says_which_bound",
    ),
    Row(
        "payloads of jobs that wait for a node, per worker",
        "limits.queued_bytes_max",
        "the same",
        "test_a_full_queue_refuses_before_acceptance_and_says_which_bound",
    ),
    Row(
        "memory of a worker, before it sheds (docs/waiting.md)",
        "limits.worker_memory_bytes_max",
        "from 80 % of it on the overload ladder is climbed",
        "test_memory_and_descriptors_are_shares_of_what_there_is",
    ),
    Row(
        "token buckets of tenants that are not listed, per worker",
        "pointsman_workers.core.turns.tenants:BUCKETS_MAX",
        "newcomers share one bucket until others are full again",
        "test_t16_a_million_names_cost_no_more_than_the_bound",
    ),
    Row(
        "ended jobs that are remembered, per worker",
        "jobs.window_jobs_max",
        "the oldest ended one is forgotten; never one that is open",
        "test_i9_the_window_forgets_ended_jobs_by_number_and_never_open_ones",
    ),
    Row(
        "bytes of their results",
        "jobs.window_bytes_max",
        "the same",
        "test_i9_the_window_forgets_ended_jobs_by_what_they_take",
    ),
    Row(
        "jobs that nodes run from before a worker's restart and no client has named",
        "pointsman_workers.core.orphans:ORPHANS_MAX",
        "further ones are cancelled",
        "test_i9_orphans_are_bounded_and_room_comes_back",
    ),
    Row(
        "bytes of what has become of them",
        "pointsman_workers.core.orphans:RESULTS_BYTES_MAX",
        "a further one is forgotten: who repeats its request gets a new job",
        "test_i9_what_orphans_have_become_is_bounded_by_what_it_takes",
    ),
    Row(
        "decisions that can be explained, in bytes",
        "explain.bytes_max",
        "the oldest are forgotten",
        "test_decisions_keep_within_the_configured_bytes",
    ),
    Row(
        "nodes",
        "nodes.max_nodes",
        "`FLEET_FULL`, unless a node that is offline can give way; memory is taken at the start",
        "test_a_full_fleet_refuses_the_next_node_and_nobody_else_notices",
    ),
    Row(
        "capability classes",
        "nodes.classes_max",
        "`CAPABILITY_CLASSES_FULL`",
        "test_one_owner_cannot_use_up_the_class_table",
    ),
    Row(
        "age of a snapshot",
        "limits.snapshot_stale_s",
        "decisions are marked stale",
        "test_t25_when_the_manager_is_silent_own_counts_decide_and_it_is_told",
    ),
    Row(
        "age of a snapshot at which only nodes get jobs that answer now",
        "limits.snapshot_refuse_s",
        "what no such node can do gets `STALE` with `retry_after_ms`",
        "test_with_a_manager_long_silent_only_nodes_that_answer_get_jobs",
    ),
)


def rows() -> Iterator[str]:
    """Every row as a line of the table."""
    for row in ROWS:
        module, is_fixed, name = row.knob.partition(":")
        knob = "(fixed)" if is_fixed else f"`{row.knob}`"
        value = getattr(import_module(module), name) if is_fixed else configured(row.knob)
        yield f"| {row.what} | {knob} | {words(row.knob, value)} | {row.happens} |\n"


def configured(knob: str) -> float | None:
    """Return the default of a key."""
    section, _, key = knob.partition(".")
    value: float | None = getattr(getattr(Config(), section), key)
    return value


def words(knob: str, value: float | None) -> str:
    """Return a number with its unit."""
    if value is None:
        return "its share of the host's"
    if "bytes" not in knob.lower():
        return f"{value:,g} s" if knob.endswith("_s") and "per_s" not in knob else f"{value:,}"
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value % size == 0:
            return f"{value // size:,g} {unit}"
    return f"{value:,g} bytes"


def current_text(text: str) -> str:
    """Return the document with the table as it should be."""
    table = HEAD + "".join(rows())
    return BLOCK.sub(lambda _: f"<!-- table limits -->\n{table}<!-- end -->", text)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    DOCUMENT.write_text(current_text(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
