"""What remembering decisions takes is bounded, and floods do not wash away what matters."""

import msgspec
from explain.told import explained, fleet_of, the_one
from msgspec.structs import replace
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config, ExplainConfig
from pointsman_wire.queries.explain_messages import Explained, ExplainQuery
from pointsman_workers.explain.pages import KeptPages
from pointsman_workers.explain.records import joined
from pointsman_workers.explain.ring import ENTRY_BYTES, GROUP_MAX, Ring

# ---- bounds


SHARED = [msgspec.msgpack.encode([n]) for n in range(2)]


def kept(*values: object) -> bytes:
    """A record of these values, as it is kept."""
    return msgspec.msgpack.encode(values)


def test_a_ring_keeps_within_its_bytes_and_forgets_the_oldest() -> None:
    ring: Ring[str] = Ring(20_000)
    for number in range(1_000):
        ring.put(f"key-{number}", (bytes(100),), SHARED[number % 2])
        assert ring.size <= 20_000
    assert ring.of("key-999") == [joined(kept(bytes(100)), SHARED[1])]
    assert ring.of("key-0") == []
    assert len(ring) + ring.dropped_count == 1_000
    assert len(list(ring)) == len(ring)


def test_a_ring_keeps_the_records_of_a_key_in_order_and_drops_them_by_groups() -> None:
    bytes_max = 5 * GROUP_MAX * (ENTRY_BYTES + 8) // 2
    ring: Ring[str] = Ring(bytes_max)
    count = 2 * GROUP_MAX
    for number in range(count):
        ring.put("ab"[number % 2], (number,), SHARED[0])
        if number == 4:
            assert len(ring) == 5, "who looks at a group ends it"
    found = ring.of("a")
    assert found == [joined(kept(number), SHARED[0]) for number in range(0, count, 2)]
    assert [key for key, _ in ring.latest(3)] == ["b", "a", "b"]
    assert ring.latest(3)[1][1] == found[-1]
    assert ring.dropped_count == 0
    while not ring.dropped_count:
        ring.put("c", ("x",), SHARED[0])
        count += 1
    assert ring.dropped_count == 5, "the whole group that was ended early"
    assert len(ring) == count - 5
    assert ring.size <= bytes_max


def test_a_record_is_found_by_how_many_were_put_after_it() -> None:
    ring: Ring[int] = Ring(100_000)
    for number in range(3 * GROUP_MAX + 1):
        ring.put(number, (number,), SHARED[number // 5 % 2])
    for count in range(3 * GROUP_MAX + 1):
        number = 3 * GROUP_MAX - count
        assert ring.before_latest(count) == joined(kept(number), SHARED[number // 5 % 2])
    assert ring.before_latest(-1) is None
    assert ring.before_latest(3 * GROUP_MAX + 1) is None


def test_equal_records_of_one_key_are_kept_as_two() -> None:
    ring: Ring[str] = Ring(2_000)
    ring.put("a", ("same",))
    ring.put("a", ("same",))
    assert ring.of("a") == [kept("same")] * 2
    assert len(ring) == 2


def test_what_records_share_is_kept_and_counted_once_as_long_as_one_of_them_is_there() -> None:
    ring: Ring[str] = Ring(2_000)
    shared = kept(7)
    ring.put("a", (1,), shared)
    alone = ring.size
    ring.put("b", (2,), shared)
    assert ring.size == alone + (alone - len(shared))
    assert ring.of("b") == [b"\xdc\x00\x02\x02\x07"]
    for _ in range(20):
        ring.put("c", (bytes(100),))
    assert ring.size == len(ring) * (ENTRY_BYTES + 1 + len(kept(bytes(100))))
    assert not ring.of("b")


def test_decisions_keep_within_the_configured_bytes() -> None:
    host = Host(Config(explain=ExplainConfig(bytes_max=64 * 1024)))
    host.node(0, slots=1)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    node = harness.open_lane(0)
    client = harness.open_session("s")
    recorder = harness.core.shard.recorder
    for number in range(400):
        client.submit(f"r-{number}")
        node.end(node.assignment())
        client.submit(f"no-{number}", tgt_lang="ja", wait_none_s=0.0)
        assert recorder.size <= 64 * 1024
    assert explained(harness, "r-399")
    assert not explained(harness, "r-0")
    answer = harness.core.answer(ExplainQuery(request_id="r-399"))
    assert isinstance(answer, Explained)
    assert answer.bytes_kept == recorder.size
    assert answer.decisions_kept + answer.decisions_dropped == 800


def test_a_flood_of_placements_does_not_wash_refusals_away() -> None:
    host = Host(Config(explain=ExplainConfig(bytes_max=64 * 1024)))
    host.node(0, slots=1)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    node = harness.open_lane(0)
    client = harness.open_session("s")
    client.submit("refused", tgt_lang="ja", wait_none_s=0.0)
    for number in range(300):
        client.submit(f"r-{number}")
        node.end(node.assignment())
    assert not explained(harness, "r-0")
    view = the_one(harness, "refused")
    assert view.breakdown is not None


def test_a_flood_of_equal_refusals_keeps_their_answer_once() -> None:
    harness, _ = fleet_of(40)
    client = harness.open_session("s")
    recorder = harness.core.shard.recorder
    client.submit("first", tgt_lang="ja", wait_none_s=0.0)
    size = recorder.size
    for number in range(100):
        client.submit(f"r-{number}", tgt_lang="ja", wait_none_s=0.0)
    assert (recorder.size - size) / 100 < 600
    assert the_one(harness, "r-99").breakdown == the_one(harness, "first").breakdown


def test_kept_pages_are_bounded_by_number_and_by_what_they_take() -> None:
    harness, _ = fleet_of(1)
    kept, host = KeptPages(), harness.host
    fleet = harness.core.shard.fleet
    for version in range(3, 1_200):
        kept.keep(replace(fleet.snapshot, version=version))
    assert kept.of(1_199) is not None
    assert kept.of(3) is None
    assert len(kept) <= 1024
    crowded, pool = KeptPages(), fleet.snapshot.pools.pools[0]
    many = replace(pool, classes=tuple((number, 1, 1) for number in range(4_000)))
    for version in range(1, 100):
        pools = replace(fleet.snapshot.pools, pools=(replace(many, name=f"p{version}"),) * 10)
        crowded.keep(replace(fleet.snapshot, version=version, pools=pools))
    assert 1 <= len(crowded) < 10
    assert crowded.of(99) is not None
    assert host.records
