"""The garbage collector never walks the fleet: there is nothing for it to find there."""

import gc

from manager_harness import SECOND, Harness, config_with, registration

from pointsman_sched.manager.garbage import BURST, GarbageKeeper
from pointsman_wire.link import Accepted, Closed, Connection, Received
from pointsman_wire.preamble import Preamble, Role


def test_nodes_that_come_and_go_leave_no_cycles_behind() -> None:
    """Only because of that may what a burst has left be frozen for ever."""
    h = Harness(config_with(max_nodes=512, remember_offline_s=1.0), is_checked=False)
    connections = [Connection(number) for number in range(1, 201)]
    for _ in range(10):  # what earlier tests have left ends in several rounds
        if not gc.collect():
            break
    gc.disable()
    try:
        for connection in connections:
            h.feed(Accepted(connection, Preamble(Role.CONTROL, None), ""))
            h.feed(Received(connection, [(registration(f"n{connection}"), b"")]))
        for connection in connections:
            h.feed(Closed(connection, "gone"))
        h.advance(400 * SECOND)
        h.commands = []
        assert not h.core.state.nodes.by_id
        assert gc.collect() < 10
    finally:
        gc.enable()


def test_no_look_at_a_fleet_that_joins_takes_more_than_a_small_piece_of_it() -> None:
    """A walk of 25,000 objects is seven milliseconds, in the middle of a turn."""
    h = Harness(config_with(max_nodes=1_024), is_checked=False)
    walked: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            ages = range(info["generation"] + 1)
            walked.append(sum(len(gc.get_objects(age)) for age in ages))

    thresholds = gc.get_threshold()
    GarbageKeeper().settle()
    gc.callbacks.append(note)
    try:
        for number in range(1, 1_001):
            connection = Connection(number)
            h.feed(Accepted(connection, Preamble(Role.CONTROL, None), ""))
            h.feed(Received(connection, [(registration(f"n{number}"), b"")]))
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    assert walked
    assert max(walked) < 6_000


def test_what_a_burst_has_left_is_frozen_once_and_a_trickle_is_not() -> None:
    keeper = GarbageKeeper()
    before = gc.get_freeze_count()
    try:
        assert not keeper.look(BURST - 1)
        assert gc.get_freeze_count() == before
        assert keeper.look(BURST)
        assert gc.get_freeze_count() > before
        assert not keeper.look(2 * BURST - 1)
        assert keeper.look(2 * BURST)
    finally:
        gc.unfreeze()
