"""Most of the fleet gone at once: one alarm, and nobody is declared dead before it is believed."""

from manager_harness import MS, SECOND, Harness, registration

from pointsman_sched.core.events import Alarm
from pointsman_shm.mass_loss import MassLossGuard
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.link import Connection


def alarms(commands: list[object]) -> list[str]:
    return [command.words for command in commands if isinstance(command, Alarm)]


def beat_all(h: Harness, connections: list[Connection], seconds: int) -> list[object]:
    commands: list[object] = []
    for _ in range(seconds):
        commands += h.advance(SECOND)
        for connection in connections:
            commands += h.beat(connection)
    return commands


def test_the_alarm_is_said_and_counted_once_for_each_loss() -> None:
    """N3."""
    h = Harness()
    connections = [h.make_ready(registration(f"n{n}")) for n in range(6)]
    said = alarms(beat_all(h, connections[:2], 60))
    assert len(said) == 1
    assert said[0].startswith("4 of 6 nodes went silent at once")
    assert h.core.state.stats.read().counters["mass_losses"] == 1
    assert not alarms(beat_all(h, connections, 10))
    assert {h.state(f"n{n}") for n in range(6)} == {NodeState.READY}
    assert len(alarms(beat_all(h, connections[3:5], 20))) == 1
    assert h.core.state.stats.read().counters["mass_losses"] == 2


def test_a_fleet_that_lost_its_connections_at_once_is_given_time_too() -> None:
    """N3: a switch that resets everything is no less a mass loss than one that says nothing."""
    h = Harness()
    connections = [h.make_ready(registration(f"n{n}")) for n in range(5)]
    for connection in connections[1:]:
        h.lose(connection)
    beat_all(h, connections[:1], 30)
    assert {h.state(f"n{n}") for n in range(1, 5)} == {NodeState.SUSPECT}
    for number in (1, 2):
        h.make_ready(registration(f"n{number}"))
    h.advance(1_100 * MS)
    assert {h.state(f"n{n}") for n in (3, 4)} == {NodeState.OFFLINE}, "2 of 5 are no mass"


def test_half_is_no_mass_and_a_loss_that_lasts_is_believed() -> None:
    """N3."""
    guard = MassLossGuard(percent=50, nodes_min=3, hold_ns=300)
    assert not guard.observe(0, 3, 6)
    assert guard.may_declare(0)
    assert guard.observe(10, 4, 6)
    assert not guard.observe(20, 5, 6), "it is the same loss"
    assert not guard.may_declare(309)
    assert guard.may_declare(310)
    guard.observe(320, 3, 6)
    assert guard.may_declare(320)
    assert guard.observe(330, 4, 6)
    assert not guard.may_declare(400)
