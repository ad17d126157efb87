"""A driver that dies at a named point between its core and the world, if a test asks for one.

A core is pure, so it has nothing to die between; what counts is how much of a turn has happened
to the world.  Without a wish the plain driver runs: points cost nothing.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pointsman_wire.link import Connection, Received, Send
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.crash_points import CrashPoint, CrashSpot, Moment, die
from pointsman_wire.sockets.driver import Driver


def driver_for(crash: Callable[[str], None], spots: Sequence[CrashSpot]) -> type[Driver]:
    """Return the driver to make: one that dies if the crash asked for is one of the spots."""
    if not isinstance(crash, CrashPoint):
        return Driver
    for spot in spots:
        if spot.name == crash.name:
            _CrashingDriver.crash, _CrashingDriver.spot = crash, spot  # a process has one
            return _CrashingDriver
    return Driver


class _CrashingDriver(Driver):
    crash: ClassVar[CrashPoint]
    spot: ClassVar[CrashSpot]
    _met: frozenset[Connection]  # connections on which the spot's frames leave

    def _step(self, now_ns: int) -> None:
        if self.spot.moment is Moment.HEARD and any(map(self._is_of_it, self._inbox)):
            self.crash(self.spot.name)
        super()._step(now_ns)

    def _carry_out(self, commands: Sequence[Any]) -> None:
        self._met = frozenset(
            command.connection
            for command in commands
            if type(command) is Send and type(command.message) in self.spot.kinds
        )
        super()._carry_out(commands)

    def _carry_out_rare(self, command: Any) -> None:
        super()._carry_out_rare(command)
        if self.spot.moment is Moment.DONE and type(command) in self.spot.kinds:
            self.crash(self.spot.name)

    def _flush(self, queued: Sequence[FrameConnection]) -> None:
        met = [connection for connection in queued if connection.number in self._met]
        if met and self.spot.moment is Moment.UNSENT:
            self.crash(self.spot.name)
        elif self.spot.moment in (Moment.HALF_SENT, Moment.SENT):
            for connection in filter(_can_spill, met):
                if self.crash.is_last(self.spot.name):
                    share = 2 if self.spot.moment is Moment.HALF_SENT else 1
                    _spill(connection, len(connection.out) // share)
                    die()
        super()._flush(queued)

    def _is_of_it(self, event: object) -> bool:
        kinds = self.spot.kinds
        if isinstance(event, Received):
            return any(type(message) in kinds for message, _ in event.frames)
        return type(event) in kinds


def _can_spill(connection: FrameConnection) -> bool:
    """Would bytes that are written now follow at once on all that was written before?"""
    transport = connection.transport
    if transport is None or transport.get_extra_info("ssl_object") is not None:
        return False
    return transport.get_write_buffer_size() == 0


def _spill(connection: FrameConnection, byte_count: int) -> None:
    """Hand the kernel so many of the queued bytes: transports write when their loop turns."""
    assert connection.transport is not None
    os.write(connection.transport.get_extra_info("socket").fileno(), connection.out[:byte_count])
