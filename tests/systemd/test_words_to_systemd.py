"""Sockets taken over, readiness and signs of life, as systemd would see them."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from pointsman_shm.units.starting import StartWatch
from pointsman_shm.units.under_systemd import (
    Listeners,
    Unit,
    UnitError,
    Watchdog,
    handed_listeners,
    unit_of,
)

WATCHDOG_S = 0.2


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        sock.setblocking(False)
        yield sock


def said(notices: socket.socket) -> list[str]:
    """What has been sent so far."""
    found = []
    while True:
        try:
            found.append(notices.recv(100).decode())
        except BlockingIOError:
            return found


def unit(notices: socket.socket) -> Unit:
    environment = {"NOTIFY_SOCKET": notices.getsockname(), "WATCHDOG_USEC": "200000"}
    return unit_of(environment, os.getpid())


def test_without_systemd_nothing_is_said_and_nobody_watches() -> None:
    alone = unit_of({}, os.getpid())
    assert alone == Unit()
    alone.tell("READY=1")


def test_a_watch_over_another_process_is_not_this_ones() -> None:
    environment = {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid() + 1)}
    assert unit_of(environment, os.getpid()).watchdog_s == 0


def test_a_systemd_that_is_gone_ends_nobody(tmp_path: Path) -> None:
    Unit(str(tmp_path / "nobody")).tell("READY=1")


def test_a_process_without_descriptors_says_nothing_and_goes_on(notices: socket.socket) -> None:
    """H3: a sign of life that fails must not be what ends the process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        unit(notices).tell("WATCHDOG=1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert said(notices) == []


async def test_a_process_says_that_it_is_ready_to_both_who_ask(notices: socket.socket) -> None:
    ours, theirs = os.pipe()
    watchdog = Watchdog(unit(notices), asyncio.get_running_loop())
    watchdog.ready(theirs)
    watchdog.close()
    assert os.read(ours, 100) == b"ready\n"
    os.close(ours)
    assert said(notices) == ["READY=1"]


async def test_h3_turns_feed_the_watchdog(notices: socket.socket) -> None:
    watchdog = Watchdog(unit(notices), asyncio.get_running_loop())
    observed: list[int] = []
    turned = watchdog.watching(observed.append)
    watchdog.ready(-1)
    heard: list[str] = []
    until_s = monotonic() + 20
    while heard.count("WATCHDOG=1") < 3:
        assert monotonic() < until_s
        turned(5)
        await asyncio.sleep(WATCHDOG_S / 10)
        heard += said(notices)
    watchdog.close()
    assert set(observed) == {5}


async def test_h3_a_loop_that_spins_without_a_turn_does_not_feed_it(
    notices: socket.socket,
) -> None:
    loop = asyncio.get_running_loop()
    watchdog = Watchdog(unit(notices), loop)
    spins = 0
    over: asyncio.Future[None] = loop.create_future()

    def spin() -> None:
        nonlocal spins
        spins += 1
        if not over.done():
            loop.call_soon(spin)

    watchdog.turned()
    watchdog.ready(-1)
    spin()
    loop.call_later(3 * WATCHDOG_S, over.set_result, None)
    await over
    watchdog.close()
    assert spins > 100
    assert said(notices) == ["READY=1", "WATCHDOG=1"], "for the turn before it span"


class Later(asyncio.SelectorEventLoop):
    """A loop that notes after how long it is to do something, and never does it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float] = []

    def call_later(self, delay: float, *_: object, **__: object) -> asyncio.TimerHandle:
        self.waits_s.append(delay)
        return super().call_later(delay, lambda: None)


def test_h3_a_loop_that_turns_is_looked_at_several_times_within_the_limit(
    notices: socket.socket,
) -> None:
    """A sign that is sent when the time is nearly over comes too late on a busy machine."""
    loop = Later()
    watchdog = Watchdog(unit(notices), loop)
    watchdog.ready(-1)
    watchdog.close()
    loop.close()
    assert [wait_s <= WATCHDOG_S / 3 for wait_s in loop.waits_s] == [True]


def listening(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind("" if family == socket.AF_UNIX else ("127.0.0.1", 0))
    sock.listen()
    return sock


def test_the_public_port_is_found_among_other_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(socket.AF_UNIX) as name, listening(socket.AF_INET) as port:
        first, second = sorted((name.fileno(), port.fileno()))
        monkeypatch.setattr("pointsman_shm.units.under_systemd.FIRST_DESCRIPTOR", first)
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(second - first + 1)}
        os.set_inheritable(port.fileno(), True)
        assert handed_listeners(environment, os.getpid()) == Listeners(port.fileno(), -1)
        assert not os.get_inheritable(port.fileno())


@pytest.mark.parametrize("names", [["tls", "pointsman.socket"], ["pointsman.socket", "tls"]])
def test_the_tls_port_is_known_by_its_name(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever systemd hands over first: plaintext is never spoken at the TLS port."""
    with listening(socket.AF_INET) as one, listening(socket.AF_INET) as other:
        first, second = sorted((one.fileno(), other.fileno()))
        monkeypatch.setattr("pointsman_shm.units.under_systemd.FIRST_DESCRIPTOR", first)
        between = [""] * (second - first - 1)
        environment = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(second - first + 1),
            "LISTEN_FDNAMES": ":".join([names[0], *between, names[1]]),
        }
        found = handed_listeners(environment, os.getpid())
        tls = first if names[0] == "tls" else second
        assert found == Listeners(public=first + second - tls, tls=tls)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
    ],
)
def test_without_a_port_the_words_say_what_to_do(environment: dict[str, str]) -> None:
    with pytest.raises(UnitError, match=r"pointsman\.socket"):
        handed_listeners(environment, os.getpid())


# It gets on until it is told to hang: then it reads what never comes.
STARTS_AND_HANGS = """
import os, time
from pointsman_shm.units.starting import StartWatch
from pointsman_shm.units.under_systemd import unit_of
watch = StartWatch(unit_of(os.environ, os.getpid()).tell, limit_s=0.4)
while not os.path.exists(os.environ["HANG"]):
    time.sleep(0.01)
os.read(0, 1)
"""


def hear_much(notices: socket.socket) -> None:
    for _ in range(20):
        notices.recv(100)


def test_h3_a_start_has_more_time_while_it_gets_on_and_not_when_it_hangs(
    notices: socket.socket, tmp_path: Path
) -> None:
    notices.settimeout(20)
    hang = tmp_path / "hang"
    environment = {**os.environ, "NOTIFY_SOCKET": notices.getsockname(), "HANG": str(hang)}
    command = [sys.executable, "-c", STARTS_AND_HANGS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        heard = [notices.recv(100).decode() for _ in range(3)]
        assert set(heard) == {"EXTEND_TIMEOUT_USEC=400000"}
        hang.touch()
        notices.settimeout(2)
        with pytest.raises(TimeoutError):
            hear_much(notices)
        assert process.poll() is None, "it hangs, and asks for nothing"
        process.kill()


async def test_h3_who_is_ready_asks_for_no_more_time(
    notices: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StartWatch.__init__, "__defaults__", (WATCHDOG_S,))
    watchdog = Watchdog(unit(notices), asyncio.get_running_loop())
    watchdog.starting()
    heard: list[str] = []
    until_s = monotonic() + 20
    while "EXTEND_TIMEOUT_USEC=200000" not in heard:
        assert monotonic() < until_s
        await asyncio.sleep(WATCHDOG_S / 10)
        heard += said(notices)
    watchdog.ready(-1)
    watchdog.close()
    await asyncio.sleep(WATCHDOG_S / 2)
    said(notices)
    await asyncio.sleep(3 * WATCHDOG_S)
    assert said(notices) == []
