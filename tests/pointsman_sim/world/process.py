"""A simulated process: one life of one core, driven as the real loop drives it.

What happens is gathered in an inbox; a moment later one turn steps the core with all of it, and
its commands are carried out in order, sends at the end.  A process can be frozen: its inbox fills,
its timers do not fire, and when it goes on it learns how late it was before anything else.  It can
die between two turns, or between two commands of a turn.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from pointsman.recording.facts import Fact
from pointsman.recording.recorded_core import Scribe
from pointsman_sim.history import History, Violation
from pointsman_sim.world.dice import MS, Dice
from pointsman_sim.world.network import Network
from pointsman_sim.world.schedule import Schedule
from pointsman_wire.link import Close, Connection, Dial, Frame, LoopWasLate, Send

NEVER_NS = 1 << 62
LATE_TOLERANCE_NS = 250 * MS
# Real loops wake a little after a timer was due, never earlier.
TIMER_GRAIN_NS = MS // 2
TURN_DELAY_MAX_NS = 300_000
IDLE_TURNS_MAX = 400


class CrashPointMet(Exception):
    """A core was at a named point at which this process was to die."""


class Core(Protocol):
    """What decides."""

    def step(self, now_ns: int, events: Sequence[object]) -> list[object]:
        """Absorb what happened, return what shall be done."""

    def next_deadline_ns(self) -> int | None:
        """When to step even if nothing happens."""


class Witness(Protocol):
    """Who looks on: the invariants."""

    def stepped(self, process: "Process", events: Sequence[object]) -> None:
        """A turn is over and its commands are carried out."""

    def sent(self, process: "Process", command: Send) -> None:
        """A frame left a process."""


class World:
    """What all processes share."""

    def __init__(self, seed: int, schedule: Schedule, network: Network, history: History) -> None:
        self.seed = seed
        self.schedule = schedule
        self.network = network
        self.history = history
        self.turn_dice = Dice(seed, "turns")
        # What clients, nodes and the nemesis would have written down, for the history checker.
        self.facts: list[Fact] = []
        self.witnesses: list[Witness] = []
        self._strikes = 0

    def note(self, what: str, **more: Any) -> None:
        """Add what nobody but the world itself can know."""
        self.facts.append(
            Fact(at_ns=self.schedule.now_ns, by="observer", who="world", what=what, **more)
        )

    def struck(self, kind: str, victim: str, **more: Any) -> None:
        """Add a fault; the simulator does it itself, which is the proof.

        `level` is the lowest that jobs need to survive it, `shard` whose jobs it concerns,
        `seconds` how long its harm may last.
        """
        self._strikes += 1
        about = {"level": "memory", "status": kind, "node": victim, **more}
        self.note("fault", number=self._strikes, **about)
        self.note("proof", number=self._strikes)


class Process:
    """One life; a successor is another object under the same name."""

    def __init__(self, world: World, name: str, life: int) -> None:
        self.world = world
        self.name = name
        self.life = life
        self.is_alive = True
        self.dice = Dice(world.seed, f"{name}.{life}")
        # Machines do not share a clock, and no instant may cross between them.
        self.clock_offset_ns = 0
        self.frozen_until_ns = 0
        self.last_number = 0
        # After so many commands of its next turn the process dies; None: it lives.
        self.dies_after: int | None = None
        self.scribe: Scribe | None = None
        self._core: Core | None = None
        self._inbox: list[object] = []
        self._armed_ns = NEVER_NS
        self._deadline_ns = NEVER_NS
        self._idle_turns = 0

    # ---- what subclasses say

    def execute(self, command: Any) -> None:
        """Carry out a command that is none of a connection."""
        raise NotImplementedError

    def frames_of(self, command: Send) -> list[Frame]:
        """Return what a Send puts on the wire; a rude peer may put more there."""
        return [(command.message, command.payload)]

    def died(self) -> None:
        """Let go of what dies with the process."""

    # ---- life

    def start(self, core: Core) -> None:
        """Begin to drive a core."""
        self._core = core
        self._arm(self.world.schedule.now_ns)

    def new_number(self) -> Connection:
        """Return the number of the next connection; none is used twice."""
        self.last_number += 1
        return Connection(self.last_number)

    def post(self, event: object) -> None:
        """Tell the core something in the coming turn."""
        if not self.is_alive:
            return
        self._inbox.append(event)
        delay_ns = self.world.turn_dice.between(10_000, TURN_DELAY_MAX_NS)
        self._arm(self.world.schedule.now_ns + delay_ns)

    @property
    def is_frozen(self) -> bool:
        """Does it stand still?"""
        return self.world.schedule.now_ns < self.frozen_until_ns

    def freeze(self, duration_ns: int) -> None:
        """Do not run for a while."""
        self.frozen_until_ns = max(self.frozen_until_ns, self.world.schedule.now_ns + duration_ns)

    def kill(self, *, is_silent: bool = False) -> None:
        """End at once; `is_silent`: the machine is gone and nobody is told."""
        if not self.is_alive:
            return
        self.is_alive = False
        self.world.history.note(self.name, "dies", "without a word" if is_silent else "")
        self.world.network.process_died(self, is_silent=is_silent)
        self.died()

    # ---- the loop

    def _arm(self, at_ns: int) -> None:
        if at_ns < self._armed_ns:
            self._armed_ns = at_ns
            self.world.schedule.at(at_ns, self._wake)

    def _wake(self) -> None:
        now_ns = self.world.schedule.now_ns
        if not self.is_alive or now_ns < self._armed_ns:
            return
        self._armed_ns = NEVER_NS
        if now_ns < self.frozen_until_ns:
            self._arm(self.frozen_until_ns)
        elif self._inbox or now_ns >= self._deadline_ns or self._deadline_ns == NEVER_NS:
            self._turn(now_ns)
        else:
            self._arm(self._deadline_ns)

    def _turn(self, now_ns: int) -> None:
        events, self._inbox = self._inbox, []
        late_ns = now_ns - self._deadline_ns
        if late_ns > LATE_TOLERANCE_NS:
            events.insert(0, LoopWasLate(late_ns))
        assert self._core is not None
        clock_ns = now_ns + self.clock_offset_ns
        try:
            commands = self._core.step(clock_ns, events)
        except CrashPointMet as point:
            self.world.history.note(self.name, "meets", str(point))
            self.kill()
            return
        self.world.history.turn(self.name, events, commands)
        if self.dies_after is not None:
            commands = commands[: self.dies_after]
        if self.scribe is not None:
            self.world.facts += self.scribe.turn(now_ns, events, commands)
        self._carry_out(commands)
        if not self.is_alive:
            return
        self._arm_for(self._core.next_deadline_ns(), now_ns, is_idle=not events)
        for witness in self.world.witnesses:
            witness.stepped(self, events)

    def _arm_for(self, deadline_ns: int | None, now_ns: int, *, is_idle: bool) -> None:
        if deadline_ns is None:
            self._deadline_ns = NEVER_NS
            return
        deadline_ns -= self.clock_offset_ns
        self._deadline_ns = max(deadline_ns, now_ns) + TIMER_GRAIN_NS
        self._arm(self._deadline_ns)
        if deadline_ns > now_ns:
            self._idle_turns = 0
        elif is_idle:
            # A core that wants to be stepped at once, for nothing, again and again, burns its
            # processor for ever.
            self._idle_turns += 1
            if self._idle_turns > IDLE_TURNS_MAX:
                raise Violation("spin", f"{self.name} wants to be stepped at once, again and again")

    def _carry_out(self, commands: Sequence[object]) -> None:
        queued: dict[Connection, list[Frame]] = {}
        network = self.world.network
        for command in commands:
            if type(command) is Send:
                queued.setdefault(command.connection, []).extend(self.frames_of(command))
                for witness in self.world.witnesses:
                    witness.sent(self, command)
            elif type(command) is Close:
                frames = queued.pop(command.connection, [])
                network.send(self, command.connection, frames)
                network.close(self, command.connection, command.reason)
            elif type(command) is Dial:
                network.dial(self, command)
            else:
                self.execute(command)
        for connection, frames in queued.items():
            network.send(self, connection, frames)
        if self.dies_after is not None:
            self.kill()
