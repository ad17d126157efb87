"""Samples that jobs of one turn share: as good as samples of their own, and told as truly."""

from collections import Counter

import pytest
from explain.told import explained, fleet_of, the_one
from msgspec.structs import replace
from worker_harness import SECOND_NS, Host, Node, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.memory.ledger import OwnLedger
from pointsman_wire.lane_messages import Assign
from pointsman_wire.link import Closed, Frame, Received
from pointsman_wire.session_messages import Submit
from pointsman_workers.placement.trail import NO_ROW


class Racer:
    """Worker 1, that takes a slot where worker 0 would go next, while that takes its first one."""

    stolen = NO_ROW

    def __init__(self, host: Host) -> None:
        self._host = host
        self._own = OwnLedger(host.ledger, 1)

    def fence(self) -> None:
        """Worker 0 has said which slot it wants."""
        if self.stolen == NO_ROW:
            standing = self._host.rows.standing
            [first] = [row for row in range(8) if self._host.ledger.held(row)]
            self.stolen = (first + 1) % 8  # a sample of all goes round
            self._own.reserve(self.stolen, standing, standing[self.stolen])


def submits(first: int, count: int) -> list[Frame]:
    """Requests of one kind."""
    return [
        (Submit(request_id=f"r-{n}", services=["nmt"], src_lang="en", tgt_lang="es"), b"x")
        for n in range(first, first + count)
    ]


def given(harness: WorkerHarness, nodes: list[Node]) -> Counter[int]:
    """How many jobs each row has got since the last look."""
    return Counter({row: len(harness.take(n.connection, Assign)) for row, n in enumerate(nodes)})


def looked_at(harness: WorkerHarness, job_count: int) -> list[int]:
    """How many nodes were looked at for each job, which its replay confirms."""
    views = [the_one(harness, f"r-{number}") for number in range(1, 1 + job_count)]
    for view in views:
        assert view.replay is not None
        assert view.replay.equal, view.replay.differences
    return [view.legs[0].looked_at for view in views]


def test_jobs_of_one_read_share_samples_that_are_large_enough_for_them() -> None:
    harness, nodes = fleet_of(100, slots=2)
    connection = harness.open_session().connection
    draws = harness.core.shard.fleet.draws
    drawn_before = draws.counter
    harness.feed(Received(connection, submits(1, 20)))
    assert draws.counter - drawn_before == 3 + 2, "eight jobs a sample, and two session decisions"
    assert sum(given(harness, nodes).values()) == 20
    assert looked_at(harness, 20) == [32] * 20


def test_samples_grow_with_the_jobs_that_come_one_by_one_in_a_turn() -> None:
    harness, nodes = fleet_of(100, slots=2)
    connection = harness.open_session().connection
    harness.feed(*[Received(connection, submits(number, 1)) for number in range(1, 23)])
    assert sum(given(harness, nodes).values()) == 22
    assert looked_at(harness, 22) == [8] * 2 + [16] * 4 + [32] * 16
    harness.feed(Received(connection, submits(23, 1)))
    assert looked_at(harness, 23)[-1] == 8, "a turn of its own begins anew"


@pytest.mark.parametrize(("sample_size", "expected"), [(1, 1), (4, 4), (7, 7), (12, 32), (64, 64)])
def test_samples_that_are_wished_small_or_large_stay_so(sample_size: int, expected: int) -> None:
    harness, _ = fleet_of(100, slots=2, sample_size=sample_size)
    connection = harness.open_session().connection
    harness.feed(Received(connection, submits(1, 12)))
    assert looked_at(harness, 12) == [expected] * 12


def test_replays_come_out_the_same_where_samples_have_nobody_left_for_their_jobs() -> None:
    harness, nodes = fleet_of(100, slots=1)
    connection = harness.open_session().connection
    harness.feed(Received(connection, submits(1, 100)))
    assert given(harness, nodes) == dict.fromkeys(range(100), 1)
    assert looked_at(harness, 100)
    assert any(len(the_one(harness, f"r-{number}").legs) > 1 for number in range(1, 101))


@pytest.mark.parametrize("before", [1, 2, 3])
def test_replays_come_out_the_same_where_nodes_are_as_good_as_others_again(before: int) -> None:
    """Which one is next is then said by the order of the sample, here as there."""
    harness, _ = fleet_of(4, slots=4)
    connection = harness.open_session().connection
    for number in range(1, 1 + before):
        harness.feed(Received(connection, submits(number, 1)))
    harness.feed(Received(connection, submits(1 + before, 12)))
    assert looked_at(harness, 12 + before)


def test_a_sample_of_everybody_serves_a_job_for_each() -> None:
    harness, nodes = fleet_of(8, slots=2)
    connection = harness.open_session().connection
    harness.feed(Received(connection, submits(1, 16)))
    assert harness.core.shard.fleet.draws.counter == 2 + 2
    assert given(harness, nodes) == dict.fromkeys(range(8), 2)


def test_a_turn_of_its_own_has_a_sample_of_its_own() -> None:
    harness, _ = fleet_of(20, slots=2)
    connection = harness.open_session().connection
    for number in (1, 2):  # the session decides for its pool, and finds that it keeps it
        harness.feed(Received(connection, submits(number, 1)))
    draws = harness.core.shard.fleet.draws
    drawn_before = draws.counter
    for number in range(3, 8):
        harness.feed(Received(connection, submits(number, 1)))
    assert draws.counter - drawn_before == 5


def test_jobs_of_one_turn_are_all_counted_whether_they_were_decided_again_or_not() -> None:
    harness, _ = fleet_of(20, slots=2)
    connections = [harness.open_session().connection for _ in range(2)]
    harness.feed(
        Received(connections[0], submits(1, 5)),
        Received(connections[1], submits(1, 5)),
        Received(connections[0], submits(6, 2)),
    )
    harness.advance(1.0)
    counters = harness.core.shard.setup.memory.stats.read().counters
    assert counters["decisions"] == counters["jobs_accepted"] == 12
    assert counters["pool_attempts_ok"] == counters["reserve_ok"] == counters["pool_hits"] == 12
    assert counters["session_first"] == 2
    assert counters["session_hits"] == 10


def test_a_job_with_wishes_of_its_own_amid_a_turn_gets_what_it_wishes() -> None:
    harness, nodes = fleet_of(8, slots=16)
    connection = harness.open_session().connection
    plain = submits(1, 12)
    shunned = "node-5"
    frames: list[Frame] = []
    for number, frame in enumerate(plain):
        frames.append(frame)
        submit = frame[0]
        assert isinstance(submit, Submit)
        apart = replace(submit, request_id=f"apart-{number}", exclude=[shunned])
        frames.append((apart, b"x"))
    harness.feed(Received(connection, frames))
    assert sum(given(harness, nodes).values()) == 24
    for number in range(12):
        view = the_one(harness, f"apart-{number}")
        assert view.node_id != shunned
        assert view.replay is not None
        assert view.replay.equal, view.replay.differences
    assert any(the_one(harness, f"r-{number}").node_id == shunned for number in range(1, 13))


def test_a_lane_that_breaks_amid_a_turn_gets_nothing_of_the_rest_of_it() -> None:
    harness, nodes = fleet_of(8, slots=8)
    connection = harness.open_session().connection
    broken = Closed(nodes[3].connection)
    first, rest = submits(1, 1), submits(2, 24)
    harness.feed(Received(connection, first), broken, Received(connection, rest))
    got = given(harness, nodes)
    assert sum(got.values()) == 25
    assert got[3] <= 1, "what came before it broke"
    assert max(got.values()) <= 4


def test_what_another_worker_took_meanwhile_is_not_taken_a_second_time() -> None:
    host = Host(Config(), worker_count=2)
    for row in range(8):
        host.node(row)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    nodes = [harness.open_lane(row) for row in range(8)]
    connection = harness.open_session().connection
    racer = Racer(host)
    harness.core.shard.fleet.own = OwnLedger(host.ledger, 0, racer.fence)
    harness.feed(Received(connection, submits(1, 8)))
    got = given(harness, nodes)
    assert got[racer.stolen] == 0
    assert sum(got.values()) == 7
    assert harness.core.shard.waiting.count == 1
    for number in range(1, 9):
        for view in explained(harness, f"r-{number}"):
            assert view.replay is not None
            assert view.replay.equal, view.replay.differences
