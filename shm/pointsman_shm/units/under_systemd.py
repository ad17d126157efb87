"""What systemd and a process of ours say to each other: sockets, readiness, the watchdog.

    systemd -> process   LISTEN_FDS, LISTEN_PID     sockets it opened, as descriptors 3, 4, ...
                         LISTEN_FDNAMES             what each of them is called, with ":" between
                         NOTIFY_SOCKET              where the process says how it is
                         WATCHDOG_USEC              how long it may say nothing
    process -> systemd   READY=1, STOPPING=1, WATCHDOG=1, EXTEND_TIMEOUT_USEC; one datagram each
                         (see sd_notify(3))

Without these variables everything here does nothing, so a process runs by itself as well.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from pointsman_shm.units.starting import StartWatch

FIRST_DESCRIPTOR = 3
DESCRIPTORS_MAX = 16
# Of the time that the watchdog grants, one sign of life comes after this share.
BEATS_PER_LIMIT = 4
TLS_NAME = "tls"  # FileDescriptorName= of pointsman-tls.socket
_IP = (socket.AF_INET, socket.AF_INET6)


class UnitError(Exception):
    """What systemd handed over is not what this process needs; the text says what to do."""


class Unit(msgspec.Struct, frozen=True):
    """The unit that this process is of; the empty one where systemd did not start it."""

    notify_address: str = ""
    watchdog_s: float = 0.0  # 0: nobody watches

    def tell(self, words: str) -> None:
        """Send one datagram of assignments; a systemd that does not take it is no reason to end."""
        if not self.notify_address:
            return
        address = self.notify_address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(words.encode("utf-8"), address)
        except OSError:  # full, gone, or no descriptor left: the limit allows for some lost ones
            return


def unit_of(environment: Mapping[str, str], process_id: int) -> Unit:
    """Return the unit that the environment names, for this process alone."""
    watchdog_us = environment.get("WATCHDOG_USEC", "")
    is_watched = watchdog_us.isdecimal() and environment.get(
        "WATCHDOG_PID", str(process_id)
    ) == str(process_id)
    return Unit(
        notify_address=environment.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(watchdog_us) / 1e6 if is_watched else 0.0,
    )


class Listeners(NamedTuple):
    """Descriptors of ports; -1 for what was not handed over."""

    public: int
    tls: int


def handed_listeners(environment: Mapping[str, str], process_id: int) -> Listeners:
    """Return the descriptors of the ports among those that systemd has handed over.

    Others, such as the socket by which an instance has its name, are left alone and not inherited.
    Raises UnitError where there is no public port.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(process_id) or not count.isdecimal():
        raise UnitError(
            "no listening socket: give --listen-fd, or start it by pointsman.socket of systemd"
        )
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = {False: -1, True: -1}  # is it the TLS port? -> descriptor
    for index in range(min(int(count), DESCRIPTORS_MAX)):
        descriptor = FIRST_DESCRIPTOR + index
        os.set_inheritable(descriptor, False)
        is_tls = names[index : index + 1] == [TLS_NAME]
        if found[is_tls] < 0 and _is_port(descriptor):
            found[is_tls] = descriptor
    if found[False] < 0:
        raise UnitError("no socket that systemd opened listens at an address: see pointsman.socket")
    return Listeners(public=found[False], tls=found[True])


def _is_port(descriptor: int) -> bool:
    """Is it a listening stream socket of an internet family?"""
    try:
        copy = os.dup(descriptor)
        with socket.socket(fileno=copy) as sock:
            is_stream = sock.family in _IP and sock.type == socket.SOCK_STREAM
            return is_stream and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


class Watchdog:
    """Tells systemd that this process gets on, while it does.

    A timer alone would tell that the loop turns, also when it turns for nothing.  So a sign is
    sent only when `turned` was called since the last one: after a whole step of the core, which
    something is always on its way to.
    """

    def __init__(self, unit: Unit, loop: asyncio.AbstractEventLoop) -> None:
        self._unit = unit
        self._loop = loop
        self._has_turned = False
        self._start: StartWatch | None = None
        self._timer: asyncio.TimerHandle | None = None

    def starting(self) -> Callable[[], None]:
        """Until it is ready, ask for more time while this process gets on; return the end of it."""
        if self._unit.notify_address:
            self._start = StartWatch(self._unit.tell)
        return self._end_start

    def turned(self) -> None:
        """Something was done from beginning to end."""
        self._has_turned = True

    def watching(self, observe: Callable[[int], None]) -> Callable[[int], None]:
        """Return what observes a turn as before, and counts it as progress."""

        def observe_turn(duration_ns: int) -> None:
            self._has_turned = True
            observe(duration_ns)

        return observe_turn

    def ready(self, ready_fd: int) -> None:
        """Say that this process serves, to a parent (not to -1) and to systemd; then watch."""
        if ready_fd >= 0:
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)
        self._end_start()
        self._unit.tell("READY=1")
        if self._unit.watchdog_s > 0:
            self._beat()

    def close(self) -> None:
        """Tell no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end_start(self) -> None:
        if self._start is not None:
            self._start.close()

    def _beat(self) -> None:
        if self._has_turned:
            self._has_turned = False
            self._unit.tell("WATCHDOG=1")
        self._timer = self._loop.call_later(self._unit.watchdog_s / BEATS_PER_LIMIT, self._beat)
