"""What workers answered, as rows of the dashboard: summed, bounded, and naming nobody's session."""

from typing import Any

import msgspec

from pointsman_sched.console.admin.views import QueueOfWorker, QueuesView, ReasonsView
from pointsman_sched.console.dashboard.picture import Picture
from pointsman_sched.console.dashboard.work import LINES_MAX, NODES_MAX, Work, WorkTables
from pointsman_wire.queries.explain_messages import CandidateView, DecisionView, LegView
from pointsman_wire.queries.work_messages import JobLine, QueueLine, ReasonLine

SECOND_NS = 1_000_000_000
NOW_NS = 1_000 * SECOND_NS


def work(now_ns: int = NOW_NS, **fields: Any) -> Work:
    queues = fields.get("queues", [])
    reasons = fields.get("reasons", [])
    return Work(
        now_ns=now_ns,
        queues=QueuesView(queues=queues, waiting=0, waiting_bytes=0),
        reasons=ReasonsView(
            reasons=reasons,
            minutes=5,
            refused=3,
            waited=0,
            best_change="start a node",
            best_change_jobs=3,
        ),
        decisions=fields.get("decisions", []),
        jobs=fields.get("jobs", []),
    )


def decision(**fields: Any) -> DecisionView:
    known: dict[str, Any] = {
        "job_id": "j-1",
        "attempt": 1,
        "request_id": "r-1",
        "session_id": "secret-session",
    }
    return DecisionView(**(known | fields))


def told(picture: Picture) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for table, key, value in msgspec.json.decode(picture.after(0).data)["items"]:
        tables.setdefault(table, {})[key] = value
    return tables


def test_what_waits_alike_at_two_workers_is_one_queue() -> None:
    line = QueueLine(services=["nmt"], src_lang="en", tgt_lang="es", priority="default", waiting=2)
    older = msgspec.structs.replace(line, waiting=3, oldest_ms=4_000.0)
    queues = [QueueOfWorker(worker="worker-0", queue=line), QueueOfWorker(worker="w", queue=older)]
    picture = Picture()
    WorkTables().show(picture, work(queues=queues))
    [row] = told(picture)["queue"].values()
    assert (row["waiting"], row["since"], row["src_lang"]) == (5, 996, "en")


def test_a_decision_is_told_once_with_why_and_without_its_session() -> None:
    picture, tables = Picture(), WorkTables()
    first = decision(node_id="desk", services=["nmt"], age_ms=1_400.0, taken_us=99.6)
    tables.show(picture, work(decisions=[first]))
    number = picture.number
    later = msgspec.structs.replace(first, age_ms=3_700.0)
    tables.show(picture, work(NOW_NS + 2 * SECOND_NS, decisions=[later]))
    assert picture.number == number, "it grew older, and nothing else"
    [row] = told(picture)["decision"].values()
    assert row["at"] == 998
    assert (row["node_id"], row["taken_us"]) == ("desk", 100)
    assert b"secret-session" not in picture.after(0).data


def test_the_oldest_jobs_are_kept_and_the_slowest_nodes() -> None:
    jobs = [JobLine(job_id=f"j-{n}", age_ms=1_000.0 * n, state="running") for n in range(30)]
    nodes = [CandidateView(node_id=f"n-{n}", slowness=1.0 + n / 10) for n in range(12)]
    picture = Picture()
    decisions = [decision(legs=[LegView(nodes=nodes)])]
    WorkTables().show(picture, work(jobs=jobs, decisions=decisions))
    tables = told(picture)
    assert set(tables["job"]) == {f"j-{n}" for n in range(30 - LINES_MAX, 30)}
    assert tables["slow"] == {f"n-{n}": round(1 + n / 10, 1) for n in range(12 - NODES_MAX, 12)}


def test_reasons_come_with_what_would_help() -> None:
    line = ReasonLine(outcome="refused", code="NO_AVAILABLE_NODE", reason="no_nodes", jobs=3)
    picture = Picture()
    WorkTables().show(picture, work(reasons=[line]))
    tables = told(picture)
    [row] = tables["reason"].values()
    assert (row["jobs"], row["reason"]) == (3, "no_nodes")
    assert tables["now"]["change"] == {"words": "start a node", "jobs": 3}
