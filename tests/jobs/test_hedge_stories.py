"""Stories of second dispatches: when they are made, which result counts, what they may cost."""

import msgspec
import pytest
from job_trouble import ROWS, counted, fleet, refuse
from worker_harness import Client, Node, WorkerHarness, chosen

from pointsman_shm.config import Config, JobsConfig
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_wire.lane_messages import Assign, CancelJob, JobRefused
from pointsman_wire.session_messages import Cancel, Result
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.desks.hedging import OBSERVATIONS_MIN, HedgePlan, Times

MS = 1_000_000


def warmed_up(
    *, count: int = 2, runs: int = 40, slots: int = 4, **jobs: float
) -> tuple[WorkerHarness, dict[int, Node], Client]:
    """A fleet that has seen enough idempotent jobs of 0.2 s to know what is slow."""
    config = Config(jobs=msgspec.convert({"hedge_after_percentile": 95.0, **jobs}, JobsConfig))
    h, nodes = fleet(count, slots=slots, config=config)
    client = h.open_session("s-warm")
    for number in range(runs):
        client.submit(f"w-{number}", idempotent=True)
        node, job = chosen(nodes)
        node.acknowledge(job.number)
        h.advance(0.2)
        node.end(job)
    client.all(Result)
    return h, nodes, client


def slow(
    h: WorkerHarness, nodes: dict[int, Node], client: Client, **fields: object
) -> tuple[Node, Assign]:
    """A job that its node has started, and does not end."""
    client.submit("slow", b"hello", **{"idempotent": True, **fields})
    node, job = chosen(nodes)
    node.acknowledge(job.number)
    h.advance(0.5)
    return node, job


def hedges(h: WorkerHarness) -> tuple[int, int]:
    counters = h.core.shard.setup.memory.stats.read().counters
    return counters["hedges"], counters["hedges_won"]


def test_a_slow_idempotent_job_is_sent_to_a_second_node_and_the_first_result_counts() -> None:
    """I3: one attempt, two dispatches; the other one is fenced from the first result on."""
    h, nodes, client = warmed_up()
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    assert second.row != first.row
    assert (again.job_id, again.attempt) == (job.job_id, job.attempt)
    assert again.dispatch > job.dispatch
    assert (h.held(first.row), h.held(second.row)) == (1, 1)
    second.end(again)
    result = client.one(Result)
    assert (result.node_id, result.attempt, result.failovers) == (f"node-{second.row}", 1, 0)
    assert result.hedged
    assert h.one(first.connection, CancelJob).dispatch == job.dispatch
    assert (h.held(first.row), h.held(second.row)) == (1, 0), "counted until it is confirmed"
    first.end(job, b"the loser")
    assert client.all(Result) == []
    assert h.held(first.row) == 0
    assert hedges(h) == (1, 1)
    assert counted(h) == {}


def test_the_first_dispatch_may_win_as_well() -> None:
    h, nodes, client = warmed_up()
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    first.end(job)
    assert client.one(Result).node_id == f"node-{first.row}"
    assert h.one(second.connection, CancelJob).dispatch == again.dispatch
    second.end(again, b"", status="cancelled")
    assert [h.held(row) for row in nodes] == [0, 0]
    assert hedges(h) == (1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"idempotent": False},
        {"stream": True},
        {"tgt_lang": "", "services": ["asr"]},  # of a kind that nobody has seen enough of
    ],
)
def test_what_must_not_be_hedged_is_not(fields: dict[str, object]) -> None:
    h, nodes, client = warmed_up()
    slow(h, nodes, client, **fields)
    assert [job for node in nodes.values() for job in node.assignments()] == []
    assert hedges(h) == (0, 0)


def test_a_serial_session_is_never_hedged() -> None:
    h, nodes, _ = warmed_up()
    slow(h, nodes, h.open_session("s-2", order="serial"))
    assert hedges(h) == (0, 0)


def test_nothing_is_hedged_by_default() -> None:
    assert JobsConfig().hedge_after_percentile == 0
    h, nodes, client = warmed_up(hedge_after_percentile=0.0)
    slow(h, nodes, client)
    assert h.core.shard.setup.memory.stats.read().counters["hedges"] == 0


def test_nothing_is_hedged_while_jobs_of_the_kind_wait() -> None:
    h, nodes, client = warmed_up(count=2, slots=1)
    client.submit("slow", idempotent=True)
    first, job = chosen(nodes)
    first.acknowledge(job.number)
    client.submit("other")
    other, other_job = chosen(nodes)
    other.acknowledge(other_job.number)
    client.submit("waits")
    h.advance(0.5)
    assert hedges(h) == (0, 0)


def test_nothing_is_hedged_while_another_worker_waits_for_such_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    h, nodes, client = warmed_up()
    monkeypatch.setattr(h.core.shard, "worker_count", 2)
    monkeypatch.setattr(WaitingWords, "worker_mask", lambda self, worker: 1)
    slow(h, nodes, client)
    assert hedges(h) == (0, 0)


def test_the_second_dispatch_never_goes_to_the_same_node() -> None:
    h, nodes, client = warmed_up(count=1)
    slow(h, nodes, client)
    assert hedges(h) == (0, 0)
    assert h.held(3) == 1


def test_the_budget_holds_second_dispatches_to_a_share() -> None:
    h, nodes, client = warmed_up(count=2, slots=60, runs=30, hedge_budget_percent=5.0)
    for number in range(50):
        client.submit(f"s-{number}", idempotent=True)
        node, job = chosen(nodes)
        node.acknowledge(job.number)
    h.advance(3.0)
    assert hedges(h) == (4, 0), "5 % of 80"


def test_no_more_than_ten_second_dispatches_are_saved_for_later() -> None:
    """However long nothing was slow."""
    h, _, _ = warmed_up(runs=40, hedge_budget_percent=100.0)
    plan = h.core._attempts.placing.hedging
    assert plan is not None
    made = 0
    while plan.has_budget:
        plan.spend()
        made += 1
    assert made == 10


def test_no_job_is_hedged_before_the_least_delay() -> None:
    h, nodes, client = warmed_up(hedge_after_min_s=1.0)
    slow(h, nodes, client)
    assert hedges(h) == (0, 0)
    h.advance(0.7)
    assert hedges(h) == (1, 0)


def test_when_one_of_the_two_fails_the_other_goes_on_and_no_failover_is_counted() -> None:
    h, nodes, client = warmed_up(count=3)
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    first.end(job, b"", status="failed", code="INTERNAL_ERROR")
    assert client.all(Result) == []
    second.acknowledge(again.number)
    second.end(again)
    result = client.one(Result)
    assert (result.node_id, result.failovers) == (f"node-{second.row}", 0)
    assert result.attempts[0].startswith(f"attempt 1 on node-{first.row}: node_error")
    assert [h.held(row) for row in nodes] == [0, 0, 0]


def test_when_both_fail_the_job_fails_over() -> None:
    h, nodes, client = warmed_up(count=3)
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    second.end(again, b"", status="failed", code="INTERNAL_ERROR")
    first.end(job, b"", status="failed", code="INTERNAL_ERROR")
    third, last = chosen(nodes)
    assert {first.row, second.row, third.row} == set(ROWS[:3])
    assert (last.attempt, last.dispatch > again.dispatch) == (2, True)
    third.end(last)
    assert client.one(Result).failovers == 1


def test_a_second_node_that_has_no_room_changes_nothing() -> None:
    h, nodes, client = warmed_up()
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    refused = JobRefused(
        job_id=again.job_id, epoch=1, dispatch=again.dispatch, code="NODE_OVERLOADED"
    )
    h.receive(second.connection, refused)
    first.end(job)
    assert client.one(Result).failovers == 0
    assert [h.held(row) for row in nodes] == [0, 0]


def test_poison_stops_the_second_dispatch_as_well() -> None:
    h, nodes, client = warmed_up(poison_failures=1)
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    first.end(job, b"", status="failed", code="INTERNAL_ERROR")
    error = client.one(Result).error
    assert error is not None
    assert error.code == "POISON"
    assert h.one(second.connection, CancelJob).dispatch == again.dispatch
    second.end(again, b"", status="cancelled")
    assert [h.held(row) for row in nodes] == [0, 0]


def test_a_job_whose_second_dispatch_alone_has_started_is_running() -> None:
    """What is left of it when the first node refuses, however late."""
    h, nodes, client = warmed_up()
    client.submit("slow", idempotent=True)
    first, job = chosen(nodes)
    h.advance(0.5)
    second, again = chosen(nodes)
    second.acknowledge(again.number)
    refuse(first, job, "NODE_UNAVAILABLE")
    found = h.core.shard.window.find(("", client.ack.session_id, "slow"))
    assert found is not None
    assert found.state is JobState.RUNNING
    second.end(again)
    assert client.one(Result).attempt == 1


@pytest.mark.parametrize("loses", [0, 1])
def test_a_node_that_is_lost_leaves_the_job_to_the_other(loses: int) -> None:
    h, nodes, client = warmed_up()
    pair = [slow(h, nodes, client), chosen(nodes)]
    pair[1][0].acknowledge(pair[1][1].number)
    pair[loses][0].hang_up()
    h.advance(5.2)
    node, job = pair[1 - loses]
    node.end(job)
    assert client.one(Result).node_id == f"node-{node.row}"
    assert [h.held(row) for row in nodes] == [0, 0]


def test_cancel_and_deadline_reach_both_nodes() -> None:
    h, nodes, client = warmed_up()
    first, job = slow(h, nodes, client)
    second, again = chosen(nodes)
    h.receive(client.connection, Cancel(request_id="slow"))
    for node, assign in ((first, job), (second, again)):
        assert h.one(node.connection, CancelJob).dispatch == assign.dispatch
        node.end(assign, b"", status="cancelled")
    assert client.one(Result).status == "cancelled"
    assert [h.held(row) for row in nodes] == [0, 0]


# ---- what is slow


def test_percentiles_are_within_a_bucket_of_the_truth() -> None:
    times = Times()
    for number in range(1, 101):
        times.observe(number * MS)
    for percent in (1, 50, 90, 95, 99):
        found = times.percentile_ns(percent)
        assert found is not None
        assert percent * MS <= found <= percent * MS * 1.13


def test_a_few_observations_are_none_and_old_ones_fade() -> None:
    times = Times()
    for _ in range(OBSERVATIONS_MIN - 1):
        times.observe(MS)
    assert times.percentile_ns(50) is None
    for _ in range(5_000):
        times.observe(100 * MS)
    found = times.percentile_ns(1)
    assert found is not None
    assert found >= 100 * MS


def test_kinds_that_are_observed_are_bounded() -> None:
    plan = HedgePlan(JobsConfig(hedge_after_percentile=50.0))
    for number in range(1_000):
        plan.observe((f"t-{number}",), MS)
    assert len(plan._times) == 64
