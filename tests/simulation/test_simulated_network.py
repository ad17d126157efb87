"""The simulated network and processes by themselves: what they promise to the cores they carry."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from pointsman_sim.history import History, Violation
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.network import Network
from pointsman_sim.world.process import Process, World
from pointsman_sim.world.schedule import Schedule
from pointsman_sim.world.wires import Wire
from pointsman_wire.lane_messages import LanePing
from pointsman_wire.link import (
    Accepted,
    Close,
    Closed,
    Congested,
    Connection,
    Dial,
    DialFailed,
    Dialled,
    LoopWasLate,
    Received,
    Relieved,
    Send,
)
from pointsman_wire.preamble import Preamble, Role

LANE = Preamble(Role.LANE, 0)


class Echo:
    """A core that keeps what it is told and does what it is given to do."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Any]] = []
        self.wishes: list[object] = []
        self.deadline_ns: Callable[[int], int | None] = lambda now_ns: None
        self.now_ns = 0

    def step(self, now_ns: int, events: Sequence[object]) -> list[object]:
        self.now_ns = now_ns
        self.told += [(now_ns, event) for event in events]
        wishes, self.wishes = self.wishes, []
        return wishes

    def next_deadline_ns(self) -> int | None:
        return self.deadline_ns(self.now_ns)

    def of(self, kind: type) -> list[Any]:
        return [event for _, event in self.told if type(event) is kind]

    def numbers(self) -> list[int]:
        """The numbers of all pings that arrived, in their order."""
        return [m.number for event in self.of(Received) for m, _ in event.frames]

    def sizes(self) -> list[int]:
        """How long the payloads of all that arrived are, in their order."""
        return [len(payload) for event in self.of(Received) for _, payload in event.frames]


class EchoProcess(Process):
    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, 1)
        self.echo = Echo()
        self.start(self.echo)

    def execute(self, command: Any) -> None:
        raise AssertionError(command)

    def wish(self, *commands: object) -> None:
        self.echo.wishes += commands
        self.post("now")


class Pair:
    """A server and a node, and the network between them."""

    def __init__(self, seed: int) -> None:
        self.schedule = Schedule(S)
        self.network = Network(seed, self.schedule)
        world = World(seed, self.schedule, self.network, History(self.schedule, 10))
        self.server = EchoProcess(world, "server")
        self.node = EchoProcess(world, "node")
        self.network.host = self
        # While nobody serves: the connections that wait for somebody who does.
        self.kept: list[Wire] | None = None

    def arrived(self, wire: Wire) -> None:
        if self.kept is None:
            self.network.adopt(wire, self.server)
        else:
            self.kept.append(wire)

    def serve(self) -> None:
        """There is a server now: it gets what was kept for it."""
        kept, self.kept = self.kept or [], None
        for wire in kept:
            self.network.adopt(wire, self.server)

    def advance(self, duration_ns: int) -> None:
        end_ns = self.schedule.now_ns + duration_ns
        self.schedule.at(end_ns, lambda: None)
        while self.schedule.now_ns < end_ns:
            self.schedule.run_next()

    def connect(self) -> Connection:
        self.node.wish(Dial(1, LANE))
        self.advance(S)
        (dialled,) = self.node.echo.of(Dialled)
        number: Connection = dialled.connection
        return number

    def wire(self) -> Wire:
        (wire,) = self.network.wires.values()
        return wire

    def ping(self, connection: Connection, numbers: range) -> None:
        """Send some from the node, each in a turn of its own."""
        for number in numbers:
            self.node.wish(Send(connection, LanePing(number=number), b"x" * number))
            self.advance(MS)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_sent_arrives_once_and_in_order(seed: int) -> None:
    """N4: whatever the latency, the jitter, and where bytes are cut."""
    pair = Pair(seed)
    connection = pair.connect()
    pair.ping(connection, range(1, 60))
    pair.advance(5 * S)
    assert len(pair.server.echo.of(Accepted)) == 1
    # A lane's server reads what nodes say: a ping is none of that, so encoded ones are unreadable.
    if pair.wire().is_encoded:
        names = [m.name for event in pair.server.echo.of(Received) for m, _ in event.frames]
        assert names == ["lane_ping"] * 59
    else:
        assert pair.server.echo.numbers() == [*range(1, 60)]


def test_who_does_not_read_is_told_of_and_reads_all_in_order_later() -> None:
    """N6: the sender hears of it once at the mark, and again when all has been read."""
    pair = Pair(1)
    pair.connect()
    wire = pair.wire()
    wire.is_encoded = False
    (accepted,) = pair.server.echo.of(Accepted)
    pair.network.ignore(wire, 3)
    for number in range(1, 6):
        pair.server.wish(Send(accepted.connection, LanePing(number=number)))
        pair.advance(S)
        assert len(pair.server.echo.of(Congested)) == (number >= 3)
    assert pair.node.echo.numbers() == []
    pair.network.attend(wire)
    pair.advance(S)
    assert pair.node.echo.numbers() == [*range(1, 6)]
    assert pair.server.echo.of(Relieved) == [Relieved(accepted.connection)]


def test_what_was_not_read_comes_before_what_was_held_meanwhile() -> None:
    pair = Pair(1)
    pair.connect()
    wire = pair.wire()
    wire.is_encoded = False
    (accepted,) = pair.server.echo.of(Accepted)
    pair.network.ignore(wire, 9)
    for number in range(1, 5):
        pair.server.wish(Send(accepted.connection, LanePing(number=number)))
        pair.advance(S)
        if number == 2:
            pair.network.hold(wire)
    pair.network.attend(wire)
    pair.network.release(wire)
    pair.advance(S)
    assert pair.node.echo.numbers() == [1, 2, 3, 4]


def test_who_reads_before_the_mark_is_never_told_of() -> None:
    pair = Pair(1)
    pair.connect()
    (accepted,) = pair.server.echo.of(Accepted)
    pair.network.ignore(pair.wire(), 3)
    pair.server.wish(Send(accepted.connection, LanePing(number=1)))
    pair.advance(S)
    pair.network.heal()
    pair.advance(S)
    assert pair.server.echo.of(Congested) == pair.server.echo.of(Relieved) == []
    assert pair.node.echo.numbers() == [1]


@pytest.mark.parametrize("seed", range(4))
def test_what_waited_for_a_successor_comes_before_what_was_held_meanwhile(seed: int) -> None:
    """N4: a node greets while nobody serves, is cut off, and then there is a server."""
    pair = Pair(seed)
    pair.kept = []
    connection = pair.connect()
    pair.ping(connection, range(1, 4))
    pair.advance(2 * S)
    pair.network.hold(pair.wire())
    pair.ping(connection, range(4, 7))
    pair.advance(2 * S)
    pair.serve()
    pair.advance(S)
    assert pair.server.echo.sizes() == [1, 2, 3]
    pair.network.heal()
    pair.advance(S)
    assert pair.server.echo.sizes() == [1, 2, 3, 4, 5, 6]


class Squall:
    """Both ends of one connection send while faults that lose nothing come and go."""

    def __init__(self, seed: int) -> None:
        self.pair = Pair(seed)
        self.dice = Dice(seed, "squall")
        self.sent = {self.pair.node: 0, self.pair.server: 0}
        if self.dice.chance(0.5):
            self.pair.kept = []
        self.pair.node.wish(Dial(1, LANE))

    def blow(self, rounds: int) -> None:
        """Let some time pass, with something sent and perhaps a fault in each piece of it."""
        network = self.pair.network
        for _ in range(rounds):
            self.send(self.pair.node, Dialled)
            self.send(self.pair.server, Accepted)
            for wire in network.wires.values():
                faults: tuple[Callable[[], None], ...] = (
                    partial(network.hold, wire),
                    partial(network.release, wire),
                    partial(network.ignore, wire, self.dice.between(1, 5)),
                    partial(network.attend, wire),
                    self.pair.serve if self.dice.chance(0.2) else network.heal,
                )
                self.dice.pick(faults)()
            self.pair.advance(self.dice.between(MS, 200 * MS))

    def send(self, process: EchoProcess, beginning: type) -> None:
        for begun in process.echo.of(beginning):
            self.sent[process] += 1
            size = self.sent[process]
            process.wish(Send(begun.connection, LanePing(number=size), b"x" * size))


@pytest.mark.parametrize("seed", range(24))
def test_whatever_holds_it_up_all_that_was_sent_arrives_once_and_in_order(seed: int) -> None:
    """N4, N6: held, unread, sent before the other end was taken, cut anywhere, and then healed."""
    squall = Squall(seed)
    pair = squall.pair
    squall.blow(60)
    pair.serve()
    squall.blow(30)
    pair.network.heal()
    pair.advance(3 * S)
    assert min(squall.sent.values()) > 20
    assert pair.server.echo.sizes() == [*range(1, squall.sent[pair.node] + 1)]
    assert pair.node.echo.sizes() == [*range(1, squall.sent[pair.server] + 1)]


def test_what_is_held_arrives_in_order_when_it_is_released() -> None:
    pair = Pair(1)
    connection = pair.connect()
    wire = pair.wire()
    wire.is_encoded = False
    pair.network.hold(wire)
    pair.ping(connection, range(1, 20))
    pair.advance(2 * S)
    assert pair.server.echo.numbers() == []
    pair.network.release(wire)
    pair.ping(connection, range(20, 30))
    pair.advance(2 * S)
    assert pair.server.echo.numbers() == [*range(1, 30)]


@pytest.mark.parametrize("seed", range(4))
def test_both_ends_hear_once_of_a_connection_that_broke(seed: int) -> None:
    pair = Pair(seed)
    connection = pair.connect()
    pair.network.drop(pair.wire())
    pair.advance(S)
    pair.ping(connection, range(1, 3))
    pair.advance(S)
    for process in (pair.server, pair.node):
        assert len(process.echo.of(Closed)) == 1
    assert pair.server.echo.of(Received) == []
    assert pair.network.wires == {}


@pytest.mark.parametrize("seed", range(8))
def test_no_end_is_left_with_a_connection_that_broke_before_it_stood(seed: int) -> None:
    """The dialler is told that its dial failed, or of an end; so is the server."""
    pair = Pair(seed)
    pair.node.wish(Dial(1, LANE))
    while not pair.network.wires:
        pair.schedule.run_next()
    assert pair.node.echo.of(Dialled) == []
    pair.network.drop(pair.wire())
    pair.advance(2 * S)
    told = [type(event) for _, event in pair.node.echo.told if event != "now"]
    assert told in ([DialFailed], [Dialled, Closed])
    assert [type(event) for _, event in pair.server.echo.told] == [Accepted, Closed]
    assert pair.network.wires == {}


def test_a_connection_that_broke_before_anybody_served_it_is_never_accepted() -> None:
    pair = Pair(1)
    pair.kept = []
    pair.connect()
    pair.network.drop(pair.wire())
    pair.advance(2 * S)
    pair.serve()
    pair.advance(S)
    assert pair.server.echo.told == []
    assert len(pair.node.echo.of(Closed)) == 1
    assert pair.network.wires == {}


def test_a_server_hears_of_a_dialler_that_died_before_its_connection_stood() -> None:
    pair = Pair(1)
    pair.node.wish(Dial(1, LANE))
    while not pair.network.wires:
        pair.schedule.run_next()
    pair.node.kill()
    pair.advance(2 * S)
    assert [type(event) for _, event in pair.server.echo.told] == [Accepted, Closed]
    assert pair.network.wires == {}


def test_what_was_sent_before_a_close_arrives_before_it() -> None:
    pair = Pair(1)
    connection = pair.connect()
    pair.wire().is_encoded = False
    pair.node.wish(Send(connection, LanePing(number=1)), Close(connection, "done"))
    pair.advance(2 * S)
    kinds = [type(event) for _, event in pair.server.echo.told]
    assert kinds == [Accepted, Received, Closed]
    assert len(pair.node.echo.of(Closed)) == 1


def test_nobody_hears_of_a_machine_that_is_gone_until_half_a_minute_is_over() -> None:
    """N1: that long the kernel tries."""
    pair = Pair(1)
    pair.connect()
    pair.node.kill(is_silent=True)
    pair.advance(29 * S)
    assert pair.server.echo.of(Closed) == []
    pair.advance(2 * S)
    assert [closed.reason for closed in pair.server.echo.of(Closed)] == ["timed out"]


def test_who_is_cut_off_cannot_dial() -> None:
    pair = Pair(1)
    pair.network.cut_off["node"] = None
    pair.node.wish(Dial(1, LANE))
    pair.advance(6 * S)
    assert len(pair.node.echo.of(DialFailed)) == 1
    assert pair.network.wires == {}


def test_a_process_that_did_not_run_is_told_how_late_it_is_before_anything_else() -> None:
    """The real driver's rule: what lies in the sockets comes in the same turn, after it."""
    pair = Pair(1)
    connection = pair.connect()
    pair.wire().is_encoded = False
    pair.server.echo.deadline_ns = lambda now_ns: now_ns + 100 * MS
    pair.server.post("begin")
    pair.advance(S)
    pair.server.freeze(3 * S)
    pair.ping(connection, range(1, 3))
    del pair.server.echo.told[:]
    pair.advance(4 * S)
    at_ns, first = pair.server.echo.told[0]
    assert type(first) is LoopWasLate
    assert 2.8 * S < first.late_ns <= 3 * S
    assert {at for at, event in pair.server.echo.told if type(event) is Received} == {at_ns}


def test_a_core_that_spins_is_found() -> None:
    pair = Pair(1)
    pair.node.echo.deadline_ns = lambda now_ns: now_ns
    pair.node.post("begin")
    with pytest.raises(Violation, match="node wants to be stepped at once"):
        pair.advance(S)


def test_streams_of_chance_do_not_disturb_each_other() -> None:
    first, second = Dice(1, "a"), Dice(1, "a")
    other = Dice(1, "b")
    other.entropy(100)
    assert [first.between(0, 9) for _ in range(50)] == [second.between(0, 9) for _ in range(50)]
    assert {Dice(seed, "a").between(0, 9) for seed in range(100)} == {*range(10)}
