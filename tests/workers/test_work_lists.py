"""What operators see of a worker's work: jobs, queues, decisions, and why jobs were refused."""

from typing import TypeVar

from worker_harness import WorkerHarness, one_node

from pointsman_shm.config import JobsConfig
from pointsman_wire.admin_messages import AdminQuery
from pointsman_wire.errors import Code
from pointsman_wire.messages import Breakdown, Message, error_info
from pointsman_wire.queries.work_messages import (
    Decisions,
    DecisionsQuery,
    Jobs,
    JobsQuery,
    Queues,
    QueuesQuery,
    Reasons,
    ReasonsQuery,
)
from pointsman_workers.operating.reasons import ELSE, KINDS_MAX, MINUTE_NS, ReasonCounts

M = TypeVar("M", bound=Message)


def ask(h: WorkerHarness, query: AdminQuery, kind: type[M]) -> M:
    answer = h.core.answer(query)
    assert isinstance(answer, kind), answer
    return answer


def test_open_jobs_are_listed_by_age_and_page_by_page_and_ended_ones_are_not() -> None:
    _, h = one_node(slots=6)
    node = h.open_lane(3)
    client = h.open_session("s-1", tenant="a")
    client.submit("r-ended")
    node.end(node.assignment())
    for number in range(5):
        client.submit(f"r-{number}")
        node.assignment()
    first = ask(h, JobsQuery(limit=3), Jobs)
    assert [line.request_id for line in first.jobs] == ["r-0", "r-1", "r-2"]
    assert (first.total, first.more) == (5, True)
    assert first.jobs[0].node_id == "node-3"
    rest = ask(h, JobsQuery(limit=3, after=first.jobs[-1].arrival), Jobs)
    assert [line.request_id for line in rest.jobs] == ["r-3", "r-4"]
    assert not rest.more
    assert ask(h, JobsQuery(tenant="b"), Jobs).jobs == []
    assert len(ask(h, JobsQuery(tenant="a", session_id="s-1"), Jobs).jobs) == 5


def test_what_waits_is_listed_by_what_it_asks_for() -> None:
    _, h = one_node(slots=1)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-0")
    node.assignment()
    client.submit("r-1")
    client.submit("r-2", priority="bulk")
    h.advance(0.5)
    queues = ask(h, QueuesQuery(), Queues)
    assert (queues.waiting, queues.total) == (2, 2)
    assert {line.priority for line in queues.queues} == {"default", "bulk"}
    assert all(line.services == ["nmt"] and line.waiting == 1 for line in queues.queues)
    assert all(line.oldest_ms >= 500 for line in queues.queues)
    assert ask(h, QueuesQuery(limit=1), Queues).more


def test_the_latest_decisions_come_first_and_refusals_can_be_asked_for_alone() -> None:
    _, h = one_node(jobs=JobsConfig(wait_none_s=0.0))
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    node.assignment()
    h.advance(1)
    client.submit("r-2", tgt_lang="xx")
    h.advance(1)
    both = ask(h, DecisionsQuery(), Decisions).decisions
    assert [view.request_id for view in both] == ["r-2", "r-1"]
    assert both[0].code == Code.NO_AVAILABLE_NODE
    assert both[1].node_id == "node-3"
    refused = ask(h, DecisionsQuery(refused=True), Decisions).decisions
    assert [view.request_id for view in refused] == ["r-2"]


def test_refusals_are_counted_by_reason_with_what_would_mend_them() -> None:
    _, h = one_node(jobs=JobsConfig(wait_none_s=0.0))
    h.open_lane(3)
    client = h.open_session()
    for number in range(3):
        client.submit(f"r-{number}", tgt_lang="xx")
    client.submit("r-odd", services=["nonsense"])
    h.advance(1)
    told = ask(h, ReasonsQuery(), Reasons)
    assert told.refused == 4
    by_reason = {line.reason: line for line in told.reasons if line.outcome == "refused"}
    missing = by_reason["lang_pair_unsupported"]
    assert (missing.jobs, missing.code) == (3, Code.NO_AVAILABLE_NODE)
    assert "en->xx" in missing.fix
    assert missing.example == "r-2"
    assert by_reason["unsupported_feature"].jobs == 1


def test_a_wait_is_counted_as_one_and_is_no_refusal() -> None:
    _, h = one_node(slots=1)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-0")
    node.assignment()
    client.submit("r-1")
    told = ask(h, ReasonsQuery(), Reasons)
    assert (told.refused, told.waited) == (0, 1)
    assert [(line.outcome, line.reason) for line in told.reasons] == [("waited", "all_busy")]


def test_reasons_are_forgotten_by_the_minute() -> None:
    counts = ReasonCounts()
    error = error_info(Code.RATE_LIMITED, "too many")
    for minute in range(4):
        counts.note_refused(minute * MINUTE_NS, error, f"r-{minute}")
    assert counts.tell(3 * MINUTE_NS, 1).refused == 1
    assert counts.tell(3 * MINUTE_NS, 3).refused == 3
    assert counts.tell(30 * MINUTE_NS, 15).refused == 0
    for minute in range(4, 100):
        counts.note_refused(minute * MINUTE_NS, error, "r")
    assert counts.tell(99 * MINUTE_NS, 60).refused == 60
    assert counts.tell(99 * MINUTE_NS, 90).refused == 60


def test_a_flood_of_different_reasons_is_counted_together_above_a_bound() -> None:
    counts = ReasonCounts()
    for number in range(KINDS_MAX + 50):
        breakdown = Breakdown(total_nodes=1, best_reason=f"reason {number}", counts={})
        error = error_info(Code.NO_AVAILABLE_NODE, "nobody", breakdown=breakdown)
        counts.note_refused(0, error, f"r-{number}")
    told = counts.tell(0, 1)
    assert told.refused == KINDS_MAX + 50
    assert told.reasons[0].reason == ELSE
    assert told.reasons[0].jobs == 51
    assert len(told.reasons) == KINDS_MAX
