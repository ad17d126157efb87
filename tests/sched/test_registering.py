"""How a node joins, and every way in which it is told that it cannot."""

from typing import Any

import msgspec
import pytest
from manager_harness import NMT, SECOND, Harness, config_with, registration

from pointsman_sched.core.events import Record
from pointsman_sched.core.joining.lobby import REGISTRATIONS_PER_TURN, UNRECORDED_MAX
from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.control_messages import (
    Hardware,
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    Leave,
    NodeStateChanged,
    Registered,
    Service,
    Translation,
)
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Close, Closed, Connection, Received, Send
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.tickets import lane_ticket


def test_a_new_node_gets_row_generation_epoch_key_and_a_ticket_that_workers_can_check() -> None:
    h = Harness()
    h.join(registration("n1"))

    (answer,) = h.sent(Registered)
    assert (answer.node_id, answer.row, answer.generation, answer.epoch) == ("n1", 0, 1, 1)
    assert answer.lane_ticket == lane_ticket(b"t" * 32, ("n1", 0, 1, 1))
    assert (answer.worker_count, answer.instance_uid) == (2, "uid")
    assert len(bytes.fromhex(answer.key)) * 8 >= 128
    assert answer.heartbeat_interval_s == 1.0


def test_what_must_survive_is_on_disk_before_the_answer_and_the_key_is_only_a_hash() -> None:
    """I12, P1."""
    h = Harness()
    connection = h.dial()
    first, *others = h.turn(Received(connection, [(registration("n1"), b"")]))
    assert isinstance(first, Record)
    assert not [command for command in others if isinstance(command, Send)]
    assert h.state("n1") == NodeState.REGISTERING, "no worker chooses it before it has the answer"
    h.commands = h.turn(h.sync())

    (entry,) = first.entries
    (answer,) = h.sent(Registered)
    assert (entry.node_id, entry.epoch, len(entry.key_hash)) == ("n1", 1, 32)
    assert answer.key.encode() not in msgspec.msgpack.encode(entry)


def test_n9_a_slow_disk_holds_up_registrations_and_nothing_else() -> None:
    """Heartbeats are answered, others wait in the lobby, no turn is made for nothing."""
    count = UNRECORDED_MAX + 50
    h = Harness(config_with(max_nodes=512), is_checked=False)
    standing = h.make_ready(registration("before"))
    connections = []
    for _ in range(count):
        connections.append(h.dial())
        h.core.state.strangers.clear()
    news = [Received(c, [(registration(f"n{c}"), b"")]) for c in connections]
    commands = h.turn(*news)
    for _ in range(count // REGISTRATIONS_PER_TURN + 1):
        commands += h.turn()
    assert not [command for command in commands if isinstance(command, Send)]
    assert h.core.state.outbox.held_count == UNRECORDED_MAX
    assert len(h.core.state.lobby) == 50
    due_ns = h.core.next_deadline_ns()
    assert due_ns is not None
    assert due_ns > h.now_ns
    (ack,) = h.turn(Received(standing, [(Heartbeat(number=7), b"")]))
    assert isinstance(ack, Send)
    assert isinstance(ack.message, HeartbeatAck)

    h.commands = h.turn(h.sync())
    assert len(h.sent(Registered)) == UNRECORDED_MAX
    while h.core.state.lobby:
        h.feed()
    assert h.core.state.outbox.held_count == 0
    assert all(h.state(f"n{c}") == NodeState.REGISTERING for c in connections)


def test_an_answer_on_its_way_to_the_disk_is_not_sent_to_another_connection() -> None:
    """N7: the node dialled again meanwhile; each connection is told its own epoch or nothing."""
    h = Harness()
    h.make_ready()
    first, second = h.dial(), h.dial()
    message = registration(key=h.keys["n1"])
    h.turn(Received(first, [(message, b"")]))
    h.turn(Closed(first, "given up"), Received(second, [(message, b"")]))
    answers = [command for command in h.turn(h.sync()) if isinstance(command, Send)]
    told = [(a.connection, a.message.epoch) for a in answers if isinstance(a.message, Registered)]
    assert told == [(first, 2), (second, 3)], (
        "the shell drops what is for a connection that is gone"
    )
    assert h.node().connection == second


def test_all_registrations_of_one_turn_make_one_record() -> None:
    h = Harness()
    connections = [h.dial() for _ in range(3)]
    h.feed(*(Received(c, [(registration(f"n{c}"), b"")]) for c in connections))
    records = [command for command in h.commands if isinstance(command, Record)]
    assert [len(record.entries) for record in records] == [3]


def test_a_node_without_id_gets_one() -> None:
    h = Harness()
    h.join(registration(""))
    h.join(registration(""))
    names = list(h.core.state.nodes.by_id)
    assert len(names) == 2
    assert all(name.startswith("node-") for name in names)


def test_a_node_is_ready_only_after_lanes_and_a_good_heartbeat_in_either_order() -> None:
    h = Harness()
    first, second = h.join(registration("n1")), h.join(registration("n2"))
    h.say(first, LanesReady())
    h.say(second, Heartbeat())
    assert h.state("n1") == h.state("n2") == NodeState.REGISTERING

    h.say(first, Heartbeat())
    assert h.state("n1") == NodeState.READY
    assert [told.state for told in h.sent(NodeStateChanged)] == ["ready"]
    h.say(second, LanesReady())
    assert h.state("n2") == NodeState.READY


def test_the_same_key_keeps_the_row_and_goes_up_one_epoch() -> None:
    h = Harness()
    old = h.make_ready(registration("n1"))
    row = h.node().row

    new = h.join(registration("n1"))

    (answer,) = h.sent(Registered)
    assert (answer.row, answer.generation, answer.epoch, answer.key) == (row, 1, 2, "")
    assert h.memory.rows.epoch[row] == 2
    assert any(isinstance(c, Close) and c.connection == old for c in h.commands)
    assert h.state() == NodeState.REGISTERING, "its lanes must be opened anew"
    h.say(old, LanesReady(), Heartbeat())
    assert h.state() == NodeState.REGISTERING, "the older connection is not heard any more"
    h.lose(old)
    assert h.node().connection == new, "the older connection's end is not the node's"


def test_a_known_id_with_another_key_or_none_is_refused_and_disturbs_nobody() -> None:
    """N7, I12: a node id is owned by one key at a time."""
    h = Harness()
    h.make_ready(registration("n1"))
    for key in ("f" * 64, ""):
        stranger = h.dial()
        h.say(stranger, registration("n1", key))
        code, words = h.refusal()
        assert code == Code.NODE_ID_CONFLICT
        assert "'n1'" in words
    assert h.state() == NodeState.READY
    assert h.node().epoch == 1


def test_the_key_holds_over_a_restart_and_an_unknown_id_may_bring_its_key() -> None:
    h = Harness()
    h.join(registration("n1"))
    h.start()
    h.say(h.dial(), registration("n1", "f" * 64))
    assert h.refusal()[0] == Code.NODE_ID_CONFLICT

    forgetful = Harness()
    forgetful.join(registration("n1", "a" * 64))
    (answer,) = forgetful.sent(Registered)
    assert answer.key == ""
    forgetful.say(forgetful.dial(), registration("n1", "b" * 64))
    assert forgetful.refusal()[0] == Code.NODE_ID_CONFLICT


def test_a_lost_answer_does_not_lock_the_id_for_ever() -> None:
    h = Harness()
    connection = h.dial()
    h.say(connection, registration("n1"))
    h.lose(connection)
    h.start()

    h.say(h.dial(), registration("n1", "f" * 64))
    assert h.refusal()[0] == Code.NODE_ID_CONFLICT
    connection = h.join(registration("n1"))
    (answer,) = h.sent(Registered)
    assert (answer.epoch, len(answer.key)) == (2, 64), "a new key: the first one never arrived"

    h.beat(connection)
    assert [entry.is_proven for entry in h.registry] == [False, False, True]
    h.start()
    h.say(h.dial(), registration("n1"))
    assert h.refusal()[0] == Code.NODE_ID_CONFLICT, "whoever beats has read the answer"


def test_three_takeovers_in_a_minute_keep_both_machines_out_for_that_minute() -> None:
    """N7: two copies of one machine fight over its id."""
    h = Harness()
    h.make_ready(registration("n1"))
    h.join(registration("n1"))
    last = h.join(registration("n1"))
    assert h.sent(Registered)

    h.join(registration("n1"))
    assert not h.sent(Registered)
    errors = [told.error for told in h.sent(Error)]
    assert {error.code for error in errors} == {Code.NODE_ID_CONFLICT}
    closed = {c.connection for c in h.commands if isinstance(c, Close)}
    assert last in closed
    assert h.state() == NodeState.OFFLINE
    assert h.node().reason == "quarantined: two machines claim this id with the same key"

    h.join(registration("n1"))
    (error,) = h.sent(Error)
    assert error.error.retryable
    assert 0 < (error.error.retry_after_ms or 0) <= 60_001
    h.advance(61 * SECOND)
    h.join(registration("n1"))
    assert h.sent(Registered)


REFUSED: dict[str, tuple[dict[str, Any], Code, str]] = {
    "schema": ({"schema_version": 2}, Code.INVALID_CAPABILITY_SCHEMA, "schema_version"),
    "kind": (
        {"services": [NMT, Service(id="x", kind="teleport")]},
        Code.INVALID_CAPABILITY_SCHEMA,
        "services[1].kind",
    ),
    "twice": ({"services": [NMT, NMT]}, Code.INVALID_CAPABILITY_SCHEMA, "services[1].id"),
    "language": ({"asr": ["en", "?"]}, Code.INVALID_CAPABILITY_SCHEMA, "asr"),
    "auto": ({"tts": ["auto"]}, Code.INVALID_CAPABILITY_SCHEMA, "tts"),
    "pairs": (
        {"nmt": Translation(rule="any_to_any", pairs=[("en", "es")])},
        Code.INVALID_CAPABILITY_SCHEMA,
        "nmt.pairs",
    ),
    "label": ({"labels": {"a": "b\x00"}}, Code.INVALID_CAPABILITY_SCHEMA, "labels"),
    "slots": ({"max_concurrency": 65}, Code.INVALID_CAPABILITY_SCHEMA, "max_concurrency"),
    "key": ({"key": "k" * 300}, Code.INVALID_CAPABILITY_SCHEMA, "key"),
    "class": (
        {"labels": {f"label-{n}": "x" * 100 for n in range(40)}},
        Code.INVALID_CAPABILITY_SCHEMA,
        "at most 2032",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_declaration_is_refused_by_the_name_of_the_field(case: str) -> None:
    fields, code, named = REFUSED[case]
    h = Harness(config_with(max_concurrency_max=64))
    connection = h.dial()
    h.say(connection, registration("n1", **fields))
    found, words = h.refusal()
    assert found == code
    assert named in words
    assert not h.core.state.nodes.by_id
    assert not h.registry
    h.say(connection, registration("n2"))
    assert not h.commands, "a refused connection is not heard any more"


def test_an_unknown_service_kind_is_told_which_there_are() -> None:
    h = Harness()
    h.say(h.dial(), registration("n1", services=[Service(id="x", kind="teleport")]))
    assert "asr, nmt, semantic, tone, tts" in h.refusal()[1]


def test_a_registration_that_does_not_decode_names_its_field() -> None:
    h = Harness()
    reason = "Expected `int` <= 4096 - at `$.max_concurrency`"
    h.feed(Received(h.dial(), [(Unreadable("register", reason), b"")]))
    code, words = h.refusal()
    assert (code, words) == (
        Code.INVALID_CAPABILITY_SCHEMA,
        "max_concurrency: Expected `int` <= 4096",
    )


def test_a_fleet_of_gpu_nodes_refuses_others() -> None:
    h = Harness(config_with(require_gpu=True))
    h.say(h.dial(), registration("n1"))
    assert h.refusal()[0] == Code.NO_GPU_AVAILABLE
    h.join(registration("n2", hardware=Hardware(gpus=["card"])))
    assert h.sent(Registered)


def test_a_record_with_too_many_pools_is_refused() -> None:
    pools = tuple(PoolConfig(id=1_000 + n, name=f"p{n}") for n in range(200))
    h = Harness(config_with(pools=PoolsConfig(pools=pools, multi_pool=True)))
    h.say(h.dial(), registration("n1"))
    code, words = h.refusal()
    assert code == Code.INVALID_CAPABILITY_SCHEMA
    assert "200 pools" in words
    assert "at most 496" in words


def test_a_full_fleet_refuses_the_next_node_and_nobody_else_notices() -> None:
    """S10: max_nodes + 1 registrations."""
    h = Harness(config_with(max_nodes=2))
    h.make_ready(registration("n1"))
    h.make_ready(registration("n2"))
    h.say(h.dial(), registration("n3"))
    code, words = h.refusal()
    assert code == Code.FLEET_FULL
    assert "2 nodes" in words
    assert h.state("n1") == h.state("n2") == NodeState.READY


def test_who_finds_the_fleet_full_again_and_again_is_not_taken_for_a_flapping_node() -> None:
    h = Harness(config_with(max_nodes=1, remember_offline_s=1.0))
    first = h.make_ready(registration("n1"))
    for _ in range(10):
        h.say(h.dial(), registration("n2"))
        assert h.refusal()[0] == Code.FLEET_FULL
        h.advance(SECOND)
        h.beat(first)
    h.say(first, Leave())
    h.advance(3 * SECOND)
    h.join(registration("n2"))
    assert h.state("n2") == NodeState.REGISTERING


def test_one_owner_cannot_use_up_the_class_table() -> None:
    h = Harness(config_with(classes_max=5, classes_per_owner_max=2))
    for count in range(2):
        h.join(registration("n1", labels={"size": str(count)}))
        h.advance(61 * SECOND)
    h.say(h.dial(), registration("n1", h.keys["n1"], labels={"size": "3"}))
    code, words = h.refusal()
    assert code == Code.CAPABILITY_CLASSES_FULL
    assert "node n1" in words

    for count in range(3):
        h.join(registration(f"other-{count}", labels={"other": str(count)}))
        assert h.sent(Registered)
    h.say(h.dial(), registration("last", labels={"last": "1"}))
    code, words = h.refusal()
    assert code == Code.CAPABILITY_CLASSES_FULL
    assert "all 5" in words


def test_who_says_anything_before_register_is_shown_the_door() -> None:
    h = Harness()
    h.say(h.dial(), Heartbeat())
    assert h.refusal()[0] == Code.INVALID_MESSAGE


def test_a_connection_of_another_role_is_refused() -> None:
    h = Harness()
    h.dial(Role.SESSION)
    assert h.refusal()[0] == Code.INVALID_MESSAGE


def test_a_registered_node_that_sends_an_unknown_message_is_answered_and_goes_on() -> None:
    h = Harness()
    connection = h.make_ready()
    h.feed(Received(connection, [(Unreadable("dance", "unknown"), b"")]))
    assert [told.error.code for told in h.sent(Error)] == [Code.INVALID_MESSAGE]
    assert not [c for c in h.commands if isinstance(c, Close)]
    assert h.state() == NodeState.READY


def test_strangers_beyond_the_bound_are_dropped_newest_first() -> None:
    h = Harness()
    for _ in range(256):
        h.dial()
        assert not h.sent(Error)
    h.dial()
    assert h.refusal()[0] == Code.RATE_LIMITED
    h.say(Connection(1), registration("n1"))
    assert h.sent(Registered)


def test_one_connection_that_registers_twice_is_one_node() -> None:
    h = Harness()
    connection = h.make_ready(registration("n1"))
    h.say(connection, registration("n1", h.keys["n1"], max_concurrency=9))
    assert (h.node().epoch, h.node().slots_max) == (2, 9)
    h.say(connection, registration("n2"))
    assert h.state("n1") == NodeState.SUSPECT
    assert h.node("n2").connection == connection
