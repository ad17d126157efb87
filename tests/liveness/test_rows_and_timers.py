"""What the manager keeps: rows, what workers may act on, deadlines, marks, pauses and drains."""

from manager_harness import SECOND

from pointsman_sched.core.fleet.model_marks import ModelMarks
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.node_timers import TICK_NS, NodeTimers
from pointsman_sched.core.fleet.pauses import Pauses
from pointsman_sched.core.fleet.row_allocator import GENERATION_MAX, RowAllocator
from pointsman_sched.core.fleet.worker_views import EVERYTHING, GONE_AFTER_NS, WorkerViews
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Gauge
from pointsman_shm.snapshot.records import MarkRecord


def applied(version: int) -> StatsPage:
    page = StatsPage(bytearray(StatsPage.size()), create=True)
    page.gauge(Gauge.APPLIED_VERSION, version)
    return page


def test_generations_begin_anew_after_the_last_one() -> None:
    rows = RowAllocator([GENERATION_MAX], lambda row: 0)
    assert rows.take(lambda: EVERYTHING) == (0, 1)


def test_a_freed_row_waits_for_the_publish_of_its_own_page() -> None:
    rows = RowAllocator([0, 0], lambda row: 0)
    for _ in range(2):
        rows.take(lambda: EVERYTHING)
    rows.free(0)
    rows.free(1)
    rows.note_published(lambda row: row == 1, 7)
    assert rows.take(lambda: 7) == (1, 2)
    assert rows.take(lambda: EVERYTHING) is None
    rows.note_published(lambda row: True, 8)
    assert rows.take(lambda: 8) == (0, 2)


def test_some_rows_are_left_to_those_who_may_have_the_last_ones() -> None:
    rows = RowAllocator([0, 0, 0], lambda row: 0)
    assert rows.take(lambda: 0, left_min=2) == (0, 1)
    assert rows.take(lambda: 0, left_min=2) is None
    assert rows.take(lambda: 0) == (1, 1)


def test_slots_that_are_held_in_a_catalog_that_is_new_are_nobodys() -> None:
    for version, free in ((0, (0, 1)), (3, None)):
        rows = RowAllocator([0], lambda row: 1)
        rows.occupy(set(), version)
        assert rows.take(lambda: EVERYTHING) == free


def test_the_oldest_version_is_that_of_the_workers_that_may_act_on_one() -> None:
    """One that has applied none cannot; one that is gone still may for a while."""
    views = WorkerViews((applied(5), applied(9), applied(0)), now_ns=0)
    for worker in range(3):
        views.arrived(worker)
    assert views.applied_version(SECOND) == 5
    views.left(0, SECOND)
    assert views.applied_version(SECOND + GONE_AFTER_NS - 1) == 5
    assert views.applied_version(SECOND + GONE_AFTER_NS) == 9


def test_a_deadline_that_was_replaced_by_a_nearer_one_fires_no_more() -> None:
    timers, node = NodeTimers(), Node("n1", 0, 1, 0)
    timers.file(node, 10 * TICK_NS)
    timers.file(node, 5 * TICK_NS)
    assert timers.take_due(5 * TICK_NS, 10) == [node]
    timers.file(node, 20 * TICK_NS)
    assert timers.take_due(19 * TICK_NS, 10) == []
    assert timers.take_due(20 * TICK_NS, 10) == [node]


def marks() -> ModelMarks:
    """Three of a node within 10 s, each for a minute."""
    return ModelMarks(last_ns=60 * SECOND, per_node_max=3, window_ns=10 * SECOND)


def test_a_mark_that_is_made_once_more_lasts_from_then_and_is_one_mark() -> None:
    table = marks()
    for row, at in ((3, 0), (4, 20), (3, 30)):
        assert table.mark((row, 1, "nmt", ""), at * SECOND)
    assert table.next_end_ns() == 80 * SECOND
    assert table.expire(89 * SECOND) == [(4, 1)]
    assert table.is_marked(3, 1)
    assert table.expire(90 * SECOND) == [(3, 1)]
    assert not table.is_marked(3, 1)


def test_a_node_is_marked_so_often_in_each_window_and_what_is_counted_goes_with_it() -> None:
    table = marks()
    for began in (0, 10, 20):
        made = [table.mark((3, 1, f"s-{n}", ""), began * SECOND + n) for n in range(5)]
        assert made == [True, True, True, False, False]
    assert table.forget(3, 1)
    assert not table.forget(3, 1)
    assert not table._windows


def test_marks_of_a_predecessor_that_are_over_are_none() -> None:
    table = marks()
    table.restore((MarkRecord(3, 1, "nmt", "", 9), MarkRecord(4, 1, "nmt", "", 11)), 10)
    assert (table.is_marked(3, 1), table.is_marked(4, 1)) == (False, True)


def test_of_too_many_drains_the_oldest_order_gives_way() -> None:
    pauses = Pauses(drains_max=2)
    for node_id, until_ns in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        pauses.drain(node_id, until_ns)
    assert pauses.drains == {"a": 3, "c": 4}


def test_a_mode_in_which_nothing_was_paused_is_not_remembered() -> None:
    pauses = Pauses(drains_max=2)
    assert not pauses.change_mode("hash", "language")
    assert pauses.pools_aside == {}
