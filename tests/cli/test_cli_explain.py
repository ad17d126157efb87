"""explain, where, why-not, coverage: a real service with two workers, and canned processes."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from live.commands import Processes, invoke, run, started_node

from pointsman.testing import RunningService
from pointsman_wire.messages import Breakdown
from pointsman_wire.queries.explain_messages import (
    CandidateView,
    Coverage,
    CoverageQuery,
    DecisionView,
    Explained,
    ExplainQuery,
    JobView,
    LegView,
    ReplayView,
    SkipView,
    Where,
    WhereQuery,
    WhyNot,
    WhyNotQuery,
)

SPANISH = ["--exec", "tr a-z A-Z", "--services", "nmt", "--nmt", "en:es", "--max-concurrency", "2"]
FRENCH = ["--exec", "tr a-z A-Z", "--services", "nmt", "--nmt", "en:fr", "--max-concurrency", "2"]
JOB = ["--services", "nmt", "--src", "en", "--tgt", "es"]


@pytest.fixture(scope="module")
def nodes(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two nodes for Spanish, one for French."""
    folder = tmp_path_factory.mktemp("nodes")
    with (
        started_node(service, folder / "a", "--node-id", "es-1", *SPANISH),
        started_node(service, folder / "b", "--node-id", "es-2", *SPANISH),
        started_node(service, folder / "c", "--node-id", "fr-1", *FRENCH),
    ):
        yield


def at(service: RunningService) -> list[str]:
    return ["--instance", service.instance, "--runtime-dir", str(service.runtime_dir)]


def submitted(service: RunningService, *options: str) -> str:
    """Have a job done, or refused; return its request id."""
    request_id = f"r-{os.urandom(6).hex()}"
    wanted = ["--server", service.address, "--request-id", request_id, "--text", "hello"]
    run("submit", *wanted, "--src", "en", *options)
    return request_id


def asked(service: RunningService, *command: str) -> Any:
    """What a command answers as JSON."""
    ended = run(*command, *at(service), "--json")
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.usefixtures("nodes")
def test_a_job_is_explained_and_replayed_by_the_worker_that_placed_it(
    service: RunningService,
) -> None:
    ids = [submitted(service, "--tgt", "es") for _ in range(6)]
    workers = set()
    for request_id in ids:
        ended = run("explain", request_id, "--replay", *at(service))
        assert ended.returncode == 0, ended.stderr
        assert f"request        {request_id}" in ended.stdout
        assert "job            nmt en->es" in ended.stdout
        assert "took the job" in ended.stdout
        assert "replay         equal" in ended.stdout
        found = asked(service, "explain", request_id, "--replay")["workers"]
        ((worker, answer),) = found.items()
        workers.add(worker)
        (decision,) = answer["decisions"]
        assert decision["node_id"] in ("es-1", "es-2")
        assert decision["replay"] == {"equal": True, "differences": [], "notes": []}
        assert answer["jobs"][0]["state"] == "completed"
    assert workers <= {"worker-0", "worker-1"}


@pytest.mark.usefixtures("nodes")
def test_a_refusal_is_explained_with_its_reasons(service: RunningService) -> None:
    request_id = submitted(service, "--tgt", "ja", "--wait", "0")
    ended = run("explain", request_id, "--replay", *at(service))
    assert ended.returncode == 0, ended.stderr
    assert "nobody: NO_AVAILABLE_NODE" in ended.stdout
    assert "lang pair unsupported" in ended.stdout
    assert "replay         equal" in ended.stdout


def test_a_request_that_nobody_remembers_is_said_to_be_unknown(service: RunningService) -> None:
    ended = run("explain", "never-heard-of", *at(service))
    assert ended.returncode == 1
    assert "no decision about request 'never-heard-of' is kept" in ended.stderr


@pytest.mark.usefixtures("nodes")
def test_a_dry_run_says_where_a_job_would_go_and_reserves_nothing(service: RunningService) -> None:
    answer = asked(service, "where", *JOB)
    assert answer["decision"]["node_id"] in ("es-1", "es-2")
    ended = run("where", *JOB, *at(service))
    assert ended.returncode == 0, ended.stderr
    assert "went to        es-" in ended.stdout
    held = asked(service, "snapshot")["processes"]["worker-0"]["slots_held"]
    assert sum(held) == 0


@pytest.mark.usefixtures("nodes")
def test_an_assumption_shows_what_would_differ(service: RunningService) -> None:
    gone = ["--what-if", "node=es-1:gone", "--what-if", "node=es-2:gone"]
    ended = run("where", *JOB, *gone, *at(service))
    assert ended.returncode == 3
    assert "supposed that es-1 is gone; es-2 is gone:" in ended.stdout
    assert "what differs   nobody (NO_AVAILABLE_NODE" in ended.stdout
    one = asked(service, "where", *JOB, "--what-if", "node=es-1:gone")
    assert one["then"]["node_id"] == "es-2"
    wrong = run("where", *JOB, "--what-if", "es-1 is gone", *at(service))
    assert wrong.returncode == 2
    assert "is no assumption; write such as node=pc-17:up" in wrong.stderr
    assert "docs/protocol.md" not in wrong.stderr


@pytest.mark.usefixtures("nodes")
def test_a_node_is_told_what_it_lacks_for_a_job_and_for_a_request(service: RunningService) -> None:
    ended = run("why-not", "fr-1", *JOB, *at(service))
    assert ended.returncode == 0, ended.stderr
    assert "translation en->es" in ended.stdout
    request_id = submitted(service, "--tgt", "es")
    answer = asked(service, "why-not", "fr-1", request_id)
    failing = [check["reason"] for check in answer["checks"] if not check["passes"]]
    assert failing == ["lang_pair_unsupported"]
    unknown = run("why-not", "ghost", *JOB, *at(service))
    assert unknown.returncode == 2
    assert "no node 'ghost' is known" in unknown.stderr
    never = run("why-not", "fr-1", "never-heard-of", *at(service))
    assert never.returncode == 2
    assert "no record of a request" in never.stderr


@pytest.mark.usefixtures("nodes")
def test_an_owner_sees_why_the_node_gets_no_jobs(service: RunningService) -> None:
    submitted(service, "--tgt", "es")
    answer = asked(service, "why-not", "fr-1")
    assert answer["jobs_seen"] >= 1
    assert answer["jobs_taken"] == 0
    skips = {skip["reason"]: skip for skip in answer["skips"]}
    assert "nmt en->es" in skips["lang_pair_unsupported"]["example"]
    ended = run("why-not", "fr-1", *at(service))
    assert "let it translate these pairs" in ended.stdout


@pytest.mark.usefixtures("nodes")
def test_coverage_counts_live_nodes_and_names_what_hangs_on_one(service: RunningService) -> None:
    answer = asked(service, "coverage")
    lines = {(line["src_lang"], line["tgt_lang"]): line for line in answer["lines"]}
    assert (lines["en", "es"]["nodes"], lines["en", "es"]["slots"]) == (2, 4)
    assert lines["en", "fr"]["node_id"] == "fr-1"
    ended = run("coverage", "--single", *at(service))
    assert "fr-1" in ended.stdout
    assert "es-1" not in ended.stdout


# ---- canned processes

PLACED = DecisionView(
    request_id="r-1",
    session_id="s",
    tenant="acme",
    attempt=2,
    age_ms=61_000.0,
    services=["asr", "nmt"],
    src_lang="auto",
    tgt_lang="es",
    auto_langs=["en", "fr"],
    features=["emotion_detection"],
    labels={"zone": "a"},
    accept_public=False,
    selector="failover",
    node_id="n-1",
    pool="en-es",
    load=0.5,
    score=0.75,
    runner_up="n-2",
    preferred_node="n-9",
    session_decision="replaced",
    bound_before="en-fr",
    eligible_pools=2,
    pool_order=["en-zh", "en-es"],
    pool_count=9,
    fallback_used=True,
    legs=[
        LegView(pool="en-zh", how="sample", candidates=40, looked_at=8),
        LegView(
            pool="en-es",
            how="walk",
            candidates=90,
            looked_at=64,
            passed=2,
            left_out=32,
            digest=7,
            reserved=True,
            nodes=[
                CandidateView(node_id="n-3", held=1, slots_max=2, score=0.5, outcome="full"),
                CandidateView(
                    node_id="n-1", held=1, slots_max=2, foreign=1, slowness=1.5, score=0.75,
                    outcome="ok",
                ),
                CandidateView(node_id="n-2", held=1, slots_max=2, score=0.9),
                CandidateView(node_id="n-4", slots_max=2, reason="owner_paused"),
            ],
        ),
    ],
    legs_left_out=3,
    snapshot_version=12,
    beat_age_ms=40.0,
    taken_us=38.0,
    waited_ms=1500.0,
    replay=ReplayView(equal=False, differences=["row 4 is chosen"], notes=["32 rows are kept so"]),
)  # fmt: skip
WAITING = JobView(
    request_id="r-1",
    job_id="j-1",
    state="pending",
    failovers=1,
    waits=True,
    age_ms=2000.0,
    attempts=["attempt 1 on n-7: no result"],
    breakdown=Breakdown(
        total_nodes=2, best_reason="capacity_exceeded", counts={"capacity_exceeded": 2}
    ),
)


def place(processes: Processes) -> list[str]:
    return ["--runtime-dir", str(processes.runtime_dir)]


def test_everything_about_a_decision_is_shown_and_a_replay_that_differs_ends_with_1(
    processes: Processes,
) -> None:
    processes.add("worker-0", {ExplainQuery: Explained()})
    processes.add("worker-1", {ExplainQuery: Explained(decisions=[PLACED], jobs=[WAITING])})
    ended = invoke("explain", "r-1", "--replay", *place(processes))
    assert ended.exit_code == 1
    for words in (
        "r-1, session s, tenant acme, attempt 2, 61 s ago, worker-1",
        "asr+nmt auto->es, auto = en, fr, features emotion_detection, labels zone=a",
        "preferably n-9, own nodes only",
        "n-1 in pool en-es: another one after a failure",
        "0.50, score 0.75, before n-2",
        "pool en-fr no longer does this pair",
        "in this order: en-zh, en-es and 7 more; 2 pools can do it; the first gave nobody",
        "looked at 8 of 40 candidates of pool en-zh, drawn at random; 0 passed every check",
        "looked at 64 of 90 candidates of pool en-es, in the order of the pool, 32 of them kept",
        "took the job",
        "runner-up",
        "was asked first: full",
        "owner paused",
        "3 looks at other pools in between",
        "version 12, 40 ms after the manager's last sign of life, decided in 38 µs",
        "REPLAY DIFFERS row 4 is chosen",
        "32 rows are kept so",
        "pending, after 1 failover, waits for a node; submitted 2.0 s ago",
        "attempt 1 on n-7: no result",
        "capacity exceeded",
    ):
        assert words in " ".join(ended.stdout.split()) or words in ended.stdout, words


def test_a_worker_that_is_dead_is_named_and_the_others_are_heard(processes: Processes) -> None:
    processes.add("worker-0", {ExplainQuery: Explained(jobs=[WAITING])})
    processes.add_dead("worker-1")
    ended = invoke("explain", "r-1", *place(processes))
    assert ended.exit_code == 0
    assert "no answer" in ended.stderr
    assert "worker-1" in ended.stderr


def test_with_every_worker_dead_that_is_said(processes: Processes) -> None:
    processes.add_dead("worker-0")
    for command in (["explain", "r-1"], ["where"], ["why-not", "n-1"], ["coverage"]):
        ended = invoke(*command, *place(processes))
        assert ended.exit_code == 1
        assert "no process of service 'default' answers" in ended.stderr


def test_what_workers_count_of_a_node_is_added_up(processes: Processes) -> None:
    def told(jobs: int) -> WhyNot:
        skips = [SkipView(reason="owner_paused", jobs=jobs, example="nmt", change="resume it")]
        return WhyNot(
            node_id="n-1", state="ready", jobs_seen=10, jobs_taken=1, jobs_outranked=2,
            jobs_not_drawn=3, skips=skips,
        )  # fmt: skip

    processes.add("worker-0", {WhyNotQuery: told(4)})
    processes.add("worker-1", {WhyNotQuery: told(3)})
    processes.add("worker-2", {WhyNotQuery: WhyNot(node_id="n-1", known=False)})
    ended = invoke("why-not", "n-1", "--json", *place(processes))
    answer = json.loads(ended.stdout)
    assert (answer["jobs_seen"], answer["jobs_taken"]) == (20, 2)
    assert (answer["jobs_outranked"], answer["jobs_not_drawn"]) == (4, 6)
    assert [(skip["reason"], skip["jobs"]) for skip in answer["skips"]] == [("owner_paused", 7)]
    assert "of the latest 20 decisions" in invoke("why-not", "n-1", *place(processes)).stdout


def test_a_node_without_any_decision_yet_is_told_so(processes: Processes) -> None:
    processes.add("worker-0", {WhyNotQuery: WhyNot(node_id="n-1", state="ready")})
    ended = invoke("why-not", "n-1", *place(processes))
    assert "no job has been placed or refused yet" in ended.stdout


def test_a_session_is_asked_about_at_the_worker_that_owns_it(processes: Processes) -> None:
    for number in range(2):
        decision = DecisionView(node_id=f"by-{number}", services=["nmt"])
        processes.add(f"worker-{number}", {WhereQuery: Where(decision=decision)})
    owners = {
        json.loads(invoke("where", "--session", f"s-{n}", "--json", *place(processes)).stdout)[
            "decision"
        ]["node_id"]
        for n in range(12)
    }
    assert owners == {"by-0", "by-1"}


def test_coverage_says_when_not_everything_was_counted(processes: Processes) -> None:
    processes.add("worker-0", {CoverageQuery: Coverage(truncated=True, total=0)})
    ended = invoke("coverage", *place(processes))
    assert "not everything was counted" in ended.stdout
    assert "nobody does any such work now" in ended.stdout
    assert (
        "nothing hangs on a single node" in invoke("coverage", "--single", *place(processes)).stdout
    )


def test_a_label_without_a_value_is_wrong_usage(processes: Processes) -> None:
    processes.add("worker-0", {})
    ended = invoke("where", "--label", "zone", *place(processes))
    assert ended.exit_code == 2
    assert "has no value" in ended.stderr
