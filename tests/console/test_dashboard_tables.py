"""What the dashboard makes of a look: sums that add up, and rows that do not change in vain."""

from typing import Any

from fleet_samples import pool, speech_class
from msgspec.structs import replace

from pointsman_sched.console.dashboard import tables
from pointsman_sched.console.dashboard.eye import Look, nodes_of, places_of
from pointsman_sched.console.dashboard.flow import Flow
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows, NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.memory.stats import StatsPage, StatsView
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.memory.waiting import Waiting
from pointsman_shm.snapshot.codec import encode_classes, encode_nodes, encode_pools
from pointsman_shm.snapshot.records import NodeRecord, PoolsPage
from pointsman_shm.snapshot.snapshot import decode_pages, empty_snapshot

NODES_MAX = 256
NOW_NS = 100 * tables.SECOND_NS
CLASSES = [speech_class("en", "es"), speech_class("en", "es", "fr"), speech_class("de", "en")]


class Fleet:
    """A small fleet in plain memory, which can be looked at."""

    def __init__(self) -> None:
        rows_bytes = bytearray(NodeRows.size(NODES_MAX))
        self.rows = NodeRows(rows_bytes, max_nodes=NODES_MAX, create=True)
        size = Ledger.size(max_nodes=NODES_MAX, worker_count=2)
        self.ledger = Ledger(bytearray(size), max_nodes=NODES_MAX, worker_count=2, create=True)
        self.records: list[NodeRecord] = []
        self.waiting: tuple[Waiting, ...] = ()
        self.workers: dict[int, StatsView] = {}

    def add(self, class_number: int, *pools: int, **words: Any) -> int:
        row = len(self.records)
        self.records.append(
            NodeRecord(
                row=row,
                generation=1,
                epoch=1,
                class_number=class_number,
                node_id=f"node-{row}",
                pools=pools,
                slots_max=4,
            )
        )
        self.say(row, **words)
        self.hear(row)
        return row

    def say(
        self,
        row: int,
        *,
        state: NodeState = NodeState.READY,
        flags: RowFlag = RowFlag.PUBLIC,
        held: tuple[int, int] = (0, 0),
    ) -> None:
        self.rows.standing[row] = pack_standing(
            generation=1,
            class_number=self.records[row].class_number,
            state=state,
            flags=flags,
            slots_max=4,
        )
        for worker, count in enumerate(held):
            self.ledger.cells[row * self.ledger.stride + worker] = count

    def hear(self, row: int, *, cpu: int = 255, at_ns: int = NOW_NS) -> None:
        self.rows.load[row] = pack_load(cpu=cpu, gpu=255, gpu_memory=255, memory=255, foreign=0)
        self.rows.heartbeat_at_ns[row] = at_ns

    def look(self) -> Look:
        layout = CatalogLayout(NODES_MAX)
        pages = {
            0: encode_nodes(self.records),
            layout.class_page(0): encode_classes(0, CLASSES),
            layout.pools: encode_pools(PoolsPage("language", (pool(7, 0), pool(8, 1)))),
        }
        snapshot, _ = decode_pages(
            empty_snapshot(layout), pages, layout, version=1, published_at_ns=NOW_NS
        )
        return Look(
            now_ns=NOW_NS,
            snapshot=snapshot,
            places=places_of(self.rows, self.ledger),
            nodes=nodes_of(snapshot, self.rows, self.ledger),
            waiting=self.waiting,
            workers=self.workers,
        )


def worker_page(**counters: int) -> StatsPage:
    page = StatsPage(bytearray(StatsPage.size()), create=True)
    page.introduce(100)
    page.beat(NOW_NS)
    for name, count in counters.items():
        page.add(Counter[name.upper()], count)
    return page


def test_a_node_is_shown_with_its_slots_load_and_silence() -> None:
    fleet = Fleet()
    fleet.hear(fleet.add(0, 7, held=(1, 2)), cpu=43)
    silent = fleet.add(1, 8, state=NodeState.SUSPECT)
    fleet.hear(silent, at_ns=NOW_NS - 4 * tables.SECOND_NS)
    look = fleet.look()
    assert tables.node_rows(look.nodes) == {0: ["node-0", 0, [7], ""], 1: ["node-1", 1, [8], ""]}
    rows = tables.load_rows(look.nodes, NOW_NS)
    assert rows[0] == [NodeState.READY, RowFlag.PUBLIC, 4, 3, 0, 45, -1, -1, 0]
    assert rows[1][0] == NodeState.SUSPECT
    assert rows[1][-1] == 96, "silent since that second"
    assert tables.class_rows(look)[0][:2] == ["asr, nmt, tts", "en es"]


def test_a_heartbeat_or_a_little_more_load_changes_nothing() -> None:
    fleet = Fleet()
    row = fleet.add(0, 7)
    fleet.hear(row, cpu=43, at_ns=NOW_NS - tables.SECOND_NS)
    before = tables.load_rows(fleet.look().nodes, NOW_NS)
    fleet.hear(row, cpu=45)
    assert tables.load_rows(fleet.look().nodes, NOW_NS) == before


def test_a_row_that_is_another_nodes_already_waits_for_its_page() -> None:
    fleet = Fleet()
    fleet.add(0, 7)
    fleet.rows.standing[0] = pack_standing(
        generation=2, class_number=0, state=NodeState.READY, flags=RowFlag(0), slots_max=1
    )
    assert fleet.look().nodes == ()


def test_a_pool_has_the_slots_of_its_ready_nodes_and_the_jobs_one_of_them_could_take() -> None:
    fleet = Fleet()
    fleet.add(0, 7, held=(1, 0))
    fleet.add(0, 7, held=(0, 2))
    fleet.add(0, 7, state=NodeState.DRAINING, held=(4, 0))
    fleet.add(1, 7, 8)
    fleet.waiting = (Waiting(0, 3, 5, NOW_NS, 0, 0b10), Waiting(1, 4, 2, NOW_NS, 0, 0b1))
    assert tables.pool_rows(fleet.look()) == {
        7: ["pool-7", 4, 3, 12, 3, 7],
        8: ["pool-8", 1, 1, 4, 0, 5],
    }


def test_the_sums_count_only_nodes_that_get_jobs() -> None:
    fleet = Fleet()
    fleet.add(0, held=(1, 1))
    fleet.add(0, state=NodeState.OFFLINE, held=(1, 0))
    fleet.add(0, flags=RowFlag.PAUSED)
    states, slots, held = tables.fleet_sums(fleet.look().places)
    assert states == {"ready": 1, "offline": 1, "paused": 1}
    assert (slots, held) == (8, 2)


def test_coverage_tells_a_single_node_and_a_full_one() -> None:
    fleet = Fleet()
    fleet.add(0)
    fleet.add(1, held=(4, 0))
    fleet.add(2, flags=RowFlag.PAUSED)
    look = fleet.look()
    pairs, services, is_cut = tables.pair_rows(tables.stocks_of(look), look.snapshot)
    assert services == ["nmt", "asr+nmt+tts"]
    assert not is_cut
    assert pairs["nmt en>es"] == [2, True]
    assert pairs["asr+nmt+tts en>fr"] == [1, False]
    assert "nmt de>en" not in pairs, "its owner has paused it"
    assert tables.service_rows(tables.stocks_of(look))["tts"] == [2, True]


def test_a_worker_is_shown_with_its_queue_and_the_oldest_that_waits() -> None:
    fleet = Fleet()
    page = worker_page()
    page.gauge(Gauge.SESSIONS, 3)
    page.gauge(Gauge.QUEUE_LENGTH, 2)
    page.gauge(Gauge.PRESSURE_PERCENT, 44)
    fleet.workers = {0: page.read(), 1: replace(page.read(), beat_at_ns=NOW_NS // 2)}
    fleet.waiting = (
        Waiting(0, 3, 1, NOW_NS - 5 * tables.SECOND_NS, 0, 1),
        Waiting(0, 4, 1, NOW_NS - 2 * tables.SECOND_NS, 0, 1),
    )
    look = fleet.look()
    rows = tables.worker_rows(look.workers, look.waiting, NOW_NS)
    assert rows == {0: [True, 3, 0, 2, 95, 0, 40], 1: [False, 3, 0, 2, 0, 0, 40]}


def test_rates_are_what_was_counted_between_two_looks() -> None:
    page, flow = worker_page(jobs_completed=50), Flow()
    assert flow.rates(NOW_NS, {0: page.read()}).done == 0, "nothing is known of before"
    page.add(Counter.JOBS_COMPLETED, 10)
    page.add(Counter.NO_AVAILABLE_NODE, 1)
    page.add(Counter.RATE_REFUSALS, 2)
    page.observe(Timing.SCHEDULING, 90_000, 95)
    page.observe(Timing.SCHEDULING, 9_000_000, 5)
    rates = flow.rates(NOW_NS + 5 * tables.SECOND_NS, {0: page.read()})
    assert (rates.done, rates.refused) == (2.0, 0.6)
    assert 90 <= rates.p95_us <= 115
    successor = replace(worker_page(jobs_completed=1_000).read(), process_id=101)
    assert flow.rates(NOW_NS + 6 * tables.SECOND_NS, {0: successor}).done == 0


def test_percentages_are_told_in_steps() -> None:
    """21 values, whatever nodes report: a heartbeat is rarely news."""
    seen = {tables.load_rows(nodes, NOW_NS)[0][5] for nodes in map(_with_cpu, range(101))}
    assert seen == {*range(0, 101, 5)}


def _with_cpu(cpu: int) -> Any:
    fleet = Fleet()
    fleet.hear(fleet.add(0), cpu=cpu)
    return fleet.look().nodes
