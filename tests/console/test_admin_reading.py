"""What the admin API reads: asked of several processes, put together, page by page."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from worker_harness import one_node

from pointsman_sched.console.admin.asking import Processes
from pointsman_sched.console.admin.cursors import Cursor, decode_cursor, encode_cursor
from pointsman_sched.console.admin.problems import ApiError, unreachable
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.admin.walking import walk_jobs, walk_sessions
from pointsman_wire.admin_messages import NodeLine, Nodes, SessionLine, Sessions, SessionsQuery
from pointsman_wire.messages import Message
from pointsman_wire.queries.explain_messages import Coverage, CoverageLine, CoverageQuery
from pointsman_wire.queries.work_messages import JobLine, Jobs, JobsQuery, ReasonLine, Reasons

Kind = TypeVar("Kind")
ALL = CoverageQuery()
Answerer = Callable[[str, Message], Message | None]


class Pretended(Processes):
    """Processes that answer by a function; None: this one does not."""

    def __init__(self, answer: Answerer, worker_count: int = 2) -> None:
        super().__init__(Path, worker_count)
        self._answer = answer
        self.asked: list[tuple[str, Message]] = []

    async def one(self, process: str, query: Message, kind: type[Kind]) -> Kind:
        self.asked.append((process, query))
        answer = self._answer(process, query)
        if answer is None:
            raise unreachable(f"{process} is away")
        assert isinstance(answer, kind)
        return answer


def sessions_of(process: str, query: Message) -> Message:
    assert isinstance(query, SessionsQuery)
    ids = [f"{process}-{number}" for number in range(3)]
    later = [name for name in ids if name > query.after]
    lines = [SessionLine(session_id=name) for name in later[: query.limit]]
    return Sessions(sessions=lines, total=3, more=len(later) > query.limit)


async def test_sessions_are_walked_over_all_workers_each_once() -> None:
    processes = Pretended(sessions_of, 3)
    seen: list[str] = []
    cursor = ""
    for _ in range(20):
        page = await walk_sessions(processes, 2, cursor)
        assert len(page.sessions) <= 2
        assert page.total == 9
        seen += [line.session.session_id for line in page.sessions]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == [f"worker-{w}-{number}" for w in range(3) for number in range(3)]


async def test_sessions_of_one_id_in_several_tenants_are_all_listed_wherever_a_page_ends() -> None:
    _, h = one_node()
    for session_id in ("s-1", "s-2"):
        for tenant in ("acme", "other", ""):
            h.open_session(session_id, tenant=tenant)
    processes = Pretended(lambda _, query: h.core.answer(query), 1)
    for limit in range(1, 8):
        seen: list[tuple[str, str]] = []
        page = await walk_sessions(processes, limit)
        for _ in range(8):
            seen += [(line.session.session_id, line.session.tenant) for line in page.sessions]
            if not page.next_cursor:
                break
            page = await walk_sessions(processes, limit, page.next_cursor)
        assert seen == [
            (name, tenant) for name in ("s-1", "s-2") for tenant in ("", "acme", "other")
        ]


async def test_a_worker_that_does_not_answer_is_named_and_the_others_are_listed() -> None:
    def answer(process: str, query: Message) -> Message | None:
        return None if process == "worker-0" else sessions_of(process, query)

    page = await walk_sessions(Pretended(answer), 10)
    assert [line.worker for line in page.sessions] == ["worker-1"] * 3
    assert page.no_answer == {"worker-0": "worker-0 is away"}


async def test_open_jobs_go_on_after_the_last_arrival() -> None:
    def answer(_: str, query: Message) -> Message:
        assert isinstance(query, JobsQuery)
        later = [number for number in range(1, 4) if number > query.after]
        lines = [JobLine(job_id=f"j-{n}", arrival=n) for n in later[: query.limit]]
        return Jobs(jobs=lines, total=3, more=len(later) > query.limit)

    processes = Pretended(answer, 1)
    first = await walk_jobs(processes, JobsQuery(limit=2))
    rest = await walk_jobs(processes, JobsQuery(limit=2), first.next_cursor)
    listed = [line.job.arrival for line in [*first.jobs, *rest.jobs]]
    assert listed == [1, 2, 3]
    assert rest.next_cursor == ""


async def test_with_the_manager_gone_a_worker_lists_the_nodes() -> None:
    def answer(process: str, _: Message) -> Message | None:
        return None if process == "manager" else Nodes(nodes=[NodeLine(node_id="n")], total=1)

    page = await Reading(Pretended(answer)).nodes()
    assert (page.answered_by, page.nodes[0].node_id) == ("worker", "n")


async def test_a_node_that_nobody_knows_is_not_found() -> None:
    reading = Reading(Pretended(lambda *_: Nodes(nodes=[])))
    with pytest.raises(ApiError, match="no node 'x' is known") as caught:
        await reading.node("x")
    assert caught.value.status == 404


async def test_reasons_of_all_workers_are_added_up_and_the_best_single_change_is_named() -> None:
    def answer(process: str, _: Message) -> Message:
        mine = ReasonLine(outcome="refused", code="A", reason="x", fix=f"do {process}", jobs=2)
        both = ReasonLine(outcome="refused", code="B", reason="y", fix="add nodes", jobs=3)
        waited = ReasonLine(outcome="waited", reason="all_busy", jobs=9)
        return Reasons(reasons=[both, mine, waited], minutes=5, refused=5, waited=9)

    found = await Reading(Pretended(answer)).reasons(5)
    assert (found.best_change, found.best_change_jobs) == ("add nodes", 6)
    assert (found.refused, found.waited) == (10, 18)
    assert [line.jobs for line in found.reasons] == [18, 6, 2, 2]


async def test_coverage_goes_on_where_the_page_before_ended() -> None:
    def answer(_: str, query: Message) -> Message:
        assert isinstance(query, CoverageQuery)
        lines = [CoverageLine(service=str(n)) for n in range(5)]
        page = lines[query.offset : query.offset + query.limit]
        return Coverage(lines=page, total=5, more=query.offset + len(page) < 5)

    reading = Reading(Pretended(answer))
    first = await reading.coverage(CoverageQuery(limit=3))
    rest = await reading.coverage(CoverageQuery(limit=3), first.next_cursor)
    assert [line.service for line in [*first.lines, *rest.lines]] == ["0", "1", "2", "3", "4"]
    assert rest.next_cursor == ""


@pytest.mark.parametrize("text", ["x", "!!!!", "é", "aGFsbG8", "a" * 511])
async def test_nonsense_is_no_cursor(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode_cursor(text)
    assert (caught.value.status, caught.value.field) == (400, "cursor")


@pytest.mark.parametrize("key", ["9" * 300, "9" * 19, "-1", "pc-17", "\u0663"])
async def test_a_cursor_of_another_list_is_no_cursor_of_jobs_or_coverage(key: str) -> None:
    cursor = encode_cursor(Cursor(0, key))
    processes = Pretended(lambda _, query: pytest.fail(f"{query} was asked"))
    for asked in (
        walk_jobs(processes, JobsQuery(limit=10), cursor),
        Reading(processes).coverage(ALL, cursor),
    ):
        with pytest.raises(ApiError) as caught:
            await asked
        assert (caught.value.status, caught.value.field) == (400, "cursor")


async def test_a_cursor_of_a_service_with_more_workers_is_refused() -> None:
    with pytest.raises(ApiError, match="another service"):
        await walk_sessions(Pretended(sessions_of, 2), 10, encode_cursor(Cursor(2, "x")))
