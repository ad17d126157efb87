"""A decision and a page of the node list cost the same with 10,000 nodes as with 100 (T21).

What is counted are calls of functions, Python's and the interpreter's own: the same on a busy
machine as on a quiet one.  A built-in that runs over the fleet would count as one; times, which
would show it, are measured by bench/decisions.py.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest
from manager_harness import Harness, config_with, registration
from placement.yard import EN_ES, Yard

from pointsman_sched.core.queries import answer
from pointsman_wire.admin_messages import Nodes, NodesQuery
from pointsman_wire.lane_messages import Assign

FEW, MANY = 100, 10_000
DECISIONS = 200


def calls_of(act: Callable[[], object]) -> int:
    """Count the calls that something takes."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def decisions(node_count: int) -> list[int]:
    """Place jobs in a fleet of so many nodes; return the calls of each, fewest first."""
    yard = Yard(max_nodes=node_count)
    yard.add(*[EN_ES] * node_count, slots=4)
    client = yard.own_client()
    counts = []
    for number in range(DECISIONS):
        counts.append(calls_of(partial(client.submit, f"r-{number}")))
        yard.harness.now_ns += 1_000_000
    placed = [yard.harness.take(node.connection, Assign) for node in yard.nodes.values()]
    assert sum(map(len, placed)) == DECISIONS
    return sorted(counts)


@pytest.mark.slow
def test_t21_a_decision_among_10000_nodes_takes_what_one_among_100_takes() -> None:
    few, many = decisions(FEW), decisions(MANY)
    median, p99 = DECISIONS // 2, DECISIONS * 99 // 100
    assert many[median] <= 1.1 * few[median]
    assert many[p99] <= 1.5 * few[p99]


def listed(h: Harness, query: NodesQuery) -> tuple[Nodes, int]:
    return answered(partial(answer, h.core.state), query)


def answered(ask: Callable[[NodesQuery], object], query: NodesQuery) -> tuple[Nodes, int]:
    """Return the page, and the calls that it took."""
    found: list[object] = []
    count = calls_of(lambda: found.append(ask(query)))
    (page,) = found
    assert isinstance(page, Nodes)
    return page, count


@pytest.mark.slow
def test_t21_a_page_of_the_node_list_of_10000_takes_what_one_of_100_takes() -> None:
    counts = []
    for size in (FEW, MANY):
        h = Harness(config_with(max_nodes=size), is_checked=False)
        for number in range(size):
            h.join(registration(f"n{number:06}"))
        page, count = listed(h, NodesQuery(limit=50, after="n000040"))
        assert [line.node_id for line in page.nodes] == [f"n{41 + n:06}" for n in range(50)]
        assert (page.total, page.more) == (size, True)
        counts.append(count)
    assert counts[1] <= 1.1 * counts[0]


@pytest.mark.slow
def test_t21_without_a_manager_only_the_first_page_of_a_workers_list_looks_at_the_whole_fleet() -> (
    None
):
    counts = []
    for size in (FEW, MANY):
        yard = Yard(max_nodes=size)
        yard.add(*[EN_ES] * size, slots=4)
        core = yard.harness.core
        first, _ = answered(core.answer, NodesQuery(limit=50))
        page, count = answered(core.answer, NodesQuery(limit=50, after=first.nodes[-1].node_id))
        names = [line.node_id for line in (*first.nodes, *page.nodes)]
        assert names == sorted(f"node-{row}" for row in range(size))[:100]
        assert (page.total, page.more) == (size, size > 100)
        one, _ = answered(core.answer, NodesQuery(limit=1, node_id=names[7]))
        assert ([line.node_id for line in one.nodes], one.more) == ([names[7]], False)
        counts.append(count)
    assert counts[1] <= 1.1 * counts[0]
