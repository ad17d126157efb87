"""`pools`, `jobs` and `top`: who is asked, what is added up, what is drawn in little room."""

import asyncio
import json
import os
import pty
import signal
import termios
from typing import Any

import pytest
from live.commands import Processes, invoke
from rich.console import Console

from pointsman.cli.fleet.asking import Fleet, Heard
from pointsman.cli.top.flow import Rates, rates_between
from pointsman.cli.top.keys import pressed_keys
from pointsman.cli.top.looking import Beats, Look
from pointsman.cli.top.picture import NodeOrder, picture
from pointsman.cli.work.asking import Waiting, Why
from pointsman_wire.admin_messages import (
    NodeLine,
    Nodes,
    NodesQuery,
    Status,
    StatusQuery,
)
from pointsman_wire.queries.fleet_messages import PoolLine, Pools, PoolsQuery
from pointsman_wire.queries.work_messages import (
    JobLine,
    Jobs,
    JobsQuery,
    QueueLine,
    Queues,
    QueuesQuery,
    ReasonLine,
    Reasons,
    ReasonsQuery,
)

SECOND_NS = 1_000_000_000
POOLS = Pools(
    pools=[
        PoolLine(id=1, name="en-es", services=["nmt"], languages=["en", "es"], nodes=2, ready=1),
        PoolLine(id=2, name="tones", nodes=1, paused=True),
    ],
    mode="language",
    snapshot_version=7,
)
WHY = ReasonLine(
    outcome="refused", code="NO_AVAILABLE_NODE", reason="lang_pair", fix="start one", jobs=2
)


def at(processes: Processes) -> list[str]:
    return ["--runtime-dir", str(processes.runtime_dir)]


def status(process: str, *, pid: int = 42, done: int = 0) -> Status:
    counters = {"jobs_completed": done, "jobs_accepted": done}
    gauges = {"sessions": 3.0, "queue_length": 2.0, "lanes": 1.0, "jobs_active": 1.0}
    return Status(process=process, pid=pid, uptime_s=90.0, counters=counters, gauges=gauges)


def job(number: int, *, age_ms: float) -> JobLine:
    return JobLine(
        job_id=f"j-{number}", state="assigned", services=["nmt"], age_ms=age_ms, arrival=number
    )


# ---- pools and jobs


def test_pools_say_what_they_demand_and_which_are_paused(processes: Processes) -> None:
    processes.add("manager", {PoolsQuery: POOLS})
    ended = invoke("pools", *at(processes))
    assert ended.exit_code == 0, ended.output
    assert "2 pools (language)" in ended.stdout
    assert "paused" in ended.stdout
    data = json.loads(invoke("pools", "--json", *at(processes)).stdout)
    assert [pool["ready"] for pool in data["pools"]] == [1, 0]


def test_pools_cannot_be_named_without_the_manager(processes: Processes) -> None:
    processes.add_dead("manager")
    processes.add("worker-0", {})
    assert invoke("pools", *at(processes)).exit_code == 1


def test_jobs_of_all_workers_are_listed_oldest_first_and_the_silent_named(
    processes: Processes,
) -> None:
    processes.add("worker-0", {JobsQuery: Jobs(jobs=[job(1, age_ms=10.0)], total=4)})
    processes.add("worker-1", {JobsQuery: Jobs(jobs=[job(2, age_ms=90.0)], total=1)})
    processes.add_dead("worker-2")
    ended = invoke("jobs", *at(processes))
    assert ended.exit_code == 0, ended.output
    assert "5 jobs that have not ended, 2 of them shown" in ended.stdout
    assert "worker-2" in ended.stderr
    data = json.loads(invoke("jobs", "--json", *at(processes)).stdout)
    assert [line["job_id"] for line in data["jobs"]] == ["j-2", "j-1"]
    assert list(data["no_answer"]) == ["worker-2"]


def test_heads_of_a_table_are_kept_whole_and_a_tenant_that_nobody_names_takes_no_room(
    processes: Processes,
) -> None:
    lines = [
        JobLine(
            job_id=f"{number:032}",
            request_id="req-0123456789ab",
            session_id="s-" + "f" * 32,
            state="pending",
            waits=True,
            services=["nmt"],
            priority="default",
        )
        for number in range(2)
    ]
    processes.add("worker-0", {JobsQuery: Jobs(jobs=lines, total=2)})
    heads = invoke("jobs", *at(processes)).stdout.splitlines()[0].split()
    shown = {"job", "request", "session", "state", "what", "priority", "try", "node"}
    assert {*heads} == shown | {"worker", "age"}


def test_jobs_end_with_1_when_no_worker_answers(processes: Processes) -> None:
    processes.add("manager", {})
    processes.add_dead("worker-0")
    assert invoke("jobs", *at(processes)).exit_code == 1


# ---- top


def add_service(processes: Processes) -> None:
    """A manager and two workers of which one has died."""
    page = Nodes(nodes=[NodeLine(node_id="upper", state="ready", slots_max=2)], total=1)
    queue = QueueLine(services=["nmt"], src_lang="en", tgt_lang="es", waiting=2, oldest_ms=5.0)
    worker: dict[type, Any] = {
        StatusQuery: status("worker-0"),
        QueuesQuery: Queues(queues=[queue], waiting=2, total=1),
        ReasonsQuery: Reasons(reasons=[WHY], minutes=5, refused=2),
    }
    told: dict[type, Any] = {StatusQuery: status("manager"), NodesQuery: page, PoolsQuery: POOLS}
    processes.add("manager", told)
    processes.add("worker-0", worker)
    processes.add_dead("worker-1")


def test_top_prints_once_where_there_is_no_terminal(processes: Processes) -> None:
    add_service(processes)
    ended = invoke("top", "--refresh", "0.2", *at(processes))
    assert ended.exit_code == 0, ended.output
    for words in (
        "upper",
        "nmt en>es",
        "2 waiting",
        "en-es",
        "would help most (2 jobs): start one",
    ):
        assert words in ended.stdout
    assert "no answer" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_top_gives_programs_everything(processes: Processes) -> None:
    add_service(processes)
    data = json.loads(invoke("top", "--json", "--refresh", "0.2", *at(processes)).stdout)
    assert data["workers"]["worker-0"]["rates"]["done"] == 0.0
    assert data["waiting"]["queues"][0]["worker"] == "worker-0"
    assert data["reasons"]["best_change"] == "start one"
    assert list(data["no_answer"]) == ["worker-1"]
    assert data["over_s"] > 0


def test_top_ends_with_1_when_nobody_answers(processes: Processes) -> None:
    processes.add_dead("worker-0")
    assert invoke("top", "--once", *at(processes)).exit_code == 1


def test_rates_are_what_was_counted_between_two_looks() -> None:
    before, after = status("worker-0", done=10), status("worker-0", done=40)
    assert rates_between(before, after, 2 * SECOND_NS) == Rates(accepted=15.0, done=15.0)
    assert rates_between(before, status("worker-0", done=4), SECOND_NS).done == 0.0


@pytest.mark.parametrize("before", [None, status("worker-0", pid=7, done=1)])
def test_a_worker_that_began_anew_has_no_rate_yet(before: Status | None) -> None:
    assert rates_between(before, status("worker-0", done=40), SECOND_NS) == Rates()


def look(*nodes: NodeLine) -> Look:
    beats = Beats(0, {"worker-0": status("worker-0")}, [Heard("worker-1", None, "worker-1: gone")])
    page = Nodes(nodes=list(nodes), total=len(nodes))
    rates = {"worker-0": Rates()}
    fleet = Fleet("manager", list(nodes), page, [])
    return Look(
        "default", beats, fleet, POOLS, Waiting([], 0, 0), Why([], 0, 0, "", 0), rates, SECOND_NS
    )


def drawn(what: Look, order: NodeOrder, *, lines_max: int, width: int = 120) -> list[str]:
    screen = Console(width=width, highlight=False)
    with screen.capture() as kept:
        screen.print(picture(what, order, lines_max=lines_max, width=width))
    return kept.get().splitlines()


def test_the_slots_of_who_is_offline_are_no_room() -> None:
    nodes = (
        NodeLine(node_id="a", state="ready", slots_max=2),
        NodeLine(node_id="b", state="offline", slots_max=4),
    )
    head = " ".join(drawn(look(*nodes), NodeOrder.NAME, lines_max=50)[:3])
    assert "0 of 2 slots" in head


def test_in_80_columns_no_figure_of_a_worker_is_cut() -> None:
    lines = drawn(look(), NodeOrder.NAME, lines_max=50, width=80)
    (heads,) = [line for line in lines if line.startswith("worker ")]
    shown = {"up", "sessions", "active", "waiting", "done/s", "refused/s", "p99"}
    assert {*heads.split()} == {"worker", *shown}
    assert all(len(line) <= 80 and "…" not in line for line in lines)


@pytest.mark.parametrize("lines_max", [24, 40, 60])
def test_a_large_fleet_fits_the_terminal_and_says_how_many_are_not_shown(lines_max: int) -> None:
    nodes = [NodeLine(node_id=f"n-{number:04}", state="ready") for number in range(3000)]
    lines = drawn(look(*nodes), NodeOrder.NAME, lines_max=lines_max)
    assert len(lines) <= lines_max
    shown = sum(line.startswith("n-") for line in lines)
    assert shown >= 3
    assert f"and {3000 - shown} more" in "\n".join(lines)


@pytest.mark.parametrize(
    ("order", "first"),
    [(NodeOrder.NAME, "a"), (NodeOrder.USE, "b"), (NodeOrder.BEAT, "c")],
)
def test_nodes_come_in_the_order_that_was_asked_for(order: NodeOrder, first: str) -> None:
    nodes = [
        NodeLine(node_id="c", held=1, slots_max=4, heartbeat_age_ms=900.0),
        NodeLine(node_id="b", held=2, slots_max=2, heartbeat_age_ms=20.0),
        NodeLine(node_id="a", slots_max=2, heartbeat_age_ms=10.0),
    ]
    lines = drawn(look(*nodes), order, lines_max=50)
    listed = [line.split()[0] for line in lines if line[:2].strip() in {"a", "b", "c"}]
    assert listed[0] == first


async def test_keys_are_read_without_return_and_the_terminal_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, closefd=True) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        before = termios.tcgetattr(theirs)
        with pressed_keys() as keys:
            os.write(ours, b"uq")
            async with asyncio.timeout(10):
                assert [await keys.next(10), await keys.next(10)] == ["u", "q"]
            assert await keys.next(0.01) == ""
        assert termios.tcgetattr(theirs) == before
        with pressed_keys() as keys:
            os.kill(os.getpid(), signal.SIGTERM)
            assert await keys.next(10) == "q"
            assert keys.is_told_to_end
        assert termios.tcgetattr(theirs) == before
    os.close(ours)
