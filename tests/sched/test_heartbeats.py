"""What a heartbeat carries: load, flags, services; and how often it shall come."""

from typing import Any

import pytest
from manager_harness import MS, NMT, SECOND, Harness, config_with, registration
from msgspec.structs import replace

from pointsman_sched.core.events import ConfigOffered, WorkerSaid
from pointsman_sched.core.fleet.intervals import STEPS, Intervals
from pointsman_shm.memory.rows import NodeState as S
from pointsman_shm.memory.rows import RowFlag, unpack_load, unpack_standing
from pointsman_shm.uplink import WorkerPressed
from pointsman_wire.admin_messages import Nodes, NodesQuery
from pointsman_wire.control_messages import (
    Drain,
    Hardware,
    Heartbeat,
    HeartbeatAck,
    Registered,
    Service,
)
from pointsman_wire.errors import Code
from pointsman_wire.link import Connection, LoopWasLate, Received, Waited
from pointsman_wire.messages import Error


def test_a_heartbeat_writes_load_and_instant_and_publishes_nothing() -> None:
    h = Harness()
    connection = h.make_ready()
    h.settle()
    version = h.memory.catalog.version
    row = h.node().row
    h.hold(0, row, 1)
    h.hold(1, row, 2)
    h.advance(500 * MS)
    h.beat(connection, number=7, cpu_percent=12.9, memory_percent=30.0, running=5)

    load = unpack_load(h.memory.rows.load[row])
    assert (load.cpu, load.gpu, load.memory, load.foreign) == (12, 255, 30, 2)
    assert h.memory.rows.heartbeat_at_ns[row] == h.now_ns
    (ack,) = h.sent(HeartbeatAck)
    assert (ack.number, ack.state, ack.desired) == (7, "ready", "run")
    h.advance(SECOND)
    assert h.memory.catalog.version == version


def test_pause_and_overload_show_in_the_row_and_go_again() -> None:
    h = Harness()
    connection = h.make_ready()

    def flags() -> RowFlag:
        return unpack_standing(h.memory.rows.standing[h.node().row]).flags

    assert flags() == RowFlag.PUBLIC
    h.beat(connection, pause=True, cpu_percent=85.0)
    assert flags() == RowFlag.PUBLIC | RowFlag.PAUSED | RowFlag.OVERLOADED
    h.beat(connection, cpu_percent=84.9)
    assert flags() == RowFlag.PUBLIC


def test_a_node_that_says_the_same_is_judged_by_a_new_threshold() -> None:
    h = Harness()
    connection = h.make_ready()
    for threshold, is_overloaded in ((84, False), (50, True), (61, False)):
        nodes = replace(h.config.nodes, resource_threshold_percent=threshold)
        h.feed(ConfigOffered(1, "file.toml", replace(h.config, nodes=nodes), False))
        while h.core.state.config.nodes != nodes:
            h.advance(20 * MS)
        h.beat(connection, cpu_percent=60.0)
        flags = unpack_standing(h.memory.rows.standing[h.node().row]).flags
        assert (RowFlag.OVERLOADED in flags) == is_overloaded


def test_a_node_that_is_paused_stays_so_when_its_services_change() -> None:
    """And one that is overloaded: it said the same of itself before."""
    h = Harness()
    connection = h.make_ready()
    stopping = RowFlag.PAUSED | RowFlag.OVERLOADED
    for services in ([NMT], [NMT, Service(id="tts", kind="tts")]):
        h.beat(connection, pause=True, cpu_percent=90.0, services=services)
        assert unpack_standing(h.memory.rows.standing[h.node().row]).flags & stopping == stopping


def test_an_equal_list_of_services_is_no_change_and_another_one_is_another_class() -> None:
    h = Harness()
    connection = h.make_ready()
    h.settle()
    before = h.node().class_number
    h.beat(connection, services=[NMT])
    assert not h.core.state.dirty
    h.beat(connection, services=[NMT, Service(id="asr-1", kind="asr")])
    assert h.node().class_number != before
    h.settle()
    published = h.read()
    number = published.nodes["n1"].class_number
    assert published.class_pages[0].classes[number].types_ready == ("asr", "nmt")
    assert unpack_standing(h.memory.rows.standing[h.node().row]).class_number == number
    h.beat(connection)
    assert h.node().class_number == number, "an absent list keeps its old value"


def test_services_that_cannot_be_taken_are_answered_and_take_the_node_out() -> None:
    h = Harness(config_with(classes_max=1))
    connection = h.make_ready()
    h.beat(connection, services=[NMT, Service(id="asr-1", kind="asr")])
    assert [told.error.code for told in h.sent(Error)] == [Code.CAPABILITY_CLASSES_FULL]
    assert h.state() == S.DEGRADED
    h.beat(connection)
    assert h.state() == S.DEGRADED
    h.beat(connection, services=[NMT])
    assert h.state() == S.READY


def test_the_interval_grows_with_the_fleet_and_is_jittered() -> None:
    h = Harness(config_with(max_nodes=128, heartbeats_per_second_max=10))
    connections = [h.join(registration(f"n{n}")) for n in range(100)]
    intervals = []
    for connection in connections:
        h.beat(connection)
        (ack,) = h.sent(HeartbeatAck)
        intervals.append(ack.heartbeat_interval_s)
    assert 9 <= min(intervals) < 10 < max(intervals) <= 11
    assert h.sent(Registered) == []
    h.beat(connections[0])
    assert h.sent(HeartbeatAck)[0].heartbeat_interval_s == intervals[0], "the same again"


def test_every_heartbeat_is_answered_also_in_one_read() -> None:
    h = Harness()
    connection = h.make_ready()
    h.say(connection, *(Heartbeat(number=n) for n in range(5)))
    assert [ack.number for ack in h.sent(HeartbeatAck)] == [0, 1, 2, 3, 4]


def test_while_a_worker_is_overloaded_nodes_beat_half_as_often() -> None:
    h = Harness(config_with(heartbeat_interval_s=2.0))
    connection = h.make_ready()

    def interval_s() -> float:
        h.beat(connection)
        return h.sent(HeartbeatAck)[-1].heartbeat_interval_s

    assert interval_s() == 2.0
    h.feed(WorkerSaid(0, WorkerPressed(step=1)))
    assert interval_s() == 4.0
    h.feed(WorkerSaid(0, WorkerPressed(step=0)))
    assert interval_s() == 2.0
    h.feed(WorkerSaid(0, WorkerPressed(step=3)))
    h.advance(3_100_000_000)
    assert interval_s() == 2.0, "a worker that says no more of it has died, or is well"


@pytest.mark.parametrize(("given_s", "relieved_s"), [(1, 2), (20, 30), (40, 40)])
def test_no_interval_is_doubled_beyond_half_a_minute(given_s: int, relieved_s: int) -> None:
    intervals = Intervals(config_with().nodes)
    assert intervals.relieved_ns(given_s * 1_000_000_000, 2) == relieved_s * 1_000_000_000


def test_what_was_said_before_is_written_again_only_where_something_else_stands_by_now() -> None:
    h = Harness()
    connection = h.make_ready()
    row = h.node().row
    h.beat(connection, cpu_percent=90.0, running=2)
    first = h.memory.rows.load[row]
    assert (unpack_load(first).cpu, unpack_load(first).foreign) == (90, 2)
    assert unpack_standing(h.memory.rows.standing[row]).flags & RowFlag.OVERLOADED
    h.memory.rows.load[row] = 0
    h.beat(connection, cpu_percent=90.0, running=2)
    assert h.memory.rows.load[row] == 0, "the same again is not written"
    h.beat(connection, cpu_percent=90.0, running=3)
    assert unpack_load(h.memory.rows.load[row]).foreign == 3
    h.beat(connection, cpu_percent=-1.0)
    assert not unpack_standing(h.memory.rows.standing[row]).flags & RowFlag.OVERLOADED
    h.beat(connection, cpu_percent=90.0, running=3)
    assert unpack_standing(h.memory.rows.standing[row]).flags & RowFlag.OVERLOADED
    h.say(connection, registration(key=h.keys["n1"]))
    h.beat(connection, cpu_percent=90.0, running=3)
    assert unpack_load(h.memory.rows.load[row]).cpu == 90, "registering has written it anew"


def said(connection: Connection, message: Heartbeat) -> Received:
    return Received(connection, [(message, b"")])


def test_only_the_ordinary_heartbeat_of_a_node_that_is_well_may_wait() -> None:
    h = Harness()
    connection = h.join()
    may_wait = h.core.may_wait
    assert not may_wait(said(connection, Heartbeat())), "the first one makes it Ready"
    ready = h.make_ready(registration("n2"))
    assert may_wait(said(ready, Heartbeat(cpu_percent=5.0, running=3)))
    assert not may_wait(said(ready, Heartbeat(services=[NMT])))
    assert not may_wait(said(ready, Heartbeat(pause=True)))
    assert not may_wait(Received(ready, [(Heartbeat(), b""), (Heartbeat(), b"")]))
    assert not may_wait(said(Connection(99), Heartbeat())), "it is gone by now"
    h.beat(ready, pause=True)
    assert may_wait(said(ready, Heartbeat(pause=True)))
    h.beat(ready, cpu_percent=-1.0)
    assert not may_wait(said(ready, Heartbeat())), "after a bad one"


def test_a_heartbeat_that_waited_counts_from_when_it_came() -> None:
    """A node that falls silent is found out no later because its last word had to wait."""
    h = Harness()
    connection = h.make_ready()
    came_at_ns = h.now_ns + 10 * MS
    h.advance(100 * MS)
    h.turn(Waited(came_at_ns, said(connection, Heartbeat())))
    assert h.node().heard_at_ns == came_at_ns
    h.turn(said(connection, Heartbeat()))
    assert h.node().heard_at_ns == h.core.state.clock_ns
    h.now_ns += 5 * SECOND
    h.turn(LoopWasLate(5 * SECOND), Waited(h.now_ns - 5 * SECOND, said(connection, Heartbeat())))
    assert h.node().heard_at_ns == h.core.state.clock_ns, "never before it was said"


def test_a_heartbeat_that_waited_is_judged_by_what_the_turn_began_with() -> None:
    """What was ordinary when it came is taken with all care if it is not any more."""
    h = Harness()
    connection = h.make_ready()
    waited = Waited(h.now_ns, said(connection, Heartbeat(cpu_percent=5.0)))
    node = h.node()
    node.bad_window = 1
    h.turn(waited)
    assert node.bad_window == 2, "one good one after a bad one"
    h.turn(Waited(h.now_ns, said(connection, Heartbeat(cpu_percent=200.0))))
    assert not node.was_good
    h.turn(Waited(h.now_ns, said(connection, Heartbeat(cpu_percent=50.0))))
    assert node.was_good
    assert unpack_load(h.memory.rows.load[node.row]).cpu == 50


@pytest.mark.parametrize("count", [0, 1, 4_999, 5_000, 5_001, 16_000])
@pytest.mark.parametrize("factor", [1, 4])
def test_the_intervals_of_a_turn_are_those_of_each_row(count: int, factor: int) -> None:
    intervals = Intervals(config_with().nodes)
    intervals.by_step_ns(7_777, 2)  # as the turn before had them
    for row in (0, 1, 19, 20, 12_345):
        wanted_ns = intervals.relieved_ns(intervals.assigned_ns(count, row), factor)
        assert intervals.by_step_ns(count, factor)[row % STEPS] == wanted_ns


@pytest.mark.parametrize("gpus", [[], ["A100"]])
def test_a_node_has_a_gpu_when_a_service_moves_there_and_keeps_that_of_its_hardware(
    gpus: list[str],
) -> None:
    h = Harness()
    connection = h.make_ready(registration(hardware=Hardware(gpus=gpus)))

    def has_gpu() -> bool:
        flags = unpack_standing(h.memory.rows.standing[h.node().row]).flags
        assert (RowFlag.GPU in flags) is h.node().capability.gpu
        assert RowFlag.PUBLIC in flags
        return h.node().capability.gpu

    assert has_gpu() is bool(gpus)
    h.beat(connection, services=[Service(id="nmt-1", kind="nmt", device="gpu")], pause=True)
    assert has_gpu()
    h.beat(connection, services=[NMT])
    assert has_gpu() is bool(gpus)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"services": []}, "bad heartbeats: none of its services runs"),
        (
            {"cpu_percent": 250.0, "gpu_percent": -1.0, "memory_percent": 100.0},
            "bad heartbeats: cpu_percent is 250, which is not within 0..100, "
            "gpu_percent is -1, which is not within 0..100",
        ),
    ],
)
def test_a_degraded_node_is_told_what_is_bad_about_its_heartbeats(
    bad: dict[str, Any], words: str
) -> None:
    h = Harness()
    connection = h.make_ready()
    for _ in range(3):
        h.beat(connection, **bad)
    assert (h.node().state, h.node().reason) == (S.DEGRADED, words)


def test_a_node_that_is_not_ready_is_told_of_with_that_reason_before_its_pause() -> None:
    h = Harness()
    connection = h.make_ready()

    def told() -> str:
        answer = h.core.answer(NodesQuery())
        assert isinstance(answer, Nodes)
        return answer.nodes[0].reason

    h.beat(connection, pause=True, pause_reason="I play")
    assert told() == "paused by its owner: I play"
    h.say(connection, Drain(reason="new disk"))
    assert told() == "new disk; paused by its owner: I play"
    h.beat(connection)
    assert told() == "new disk"
