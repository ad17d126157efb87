"""A pool that has filled up while others have room: who passes it by does not walk it again."""

from explain.told import the_one
from fleet_samples import speech_class
from placement.yard import EN_ES, Yard, labelled

from pointsman_shm.memory.rows import NodeState
from pointsman_wire.session_messages import JobAccepted
from pointsman_workers.placement import selection
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.trail import FREED, WALK, Leg

FULL_NODES = 40
LARGER = speech_class("en", "es", "fr")


def filled(yard: Yard) -> tuple[int, ...]:
    """Two pools, of which the session's own one is full; the rows of that one."""
    yard.add(*[EN_ES] * FULL_NODES)
    rows = tuple(range(FULL_NODES))
    assert yard.rows(FULL_NODES) == dict.fromkeys(rows, 1)
    yard.add(LARGER, slots=64)
    return rows


def legs(yard: Yard) -> list[tuple[int, int]]:
    """How the last decision looked, leg by leg, and at how many nodes."""
    return [(how, len(readings)) for (_, how, _, _), _, readings, _, _ in _trail(yard)]


def _trail(yard: Yard) -> list[Leg]:
    return yard.harness.core.shard.fleet.trail


def the_kind(yard: Yard) -> Kind:
    """The only kind that anybody has asked for."""
    (kind,) = yard.harness.core.shard.kinds._by_requirement.values()
    return kind


def test_a_full_pool_is_walked_once_and_then_only_asked_for_what_was_freed() -> None:
    yard = Yard()
    filled(yard)
    row, _ = yard.place()
    assert row == FULL_NODES
    assert (WALK, 32) in legs(yard)
    for _ in range(8):
        row, _ = yard.place()
        assert row == FULL_NODES
        assert legs(yard)[0] == (FREED, 0)
        assert len(legs(yard)) == 2, "nothing of the full pool, a sample of the other"


def test_a_slot_that_is_freed_in_a_full_pool_goes_to_the_next_job_of_that_pool() -> None:
    yard = Yard()
    yard.add(*[EN_ES] * FULL_NODES)
    held = dict(yard.place() for _ in range(FULL_NODES))
    yard.add(LARGER, slots=64)
    for _ in range(3):
        assert yard.place()[0] == FULL_NODES
    yard.nodes[7].end(held[7])
    yard.nodes[30].end(held[30])
    assert {yard.place()[0], yard.place()[0]} == {7, 30}
    assert legs(yard)[0][0] == FREED
    assert yard.place()[0] == FULL_NODES
    assert yard.place()[0] == FULL_NODES
    assert legs(yard)[0] == (FREED, 0), "what was freed and taken again was seen"


def test_a_slot_that_is_freed_in_another_pool_is_none_of_a_full_one() -> None:
    yard = Yard()
    filled(yard)
    row, job = yard.place()
    assert row == FULL_NODES
    yard.nodes[row].end(job)
    assert yard.place()[0] == FULL_NODES
    assert legs(yard)[0] == (FREED, 0)


def test_a_slot_that_is_freed_at_once_goes_to_the_next_job_although_all_were_full() -> None:
    """At the very instant at which nobody was found."""
    yard = Yard()
    yard.add(EN_ES)
    row, job = yard.place()
    yard.submit(wait_busy_s=0.0)
    assert yard.nodes[row].assignments() == []
    yard.nodes[row].end(job)
    assert yard.place()[0] == row


def test_all_are_busy_where_one_pool_is_full_and_another_has_nobody_who_is_ready() -> None:
    """Whichever is asked last."""
    yard = Yard()
    filled(yard)
    yard.host.stand(FULL_NODES, state=NodeState.DRAINING)
    for _ in range(3):
        yard.submit(wait_busy_s=60.0, wait_none_s=0.0)
    assert len([job for told in yard.own_client().all(JobAccepted) for job in told.jobs]) == 43


def test_who_excludes_a_node_leaves_it_to_the_next_one_that_prefers_its_labels() -> None:
    """At the same instant: what it did not find is not remembered for others."""
    yard = Yard()
    yard.add(labelled(gpu="yes"), slots=4)
    assert yard.rows(2) == {0: 2}
    yard.add(EN_ES, slots=64)
    wished = {"gpu": "yes"}
    assert yard.place(labels_preferred=wished, exclude=["node-0"])[0] == 1
    assert yard.place(labels_preferred=wished)[0] == 0


def test_what_others_free_in_a_full_pool_is_seen_after_a_few_milliseconds() -> None:
    yard = Yard()
    filled(yard)
    assert yard.place()[0] == FULL_NODES
    assert the_kind(yard).full_pools_known
    fleet = yard.harness.core.shard.fleet
    assert fleet.own.release(3)  # as if another worker's job had ended there
    assert yard.place()[0] == FULL_NODES
    yard.advance(selection.FULL_MEMORY_NS / 1e9)
    assert yard.place()[0] == 3


def test_more_freed_slots_than_are_remembered_mean_a_walk() -> None:
    yard = Yard()
    filled(yard)
    assert yard.place()[0] == FULL_NODES
    fleet = yard.harness.core.shard.fleet
    fleet.release_count += len(fleet.released) + 65
    yard.place()
    assert legs(yard)[0][0] != FREED


def test_a_pool_that_was_passed_by_counts_as_busy_when_all_are_full() -> None:
    yard = Yard()
    filled(yard)
    assert yard.place()[0] == FULL_NODES
    (full,) = the_kind(yard).full_pools_known.values()
    assert full.is_busy
    for _ in range(63):
        yard.place()
    refused = yard.refuse()
    assert refused.code == "QUEUE_TIMEOUT", "both pools are busy, and the first was not walked"


def test_a_decision_that_passed_a_full_pool_by_says_so_and_replays() -> None:
    yard = Yard()
    filled(yard)
    yard.place()
    yard.place()
    view = the_one(yard.harness, f"r-{yard._count}")
    assert view.replay is not None
    assert view.replay.equal, view.replay.differences
    assert [leg.how for leg in view.legs] == ["freed", "sample"]
    assert (view.legs[0].looked_at, view.legs[0].candidates) == (0, FULL_NODES)
    assert view.fallback_used
