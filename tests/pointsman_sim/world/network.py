"""The network: connections that keep their order and are otherwise as slow and bad as they like.

A connection has two ends and two directions.  What an end sends in one turn is one piece; a piece
arrives after the connection's latency, never before an earlier one.  A share of the connections
really encode: their pieces are bytes, cut anywhere, and decoded at the other end.

    drop      both ends are told, at different moments; what was on its way may be lost
    hold      nothing arrives until release; held for half a minute, both ends are told; what
              had arrived before, and only waits to be taken or read, is no longer the network's
    silence   what is sent is swallowed; after half a minute both ends are told
    strand    the server's end is over at once; the dialler gets what was on its way long after
    ignore    the dialler does not read; from a mark on the server's end knows that much waits
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.schedule import Schedule
from pointsman_sim.world.wires import FIN, Piece, Wire
from pointsman_wire.link import (
    Accepted,
    Closed,
    Congested,
    Connection,
    Dial,
    DialFailed,
    Dialled,
    Frame,
    Received,
    Relieved,
)

if TYPE_CHECKING:
    from pointsman_sim.world.process import Process

# Keepalive (15 s, then 3 probes 5 s apart) or TCP_USER_TIMEOUT: a dead connection ends then.
TIMEOUT_NS = 30 * S
DIAL_TIMEOUT_NS = 5 * S


class Host(Protocol):
    """The server's machine: it accepts as long as it stands, whichever of its processes do."""

    def arrived(self, wire: Wire) -> None:
        """A connection was made: give it to its owner, or keep it for the owner's successor."""


class Weather:
    """How slow the network of one run is."""

    def __init__(self, dice: Dice) -> None:
        self.latency_ns = dice.pick(((50_000, MS), (MS, 20 * MS), (10 * MS, 120 * MS)))
        self.jitter_ns = dice.pick((100_000, 5 * MS, 200 * MS))
        self.encoded_share = dice.pick((0.1, 0.3, 1.0))


class Network:
    """All connections of a cluster."""

    def __init__(self, seed: int, schedule: Schedule) -> None:
        self._schedule = schedule
        self._dice = Dice(seed, "network")
        self.weather = Weather(self._dice)
        self.host: Host | None = None
        # By number, in order of making; only those that are not over.
        self.wires: dict[int, Wire] = {}
        self._by_end: dict[tuple[Process, Connection], tuple[Wire, int]] = {}
        self._made = 0
        # Names of processes that are cut off, and how many of the next dials fail.
        self.cut_off: dict[str, None] = {}
        self.failing_dials = 0

    # ---- what processes wish

    def dial(self, process: "Process", dial: Dial) -> None:
        """Connect a process to the server's public port."""
        if process.name in self.cut_off:
            failed = DialFailed(dial.purpose, "no answer within 5 s")
            self._schedule.after(DIAL_TIMEOUT_NS, lambda: process.post(failed))
            return
        latency_ns = self._dice.between(*self.weather.latency_ns)
        if self.failing_dials:
            self.failing_dials -= 1
            refused = DialFailed(dial.purpose, "connection refused")
            self._schedule.after(latency_ns, lambda: process.post(refused))
            return
        self._made += 1
        is_encoded = self._dice.chance(self.weather.encoded_share)
        wire = Wire(self._made, dial.preamble, latency_ns, is_encoded=is_encoded)
        self._schedule.after(latency_ns, lambda: self._knock(wire))
        self._schedule.after(2 * latency_ns, lambda: self._stands(wire, process, dial.purpose))

    def _knock(self, wire: Wire) -> None:
        assert self.host is not None
        self.wires[wire.number] = wire
        self.host.arrived(wire)

    def _stands(self, wire: Wire, process: "Process", purpose: int) -> None:
        """The dialler has its connection, if it still lives to have it."""
        end = wire.ends[0]
        if end.is_over:  # it was broken meanwhile
            process.post(DialFailed(purpose, "connection reset by peer"))
            return
        if not process.is_alive:
            self._finish(wire, 0, "the peer went away")
            return
        self._attach(wire, 0, process)
        process.post(Dialled(end.number, purpose))
        self._replay(wire, 0)

    def adopt(self, wire: Wire, process: "Process") -> None:
        """Give the server's end of a connection to the process that owns it, if it still stands."""
        if wire.ends[1].is_over:
            return
        self._attach(wire, 1, process)
        process.post(Accepted(wire.ends[1].number, wire.preamble, f"10.0.0.{wire.number % 250}"))
        self._replay(wire, 1)

    def _attach(self, wire: Wire, side: int, process: "Process") -> None:
        end = wire.ends[side]
        end.process = process
        end.number = process.new_number()
        self._by_end[process, end.number] = (wire, side)

    def _replay(self, wire: Wire, side: int) -> None:
        early, wire.ends[side].early = wire.ends[side].early, []
        for piece in early:
            self._reach(wire, side, piece)  # it is older than all that is held

    def send(self, process: "Process", number: Connection, frames: list[Frame]) -> None:
        """Put the frames of one turn on a connection; nothing when it is over."""
        found = self._by_end.get((process, number))
        if found is None or not frames:
            return
        wire, side = found
        if wire.is_encoded:
            for part in wire.encode(frames, self._dice):
                self._put(wire, 1 - side, part)
        else:
            self._put(wire, 1 - side, frames)

    def close(self, process: "Process", number: Connection, reason: str) -> None:
        """End a connection after what was sent on it; the process hears of it as of any end."""
        found = self._by_end.pop((process, number), None)
        if found is None:
            return
        wire, side = found
        wire.ends[side].is_over = True
        process.post(Closed(number, reason))
        self._tell_other(wire, side)

    # ---- pieces on their way

    def _put(self, wire: Wire, side: int, piece: Piece) -> None:
        """Send a piece to an end."""
        end = wire.ends[side]
        delay_ns = wire.latency_ns + self._dice.skewed(0, self.weather.jitter_ns)
        end.arrives_ns = max(end.arrives_ns, self._schedule.now_ns + delay_ns)
        self._schedule.at(end.arrives_ns, lambda: self._arrive(wire, side, piece))

    def _arrive(self, wire: Wire, side: int, piece: Piece) -> None:
        """A piece is all the way through, unless the network holds what is on its way."""
        if wire.held is not None:
            wire.held.append((side, piece))
        else:
            self._reach(wire, side, piece)

    def _reach(self, wire: Wire, side: int, piece: Piece) -> None:
        """An end gets a piece that no fault of the network can hold any more."""
        end = wire.ends[side]
        if end.is_over or end.is_deaf:
            return
        if end.process is None:
            end.early.append(piece)
        elif self._schedule.now_ns > end.cut_ns:
            return
        elif side == 0 and wire.unread is not None:
            self._leave_unread(wire, wire.unread, piece)
        elif piece is FIN:
            self._finish(wire, side, "the peer ended the connection")
        else:
            frames = wire.read(side, piece)
            if frames:
                end.process.post(Received(end.number, frames))

    def _leave_unread(self, wire: Wire, unread: list[Piece], piece: Piece) -> None:
        unread.append(piece)
        sender = wire.ends[1]
        if len(unread) == wire.unread_mark and sender.process is not None and not sender.is_over:
            sender.process.post(Congested(sender.number))

    def _finish(self, wire: Wire, side: int, reason: str) -> None:
        """An end learns that its connection is over."""
        end = wire.ends[side]
        if end.is_over:
            return
        end.is_over = True
        if end.process is not None:
            del self._by_end[end.process, end.number]
            end.process.post(Closed(end.number, reason))
        self._tell_other(wire, side)

    def _tell_other(self, wire: Wire, side: int) -> None:
        """One end is over: the other one hears of it, or has long known."""
        if wire.ends[1 - side].is_over:
            self.wires.pop(wire.number, None)
        else:
            self._put(wire, 1 - side, FIN)

    # ---- faults

    def drop(self, wire: Wire, reason: str = "connection reset by peer") -> None:
        """Break a connection: each end is told in its own time, what comes later is lost."""
        for side in (0, 1):
            self._cut(wire, side, reason)

    def _cut(self, wire: Wire, side: int, reason: str) -> None:
        end = wire.ends[side]
        if not end.is_over:
            cut_ns = self._schedule.now_ns + int(wire.latency_ns * self._dice.fraction() * 2)
            end.cut_ns = min(end.cut_ns, cut_ns)
            self._schedule.at(cut_ns, lambda: self._finish(wire, side, reason))

    def silence(self, wire: Wire, sides: Sequence[int] = (0, 1)) -> None:
        """Swallow from now on what is sent to these ends."""
        for side in sides:
            wire.ends[side].is_deaf = True
        self._schedule.after(TIMEOUT_NS, lambda: self._time_out(wire))

    def hold(self, wire: Wire) -> None:
        """Let nothing arrive until `release`."""
        if wire.held is None:
            wire.held = []
            held = wire.held
            self._schedule.after(
                TIMEOUT_NS, lambda: self._time_out(wire) if wire.held is held else None
            )

    def release(self, wire: Wire) -> None:
        """Let what was held arrive, in its order."""
        held, wire.held = wire.held or [], None
        for side, piece in held:
            self._reach(wire, side, piece)

    def strand(self, wire: Wire, duration_ns: int) -> None:
        """Hold what is on its way to the dialler, and end the connection for the server alone.

        So it is when something between them, or the server's host, gives a connection up.
        """
        if wire.held is None:
            wire.held = []
        self._finish(wire, 1, "connection reset by peer")
        self._schedule.after(duration_ns, lambda: self.release(wire))

    def ignore(self, wire: Wire, unread_mark: int) -> None:
        """Let the dialler read nothing until `attend`; tell the sender at so many pieces."""
        if wire.unread is None:
            wire.unread, wire.unread_mark = [], unread_mark

    def attend(self, wire: Wire) -> None:
        """Let the dialler read all that waits, in its order; then the sender has room again."""
        unread, wire.unread = wire.unread or [], None
        for piece in unread:
            self._reach(wire, 0, piece)  # it is older than all that is held
        sender = wire.ends[1]
        if len(unread) >= wire.unread_mark and sender.process is not None and not sender.is_over:
            sender.process.post(Relieved(sender.number))

    def _time_out(self, wire: Wire) -> None:
        wire.held = None
        for side in (0, 1):
            self._finish(wire, side, "timed out")

    def process_died(self, process: "Process", *, is_silent: bool) -> None:
        """The kernel ends what a dead process had open; a machine that is gone ends nothing."""
        for wire in self.wires_of(process):
            for side, end in enumerate(wire.ends):
                if end.process is not process:
                    continue
                self._by_end.pop((process, end.number), None)
                end.is_over = True
                if is_silent:
                    self.silence(wire, (0, 1))
                elif self._dice.chance(0.5):
                    self._put(wire, 1 - side, FIN)  # after all that it had sent
                else:
                    self.drop(wire)

    def wires_of(self, process: "Process") -> list[Wire]:
        """Return the connections of a process, in order of their making."""
        return [w for w in self.wires.values() if any(e.process is process for e in w.ends)]

    def heal(self) -> None:
        """End every fault that lasts."""
        self.cut_off.clear()
        self.failing_dials = 0
        for wire in [*self.wires.values()]:
            if wire.held is not None:
                self.release(wire)
            if wire.unread is not None:
                self.attend(wire)
