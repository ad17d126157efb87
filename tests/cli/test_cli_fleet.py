"""`nodes`, `snapshot`, `status` and the like: who is asked, and what is said of the dead."""

import json

import pytest
from live.commands import Processes, invoke

from pointsman.cli.fleet import asking
from pointsman_wire.admin_messages import (
    NodeLine,
    Nodes,
    NodesQuery,
    SessionLine,
    Sessions,
    SessionsQuery,
    SnapshotQuery,
    SnapshotView,
    Status,
    StatusQuery,
)
from pointsman_wire.queries.job_messages import PoisonJobs, PoisonLine, PoisonQuery

STUDIO = NodeLine(
    node_id="studio",
    state="ready",
    services=["asr", "tts"],
    languages=f"asr en; tts {' '.join(f'l{number}' for number in range(30))}",
    pools=["en-es"],
    held=1,
    slots_max=4,
    cpu_percent=12.0,
    heartbeat_age_ms=250.0,
    reason="its lanes are up",
)
DESK = NodeLine(node_id="desk", state="suspect", reason="no heartbeat")
MODELS = NodeLine(
    node_id="models",
    state="ready",
    services=["chat", "embed"],
    reason="paused by its owner: a game runs",
    paused=True,
)


def page(*nodes: NodeLine) -> Nodes:
    return Nodes(nodes=list(nodes), total=len(nodes), snapshot_version=7, snapshot_age_ms=1500.0)


def view(*, manager_alive: bool = True) -> SnapshotView:
    return SnapshotView(
        version=7,
        age_ms=1500.0,
        beat_age_ms=40.0,
        nodes=2,
        nodes_by_state={"ready": 1, "suspect": 1},
        classes=2,
        pools={"en-es": 2},
        pool_mode="language",
        slots_total=4,
        slots_held=[1, 2],
        manager_alive=manager_alive,
    )


def at(processes: Processes) -> list[str]:
    return ["--runtime-dir", str(processes.runtime_dir)]


# ---- nodes


def test_a_node_shows_services_that_know_no_languages_and_why_it_pauses(
    processes: Processes,
) -> None:
    processes.add("manager", {NodesQuery: page(MODELS, STUDIO)})
    ended = invoke("nodes", *at(processes))
    assert "chat; embed" in ended.stdout
    assert "ready: paused by its owner: a game runs" in ended.stdout
    assert "its lanes are up" not in ended.stdout


def test_nodes_are_listed_by_the_manager(processes: Processes) -> None:
    processes.add("manager", {NodesQuery: page(DESK, STUDIO)})
    processes.add("worker-0", {NodesQuery: page()})
    ended = invoke("nodes", *at(processes))
    assert ended.exit_code == 0
    assert "studio" in ended.stdout
    assert "tts 30 languages" in ended.stdout
    assert "suspect: no heartbeat" in ended.stdout
    assert "1/4" in ended.stdout
    assert "2 nodes" in ended.stdout
    assert "said by manager" in ended.stdout
    assert ended.stderr == ""


def test_with_the_manager_dead_a_worker_lists_the_nodes_and_that_is_said(
    processes: Processes,
) -> None:
    processes.add_dead("manager")
    processes.add_dead("worker-0")
    processes.add("worker-1", {NodesQuery: page(STUDIO)})
    ended = invoke("nodes", *at(processes))
    assert ended.exit_code == 0
    assert "said by worker-1" in ended.stdout
    assert "the manager does not answer" in ended.stderr
    assert "1.5 s old" in ended.stderr


def test_nodes_as_json_have_every_field_and_say_who_answered(processes: Processes) -> None:
    processes.add_dead("manager")
    processes.add("worker-0", {NodesQuery: page(DESK)})
    ended = invoke("nodes", "--json", *at(processes))
    data = json.loads(ended.stdout)
    assert data["answered_by"] == "worker-0"
    assert data["manager_alive"] is False
    assert data["nodes"][0]["node_id"] == "desk"
    assert data["nodes"][0]["slots_max"] == 0
    assert set(data["nodes"][0]) == set(NodeLine.__struct_fields__)


def test_a_fleet_without_nodes_says_what_to_start(processes: Processes) -> None:
    processes.add("manager", {NodesQuery: page()})
    ended = invoke("nodes", *at(processes))
    assert ended.exit_code == 0
    assert "pointsman node --engines speech" in ended.stdout


def test_more_nodes_than_the_limit_are_counted(processes: Processes) -> None:
    more = Nodes(nodes=[STUDIO], total=5, more=True)
    processes.add("manager", {NodesQuery: more})
    assert "5 nodes, 1 of them shown" in invoke("nodes", "--limit", "1", *at(processes)).stdout


# ---- who is not there


def test_where_nothing_runs_it_says_how_to_start_a_service(processes: Processes) -> None:
    ended = invoke("nodes", *at(processes))
    assert ended.exit_code == 1
    assert "no service 'default' is running" in ended.stderr
    assert "pointsman serve" in ended.stderr


def test_another_place_is_answered_with_the_places_where_one_runs(processes: Processes) -> None:
    processes.add("manager", {StatusQuery: Status(process="manager", pid=1, uptime_s=1.0)})
    other = processes.runtime_dir.with_name("other")
    ended = invoke("nodes", "--runtime-dir", str(other))
    assert ended.exit_code == 1
    assert f"--runtime-dir {processes.runtime_dir}" in ended.stderr


def test_another_name_is_answered_with_the_names_that_run(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.add("manager", {StatusQuery: Status(process="manager", pid=1, uptime_s=1.0)})
    folder = processes.runtime_dir.parent
    monkeypatch.setattr(asking, "default_runtime_dir", lambda instance: folder / instance)
    ended = invoke("nodes", "--instance", "other")
    assert ended.exit_code == 1
    assert "--instance default" in ended.stderr


def test_sockets_of_the_dead_are_no_service(processes: Processes) -> None:
    processes.add_dead("manager")
    processes.add_dead("worker-0")
    for command in ("nodes", "snapshot", "status", "sessions", "poison"):
        ended = invoke(command, *at(processes))
        assert ended.exit_code == 1
        assert "no process of service 'default' answers" in ended.stderr
        assert "Traceback" not in ended.output


def test_a_name_that_can_be_none_is_wrong_usage() -> None:
    ended = invoke("nodes", "--instance", "No/Name")
    assert ended.exit_code == 2
    assert "instance name" in ended.stderr


# ---- snapshot, status, sessions


def test_every_process_shows_its_snapshot_and_the_ledger_by_worker(processes: Processes) -> None:
    processes.add("manager", {SnapshotQuery: view()})
    processes.add("worker-0", {SnapshotQuery: view()})
    processes.add("supervisor", {})
    processes.add("console", {})
    ended = invoke("snapshot", *at(processes))
    assert ended.exit_code == 0
    assert not ended.stderr
    assert "snapshot 7 · manager alive" in ended.stdout
    assert ended.stdout.count("3 of 4 (1+2)") == 2
    assert "ready 1, suspect 1" in ended.stdout
    assert "pools (language): en-es 2" in ended.stdout


def test_with_the_manager_dead_the_snapshot_is_still_shown(processes: Processes) -> None:
    processes.add_dead("manager")
    processes.add("worker-0", {SnapshotQuery: view(manager_alive=False)})
    ended = invoke("snapshot", *at(processes))
    assert ended.exit_code == 0
    assert "manager DEAD" in ended.stdout
    assert "no answer" in ended.stderr
    data = json.loads(invoke("snapshot", "--json", *at(processes)).stdout)
    assert data["processes"]["worker-0"]["slots_held"] == [1, 2]
    assert "manager" in data["no_answer"]


def test_status_shows_counters_side_by_side_and_fails_when_somebody_is_silent(
    processes: Processes,
) -> None:
    counters = {"jobs_accepted": 3, "jobs_lost": 0}
    timings = {"decision": {"count": 3.0, "p50": 21.0, "p99": 80.0}}
    status = Status(
        process="worker-0", pid=42, uptime_s=90.0, counters=counters, timings_us=timings
    )
    processes.add("worker-0", {StatusQuery: status})
    ended = invoke("status", *at(processes))
    assert ended.exit_code == 0
    assert "jobs_accepted" in ended.stdout
    assert "jobs_lost" not in ended.stdout
    assert "worker-0 decision" in ended.stdout
    processes.add_dead("worker-1")
    assert invoke("status", *at(processes)).exit_code == 1


def test_sessions_of_all_workers_are_listed(processes: Processes) -> None:
    for worker in (0, 1):
        line = SessionLine(session_id=f"s-{worker}", pair="en>es", pool="en-es", jobs=worker)
        processes.add(f"worker-{worker}", {SessionsQuery: Sessions(sessions=[line], total=1)})
    ended = invoke("sessions", *at(processes))
    assert ended.exit_code == 0
    assert "s-0" in ended.stdout
    assert "2 sessions" in ended.stdout
    data = json.loads(invoke("sessions", "--json", *at(processes)).stdout)
    assert [line["worker"] for line in data["sessions"]] == ["worker-0", "worker-1"]


def test_poison_jobs_of_all_workers_are_listed_newest_first(processes: Processes) -> None:
    for worker in (0, 1):
        line = PoisonLine(
            job_id=f"j-{worker}",
            session_id="s-1",
            request_id=f"r-{worker}",
            nodes=["pc-1", "pc-2"],
            crashes=2,
            attempts=["attempt 1 on pc-1: node_lost: not back within 5 s"],
            ended_ago_s=100.0 - worker,
        )
        processes.add(f"worker-{worker}", {PoisonQuery: PoisonJobs(jobs=[line], total=3)})
    ended = invoke("poison", *at(processes))
    assert ended.exit_code == 0
    assert "failed on pc-1, pc-2, 2 times a node went down" in ended.stdout
    assert "attempt 1 on pc-1: node_lost: not back within 5 s" in ended.stdout
    assert "6 poison jobs, 2 of them shown" in ended.stdout
    data = json.loads(invoke("poison", "--json", *at(processes)).stdout)
    assert [line["request_id"] for line in data["jobs"]] == ["r-1", "r-0"]
