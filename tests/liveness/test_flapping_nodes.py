"""Nodes that come and go: each return is dearer, and nobody else pays for it."""

import msgspec
import pytest
from manager_harness import MS, SECOND, START_NS, Harness, config_with, large_fleet, registration

from pointsman_sched.core.fleet.damping import RegistrationDamping
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.fleet.quarantine import Quarantine
from pointsman_shm.config import NodesConfig
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.control_messages import Heartbeat, LanesReady, Registered
from pointsman_wire.errors import Code
from pointsman_wire.link import Accepted, Closed, Connection, Received
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Preamble, Role

CONTROL = Preamble(Role.CONTROL, None)


def damping(**changed: int) -> RegistrationDamping:
    given = {
        "free_max": 2, "backoff_max_ns": 60 * SECOND, "calm_ns": 30 * SECOND, "known_max": 100
    } | changed  # fmt: skip
    return RegistrationDamping(**given)


def test_n8_waits_double_from_one_second_to_a_minute() -> None:
    table, now_ns, waits = damping(), 0, []
    for _ in range(11):
        table.admitted("n1", now_ns)
        wait_ns = table.wait_ns("n1", now_ns)
        waits.append(wait_ns // SECOND)
        now_ns += wait_ns
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_n8_the_wait_counts_from_the_registration_and_refused_tries_do_not_lengthen_it() -> None:
    table = damping(free_max=1)
    table.admitted("n1", 0)
    table.admitted("n1", 0)
    assert [table.wait_ns("n1", at * MS) // MS for at in (0, 400, 999, 1_000)] == [1_000, 600, 1, 0]


def test_n8_a_calm_node_is_as_good_as_new_and_a_waiting_one_is_not_calm() -> None:
    table, now_ns = damping(free_max=1), 0
    for _ in range(5):
        now_ns += table.wait_ns("n1", now_ns)
        table.admitted("n1", now_ns)
    assert table.wait_ns("n1", now_ns) == 8 * SECOND
    now_ns += 37 * SECOND
    table.admitted("n1", now_ns)
    assert table.wait_ns("n1", now_ns) == 16 * SECOND, "8 s of waiting, and not 30 s of calm"
    now_ns += 46 * SECOND
    table.admitted("n1", now_ns)
    assert table.wait_ns("n1", now_ns) == 0


def test_i9_the_table_is_bounded_and_forgets_who_is_calm() -> None:
    table = damping(known_max=10)
    for number in range(50):
        table.admitted(f"n{number}", 0)
    assert len(table) == 10
    table.admitted("late", 31 * SECOND)
    assert len(table) == 1


@pytest.mark.parametrize("free", [1, 4])
def test_n8_a_flapping_node_is_told_when_to_come_back(free: int) -> None:
    h = Harness(config_with(flap_free_max=free, flap_backoff_max_s=3.0, flap_calm_s=5.0))
    for _ in range(free + 1):
        h.lose(h.make_ready())
    h.join()
    (error,) = h.sent(Error)
    assert (error.error.code, error.error.retryable) == (Code.RATE_LIMITED, True)
    assert error.error.retry_after_ms == 1_001
    assert h.node().reason == "flapping: it comes and goes, and is kept away for 1 s"
    h.advance(SECOND)
    h.make_ready()
    assert h.state() == NodeState.READY
    for _ in range(8):  # its calm
        h.advance(SECOND)
        h.beat(h.node().connection or Connection(0))
    h.lose(h.node().connection or Connection(0))
    h.make_ready()
    assert h.state() == NodeState.READY


def test_n8_the_knobs_are_kept_within_bounds() -> None:
    for wrong in ({"flap_free_max": 0}, {"flap_backoff_max_s": 0.0}, {"quarantine_s": -1.0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, NodesConfig)


class FlappingFleet:
    """200 nodes of which 20 come and go, each trying again after a second or as it is told."""

    def __init__(self) -> None:
        self.h = Harness(config_with(max_nodes=256), is_checked=False)
        self.registered = self.refused = 0
        self.steady = [self.h.make_ready(registration(f"s{n}")) for n in range(180)]
        self.flappers = {f"f{n}": 0 for n in range(20)}  # when each tries next
        self.standing: dict[str, Connection] = {}

    def second(self) -> None:
        """One second: heartbeats of the steady, and of each flapper a break or a try."""
        h = self.h
        for tenth in range(10):
            h.now_ns += 100 * MS
            beats = self.steady[tenth::10]
            h.feed(*(Received(c, [(Heartbeat(), b"")]) for c in beats))
        for name in [n for n, at in self.flappers.items() if at <= h.now_ns]:
            self.flap(name)
        while (due_ns := h.core.next_deadline_ns()) is not None and due_ns <= h.now_ns:
            h.feed()

    def flap(self, name: str) -> None:
        h = self.h
        standing = self.standing.pop(name, None)
        if standing is not None:
            h.feed(Closed(standing, "flap"))
        connection = h.join(registration(name))
        if h.sent(Registered):
            self.registered += 1
            self.standing[name] = connection
            self.flappers[name] = h.now_ns + SECOND
        else:
            self.refused += 1
            (error,) = h.sent(Error)
            assert error.error.retry_after_ms is not None
            self.flappers[name] = h.now_ns + error.error.retry_after_ms * MS
            h.feed(Closed(connection, "refused"))


def test_n8_a_tenth_of_a_fleet_flapping_for_ten_minutes_moves_nobody_else() -> None:
    """I13, N8: registrations are damped, publishing keeps its cadence, the steady stay Ready."""
    fleet = FlappingFleet()
    h = fleet.h
    version = h.memory.catalog.version
    for _ in range(600):
        fleet.second()
    seconds = (h.now_ns - START_NS) // SECOND
    assert seconds >= 600
    # Undamped it would be 12,000: 4 are free, then 1, 2, 4 ... 60 s.
    assert 20 * 10 <= fleet.registered <= 20 * 20
    assert h.memory.catalog.version - version <= 4 * fleet.registered
    states = {node.state for node in steady_nodes(h)}
    assert states == {NodeState.READY}
    assert {node.epoch for node in steady_nodes(h)} == {1}
    assert h.core.state.stats.read().counters["registrations_damped"] == fleet.refused


def steady_nodes(h: Harness) -> list[Node]:
    return [node for name, node in h.core.state.nodes.by_id.items() if name.startswith("s")]


def test_n7_damping_does_not_hide_two_machines_with_one_id() -> None:
    """Takeovers are judged by the quarantine, which lasts as long as its knob says."""
    h = Harness(config_with(flap_free_max=1, takeovers_max=2, quarantine_s=20.0))
    h.make_ready()
    h.make_ready()
    h.join()
    (told, refused) = h.sent(Error)
    assert told.error == refused.error
    assert refused.error.retry_after_ms == 20_001
    assert h.state() == NodeState.OFFLINE
    h.advance(19 * SECOND)
    h.join()
    assert h.refusal()[0] == Code.NODE_ID_CONFLICT
    h.advance(2 * SECOND)
    h.make_ready()
    assert h.state() == NodeState.READY
    assert h.node().epoch == 3
    assert h.core.state.stats.read().counters["quarantines"] == 1


def test_n9_a_turn_takes_a_share_of_registrations_and_the_rest_waits_in_order() -> None:
    h = Harness(config_with(max_nodes=256), is_checked=False)
    connections = [Connection(n) for n in range(1, 101)]
    h.feed(*(Accepted(c, CONTROL, "10.0.0.1") for c in connections))
    h.feed(*(Received(c, [(registration(f"n{c:03}"), b"")]) for c in connections))
    counts = [len(h.sent(Registered))]
    while h.core.state.lobby:
        assert h.core.next_deadline_ns() == h.now_ns, "it wants to be stepped at once"
        h.feed()
        counts.append(len(h.sent(Registered)))
    assert counts == [16, 16, 16, 16, 16, 16, 4]
    assert [*h.core.state.nodes.by_id] == [f"n{c:03}" for c in connections]


def test_n9_what_follows_a_waiting_registration_waits_behind_it() -> None:
    h = Harness(config_with(max_nodes=256), is_checked=False)
    connections = [h.dial() for _ in range(34)]
    h.feed(*(Received(c, [(registration(f"n{c}"), b"")]) for c in connections))
    assert len(h.core.state.lobby) == 18
    first, second = connections[-2:]
    h.feed(Closed(second, "gone"), Received(first, [(LanesReady(), b""), (Heartbeat(), b"")]))
    h.feed()
    assert not h.core.state.lobby
    assert h.state(f"n{first}") == NodeState.READY
    assert f"n{second}" not in h.core.state.nodes.by_id


def test_n9_a_lobby_that_is_full_sends_the_next_one_away_for_a_moment() -> None:
    h = Harness(config_with(max_nodes=2_048), is_checked=False)
    connections = [Connection(n) for n in range(1, 16 + 1_024 + 3)]
    for connection in connections:
        h.core.step(h.now_ns, [Accepted(connection, CONTROL, "10.0.0.1")])
        h.core.state.strangers.discard(connection)
    h.feed(*(Received(c, [(registration(f"n{c}"), b"")]) for c in connections))
    refused = h.sent(Error)
    assert [error.error.code for error in refused] == [Code.RATE_LIMITED] * 2
    assert {error.error.retry_after_ms for error in refused} == {500}
    assert len(h.core.state.lobby) == 1_024


def test_n9_a_new_manager_gives_a_large_fleet_the_time_that_it_takes_to_come_back() -> None:
    """No false deaths: 500 nodes have two seconds more than the seven of a small fleet."""
    h = large_fleet(500, per_turn=100)
    h.start()
    back = [f"n{number:06}" for number in range(300)]
    h.keys = {name: (number + 1).to_bytes(32, "big").hex() for number, name in enumerate(back)}
    connections = [h.make_ready(registration(name)) for name in back]
    for _ in range(17):
        h.advance(500 * MS)
        h.feed(*(Received(c, [(Heartbeat(), b"")]) for c in connections))
    states = [node.state for node in h.core.state.nodes.by_id.values()]
    assert states.count(NodeState.OFFLINE) == 0
    for _ in range(4):
        h.advance(500 * MS)
        h.feed(*(Received(c, [(Heartbeat(), b"")]) for c in connections))
    states = [node.state for node in h.core.state.nodes.by_id.values()]
    assert states.count(NodeState.OFFLINE) == 200
    assert states.count(NodeState.READY) == 300


def test_n9_who_registers_anew_as_before_has_no_page_published_again() -> None:
    """Workers follow nothing when a fleet comes back; a node that comes back another is shown."""
    h = Harness()
    h.lose(h.make_ready())
    h.settle()
    shown, epoch = h.read().nodes["n1"], h.node().epoch
    h.lose(h.make_ready())
    h.settle()
    assert h.node().epoch == epoch + 1 == h.core.state.setup.memory.rows.epoch[h.node().row]
    assert h.read().nodes["n1"] == shown
    h.make_ready(registration(max_concurrency=9))
    h.settle()
    assert (h.read().nodes["n1"].slots_max, h.read().nodes["n1"].epoch) == (9, epoch + 2)


def test_n7_takeovers_that_lie_far_apart_are_a_coincidence() -> None:
    quarantine = Quarantine(takeovers_max=3, lasts_ns=60 * SECOND, known_max=3)
    assert [quarantine.note_takeover("n1", at * SECOND) for at in (0, 50, 100, 109)] == [
        False, False, False, True,
    ]  # fmt: skip


def test_n7_what_an_operator_said_is_not_said_of_a_quarantine_that_comes_by_itself() -> None:
    quarantine = Quarantine(takeovers_max=1, lasts_ns=60 * SECOND, known_max=3)
    quarantine.keep_out("n1", 60 * SECOND, "an operator's word")
    quarantine.release("n1")
    assert quarantine.note_takeover("n1", SECOND)
    assert quarantine.left_ns("n1", 2 * SECOND) > 0
    assert quarantine.words_of("n1") == ""


def test_i9_n7_n8_what_is_kept_of_who_flaps_is_bounded_and_the_newest_is_kept() -> None:
    """A stranger may come under any number of names."""
    quarantine = Quarantine(takeovers_max=2, lasts_ns=60 * SECOND, known_max=3)
    damping = RegistrationDamping(
        free_max=1, backoff_max_ns=60 * SECOND, calm_ns=60 * SECOND, known_max=3
    )
    for number in range(20):
        name = f"n{number}"
        assert not quarantine.note_takeover(name, number)
        assert quarantine.note_takeover(name, number)
        quarantine.keep_out(f"by-hand-{number}", 60 * SECOND, "an operator's word")
        damping.admitted(name, number)
    tables = (quarantine._takeovers, quarantine._until, quarantine._words)
    assert [len(table) <= 3 for table in tables] == [True] * 3
    assert len(damping) == 3
    assert quarantine.left_ns("by-hand-19", 20) > 0
    for name in ("by-hand-18", "another", "and-another"):
        quarantine.keep_out(name, 60 * SECOND, "an operator's word")
    assert quarantine.left_ns("by-hand-18", 20) > 0, "it was ordered once more"
    quarantine.note_takeover("again", 20)
    for number in range(20):
        quarantine.note_takeover(f"once-{number}", 20)
    assert len(quarantine._takeovers) == 3
