"""The overload ladder: each step, what it does, what it leaves alone, and how it is left."""

import pytest
from worker_harness import Client, Node, WorkerHarness, one_node

from pointsman_shm.config import LimitsConfig
from pointsman_shm.memory.stats import StatsView
from pointsman_shm.uplink import WorkerPressed
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    Cancel,
    ClientHeartbeat,
    ClientHeartbeatAck,
    JobAccepted,
    Result,
    SessionInit,
)
from pointsman_workers.core.events import (
    CloseSlowest,
    PressureMeasured,
    RefuseClients,
    Say,
    TellManager,
)
from pointsman_workers.core.overload import HYSTERESIS, STEPS, Ladder, Pressure


@pytest.mark.parametrize(("number", "bound"), [*enumerate(STEPS, 1)])
def test_a_step_is_taken_at_its_bound_and_left_a_tenth_below(number: int, bound: float) -> None:
    ladder = Ladder()
    assert ladder.look(bound - 0.001) == number - 1
    assert ladder.look(bound) == number
    assert ladder.look(bound * (1 - HYSTERESIS) + 0.001) == number
    assert ladder.look(bound * (1 - HYSTERESIS) - 0.001) < number
    assert ladder.look(0.0) == 0


def test_a_pressure_that_swings_about_a_bound_changes_the_step_once() -> None:
    ladder = Ladder()
    assert {ladder.look(pressure) for pressure in (0.81, 0.79, 0.80, 0.75, 0.82)} == {1}


@pytest.mark.parametrize(
    "pressure",
    [
        Pressure(memory=0.96),
        Pressure(loop_lag_ns=96_000_000),
        Pressure(descriptors=0.96),
    ],
)
def test_the_largest_part_counts(pressure: Pressure) -> None:
    _, h = one_node()
    h.feed(PressureMeasured(pressure))
    assert gauges(h)["overload_step"] == 3
    assert gauges(h)["pressure_percent"] == 96


class Pressed:
    """A worker with one slot in use, and a client whose bulk and other jobs wait."""

    def __init__(self, **limits: int) -> None:
        _, self.h = one_node(limits=LimitsConfig(**limits))
        self.node: Node = self.h.open_lane(3)
        self.client: Client = self.h.open_session()
        self.client.submit("runs")
        self.running = self.node.assignment()
        self.client.submit("waits")
        self.client.submit("bulk", priority="bulk", wait_busy_s=60.0)
        self.client.all(JobAccepted)

    def press(self, memory: float) -> None:
        self.h.feed(PressureMeasured(Pressure(memory=memory)))

    def refusals(self, *priorities: str) -> dict[str, str]:
        """Submit one job of each; what was refused, and with which code."""
        for priority in priorities:
            self.client.submit(f"new-{priority}-{len(self.h.commands)}", priority=priority)
        return {
            error.request_id.split("-")[1]: error.error.code for error in self.client.all(Error)
        }

    def wishes(self, kind: type) -> list[object]:
        found = [command for command in self.h.commands if isinstance(command, kind)]
        self.h.commands = [c for c in self.h.commands if not isinstance(c, kind)]
        return found


def gauges(h: WorkerHarness) -> dict[str, int]:
    return view(h).gauges


def view(h: WorkerHarness) -> StatsView:
    return h.core.shard.setup.memory.stats.read()


def test_step_1_asks_for_slower_heartbeats_and_says_so_once() -> None:
    p = Pressed()
    for _ in range(3):
        p.press(0.85)
    assert p.wishes(TellManager) == [TellManager(WorkerPressed(step=1))]
    (said,) = p.wishes(Say)
    assert isinstance(said, Say)
    assert "step 0 -> 1, memory is at 85%" in said.text
    p.h.now_ns += 1_000_000_000
    p.press(0.85)
    assert p.wishes(TellManager) == [TellManager(WorkerPressed(step=1))], "again every second"
    assert p.wishes(Say) == []
    assert p.refusals("bulk", "default") == {}
    p.press(0.1)
    assert p.wishes(TellManager) == [TellManager(WorkerPressed(step=0))]
    assert view(p.h).counters["overload_changes"] == 2
    assert gauges(p.h)["overload_step"] == 0


def test_step_2_refuses_and_sheds_the_lowest_priority_and_new_clients() -> None:
    p = Pressed()
    p.press(0.92)
    assert p.wishes(RefuseClients) == [RefuseClients(True)]
    shed = p.client.one(Result)
    assert (shed.request_id, shed.status) == ("bulk", "failed")
    assert shed.error is not None
    assert (shed.error.code, shed.error.retryable) == ("QUEUE_FULL", True)
    assert shed.error.retry_after_ms is not None
    assert p.refusals("bulk", "default", "interactive") == {"bulk": "QUEUE_FULL"}
    assert view(p.h).counters["jobs_shed"] == 1
    p.press(0.5)
    assert p.wishes(RefuseClients) == [RefuseClients(False)]
    p.client.submit("bulk", priority="bulk")
    (job,) = [job for sent in p.client.all(JobAccepted) for job in sent.jobs][-1:]
    assert not job.duplicate, "its key was free again"


def test_step_2_never_sheds_what_a_node_has_had() -> None:
    p = Pressed()
    p.h.receive(p.client.connection, Cancel(request_id="waits"))
    p.node.end(p.running)
    job = p.node.assignment()
    assert job.request_id == "bulk"
    p.node.end(job, b"", status="failed", code="INTERNAL", message="boom", retryable=True)
    p.client.all(Result)
    p.press(0.92)
    assert p.client.all(Result) == []


def test_step_3_refuses_every_new_job_while_all_else_goes_on() -> None:
    p = Pressed()
    p.press(0.96)
    assert p.refusals("bulk", "default", "interactive") == {
        "bulk": "QUEUE_FULL",
        "default": "QUEUE_FULL",
        "interactive": "QUEUE_FULL",
    }
    p.client.all(Result)
    p.client.submit("waits")
    assert p.client.one(JobAccepted).jobs[0].duplicate, "what was accepted is answered"
    p.h.receive(p.client.connection, ClientHeartbeat(number=7))
    assert p.client.one(ClientHeartbeatAck).number == 7
    p.node.end(p.running)
    assert p.client.one(Result).request_id == "runs"
    p.h.receive(p.client.connection, Cancel(request_id="waits"))
    assert p.client.one(Result).status == "cancelled"
    assert p.h.open_session().ack.session_id, "sessions are opened still"


def test_step_4_opens_no_sessions_and_hangs_up_on_the_slowest() -> None:
    p = Pressed()
    p.press(0.995)
    assert len(p.wishes(CloseSlowest)) == 1
    connection = p.h.dial(Role.SESSION)
    p.h.receive(connection, SessionInit())
    error = p.h.one(connection, Error).error
    assert (error.code, error.retryable) == ("QUEUE_FULL", True)
    p.press(0.1)
    assert p.h.open_session().ack.session_id


def test_a_queue_that_fills_climbs_the_ladder_by_itself() -> None:
    p = Pressed(queued_per_shard_max=10)
    for number in range(6):
        p.client.submit(f"more-{number}")
    p.press(0.0)
    assert gauges(p.h)["overload_step"] == 1
    assert gauges(p.h)["pressure_percent"] == 80
    p.client.submit("more-6")
    p.press(0.0)
    assert gauges(p.h)["overload_step"] == 2
