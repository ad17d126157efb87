"""`drain`, `pause`, `quarantine`, `cancel` and the like: who is told what, and how it ends."""

import json
from typing import Any

import pytest
from live.commands import Processes, invoke
from typer.testing import Result

from pointsman_wire.admin_messages import NodeLine, Nodes, NodesQuery
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_info
from pointsman_wire.queries.fleet_messages import PoolLine, Pools, PoolsQuery
from pointsman_wire.queries.operating_messages import (
    Audit,
    AuditLine,
    AuditQuery,
    CancelOrder,
    DrainOrder,
    DrainWorkerOrder,
    OrderDone,
    PauseOrder,
    QuarantineOrder,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
    UndrainWorkerOrder,
)
from pointsman_wire.queries.work_messages import Jobs, JobsQuery

DONE = OrderDone(words="it was done", nodes=1, jobs=2, left_s=5.0)
FLEET_ORDERS = (DrainOrder, UndrainOrder, PauseOrder, ResumeOrder, QuarantineOrder, ReleaseOrder)
WORKER_ORDERS = (DrainWorkerOrder, UndrainWorkerOrder, CancelOrder)


def called(processes: Processes, *arguments: str) -> Result:
    return invoke(*arguments, "--runtime-dir", str(processes.runtime_dir))


def obedient(processes: Processes, **more: Any) -> None:
    """A manager and two workers that do what they are told."""
    manager = dict.fromkeys(FLEET_ORDERS, DONE) | more.get("manager", {})
    worker = dict.fromkeys(WORKER_ORDERS, DONE) | more.get("worker", {})
    processes.add("manager", manager)
    processes.add("worker-0", worker)
    processes.add("worker-1", worker)


@pytest.mark.parametrize(
    ("words", "process", "order"),
    [
        (
            "drain pc-1 --deadline 5 --reason disk",
            "manager",
            DrainOrder(node_id="pc-1", deadline_s=5.0, reason="disk"),
        ),
        ("drain --pool 3", "manager", DrainOrder(pool=3)),
        ("drain --worker 1", "worker-1", DrainWorkerOrder()),
        ("undrain pc-1", "manager", UndrainOrder(node_id="pc-1")),
        ("undrain --worker 0", "worker-0", UndrainWorkerOrder()),
        ("pause", "manager", PauseOrder()),
        ("pause --pool 0", "manager", PauseOrder(pool=0)),
        ("resume --pool 0", "manager", ResumeOrder(pool=0)),
        (
            "quarantine pc-1 --lasts 60",
            "manager",
            QuarantineOrder(node_id="pc-1", lasts_s=60.0),
        ),
        ("release pc-1", "manager", ReleaseOrder(node_id="pc-1")),
    ],
)
def test_an_order_goes_to_the_process_that_carries_it_out(
    processes: Processes, words: str, process: str, order: object
) -> None:
    obedient(processes)
    result = called(processes, *words.split())
    assert result.exit_code == 0, result.output
    assert processes.orders == [(process, order)]
    assert "it was done" in result.stdout
    assert "2 jobs run there still" in result.stdout


@pytest.mark.parametrize("wish", ["drain", "undrain"])
def test_the_whole_service_is_all_its_workers(processes: Processes, wish: str) -> None:
    obedient(processes, worker={JobsQuery: Jobs(total=0)})
    wait = ["--wait"] if wish == "drain" else []
    result = called(processes, wish, "--service", *wait)
    assert result.exit_code == 0, result.output
    kind = DrainWorkerOrder if wish == "drain" else UndrainWorkerOrder
    assert sorted(name for name, _ in processes.orders) == ["worker-0", "worker-1"]
    assert {type(order) for _, order in processes.orders} == {kind}
    assert "worker-1: it was done" in result.stdout


def test_of_a_service_that_obeys_in_part_the_fault_is_told(processes: Processes) -> None:
    obedient(processes)
    refusal = Error(error_info(Code.CONFLICT, "this worker is not drained"))
    processes.add("worker-0", {UndrainWorkerOrder: refusal})
    result = called(processes, "undrain", "--service")
    assert result.exit_code == 1
    assert "this worker is not drained" in result.stderr
    assert ("worker-1", UndrainWorkerOrder()) in processes.orders


def test_a_job_is_cancelled_by_the_worker_of_its_session(processes: Processes) -> None:
    obedient(processes)
    owners = set()
    for number in range(8):
        assert called(processes, "cancel", f"s-{number}", "r-1", "--tenant", "t").exit_code == 0
        owner, order = processes.orders[-1]
        assert order == CancelOrder(session_id=f"s-{number}", request_id="r-1", tenant="t")
        owners.add(owner)
    assert owners == {"worker-0", "worker-1"}


def test_as_json_it_says_what_is_left(processes: Processes) -> None:
    obedient(processes)
    result = called(processes, "drain", "pc-1", "--json")
    told = json.loads(result.stdout)
    assert told == {"words": "it was done", "nodes": 1, "sessions": 0, "jobs": 2, "left_s": 5.0}


@pytest.mark.parametrize(
    ("code", "exit_code"), [(Code.NOT_FOUND, 2), (Code.CONFLICT, 1), (Code.RATE_LIMITED, 1)]
)
def test_what_was_not_done_ends_with_a_code(
    processes: Processes, code: Code, exit_code: int
) -> None:
    refusal = Error(error_info(code, "there is no such thing"))
    obedient(processes, manager={DrainOrder: refusal})
    result = called(processes, "drain", "pc-1")
    assert result.exit_code == exit_code
    assert "there is no such thing" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        "drain",
        "drain pc-1 --pool 3",
        "undrain --pool 1 --worker 1",
        "drain --worker 7",
        "drain --worker 0 --service",
    ],
)
def test_a_target_that_is_none_or_two_is_wrong_usage(processes: Processes, words: str) -> None:
    obedient(processes)
    assert called(processes, *words.split()).exit_code == 2
    assert processes.orders == []


@pytest.mark.parametrize("named", ["en-es", "4"])
def test_a_pool_is_named_by_its_name_or_its_number(processes: Processes, named: str) -> None:
    pools = Pools(pools=[PoolLine(id=4, name="en-es")])
    obedient(processes, manager={PoolsQuery: pools})
    for words in ("drain", "undrain", "pause", "resume"):
        result = called(processes, words, "--pool", named)
        assert result.exit_code == 0, result.output
    assert [order.pool for _, order in processes.orders] == [4, 4, 4, 4]


def test_a_pool_that_is_none_is_answered_with_those_that_are(processes: Processes) -> None:
    obedient(processes, manager={PoolsQuery: Pools(pools=[PoolLine(id=4, name="en-es")])})
    result = called(processes, "pause", "--pool", "en-fr")
    assert result.exit_code == 2
    assert "there is no pool 'en-fr'" in result.stderr
    assert "en-es (4)" in result.stderr
    assert processes.orders == []


def test_a_drain_waits_until_nothing_runs_there(processes: Processes) -> None:
    nodes = Nodes(nodes=[NodeLine(node_id="pc-1", held=0), NodeLine(node_id="pc-2", held=3)])
    obedient(processes, manager={NodesQuery: nodes}, worker={JobsQuery: Jobs(total=0)})
    for words in ("drain pc-1 --wait", "drain --worker 0 --wait"):
        result = called(processes, *words.split())
        assert result.exit_code == 0, result.output
        assert "jobs" not in result.stdout


def test_a_drain_whose_time_is_up_before_its_jobs_end_has_failed(processes: Processes) -> None:
    nodes = Nodes(nodes=[NodeLine(node_id="pc-1", held=3, pools=["en-es"])])
    pools = Pools(pools=[PoolLine(id=4, name="en-es")])
    at_once = OrderDone(words="it was done", left_s=0.0)
    answers = {NodesQuery: nodes, PoolsQuery: pools, DrainOrder: at_once}
    obedient(processes, manager=answers)
    for words in ("drain pc-1 --wait", "drain --pool 4 --wait"):
        result = called(processes, *words.split())
        assert result.exit_code == 1
        assert "3 jobs still ran when the time was up" in result.stderr


def test_the_audit_of_all_processes_is_shown_the_newest_first(processes: Processes) -> None:
    older = AuditLine(at="2026-01-01T00:00:00.000Z", process="manager", order="pause_order")
    newer = AuditLine(
        at="2026-01-02T00:00:00.000Z",
        process="worker-0",
        who="uid 0, pid 9",
        order="drain_worker_order",
        outcome="done",
    )
    newest = AuditLine(at="2026-01-03T00:00:00.000Z", process="supervisor", order="renew_order")
    processes.add("manager", {AuditQuery: Audit(lines=[older])})
    processes.add("worker-0", {AuditQuery: Audit(lines=[newer])})
    processes.add("supervisor", {AuditQuery: Audit(lines=[newest])})
    told = json.loads(called(processes, "audit", "--json").stdout)
    orders = ["renew_order", "drain_worker_order", "pause_order"]
    assert [line["order"] for line in told["lines"]] == orders
    shown = called(processes, "audit").stdout
    assert shown.index("drain_worker_order") < shown.index("pause_order")
    assert (
        len(json.loads(called(processes, "audit", "--json", "--limit", "1").stdout)["lines"]) == 1
    )
