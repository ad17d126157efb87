"""Deadlines, one timer, and a process that did not run for a while."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from shells.socket_harness import NotingCore, accepted, beat, driving, socket_pair, until

from pointsman_wire.link import Accepted, LoopWasLate, Received, Waited
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings

MS = 1_000_000
TOLERANCE_NS = 60 * MS


# Of tests that are not about lateness: a busy machine is late at any time.
PATIENT = DriverSettings(late_tolerance_ns=60_000 * MS)


class Alarm(NotingCore):
    """Wants to be woken again and again, each time so long after it was."""

    def __init__(self, *after_ms: int) -> None:
        super().__init__()
        self.waits_ns = [ms * MS for ms in after_ms]
        self.due_ns: int | None = None
        self.woken_late_ns: list[int] = []

    def step(self, now_ns: int, events: list[Any]) -> list[Any]:
        if self.due_ns is not None and self.due_ns <= now_ns:
            self.woken_late_ns.append(now_ns - self.due_ns)
            self.due_ns = None
        if self.due_ns is None and self.waits_ns:
            self.due_ns = now_ns + self.waits_ns.pop(0)
        return super().step(now_ns, events)

    def next_deadline_ns(self) -> int | None:
        return self.due_ns


class Armed(NotingCore):
    """Wants to be woken so many milliseconds after the step that is told such a number."""

    def __init__(self) -> None:
        super().__init__(self._arm)

    def _arm(self, event: Any) -> list[Any]:
        if isinstance(event, int):
            self.deadline_ns = time.monotonic_ns() + event * MS
        return []


class Heard(asyncio.Protocol):
    """Does something while the loop looks at sockets, after which some loops look at the time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def data_received(self, data: bytes) -> None:
        self._act()


def then(act: Callable[[], object]) -> None:
    """Do this right after the turn that is due, before the loop looks at time or sockets."""
    asyncio.get_running_loop().call_soon(act)


async def test_each_deadline_wakes_the_core_once_and_not_early() -> None:
    core = Alarm(10, 10, 15, 25)
    async with driving(core, settings=PATIENT):
        await until(lambda: len(core.woken_late_ns) == 4)
        await asyncio.sleep(0.05)
        assert min(core.woken_late_ns) >= 0
        assert len(core.steps) == 1 + 4
        assert core.events(LoopWasLate) == []


async def test_the_timer_is_armed_anew_only_when_the_deadline_came_nearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = Armed()
    async with driving(core, settings=PATIENT) as driver:
        armed: dict[int, None] = {}  # a timer may fire a little early, and is armed as it was
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def note(delay_s: float, call: Callable[..., object], *args: Any, **more: Any) -> Any:
            if call == driver._fire:
                armed[driver._timer_at_ns] = None
            return call_later(delay_s, call, *args, **more)

        monkeypatch.setattr(loop, "call_later", note)
        driver.post(50)
        await until(lambda: len(core.steps) == 2)
        first_ns = core.deadline_ns
        core.deadline_ns = due_at_ns = time.monotonic_ns() + 1_000 * MS
        driver.post("further")
        await until(lambda: len(core.steps) == 3)
        assert [*armed][:1] == [first_ns]
        await until(lambda: len(core.steps) == 4)
        assert core.steps[-1][0] >= due_at_ns
        assert [*armed] == [first_ns, due_at_ns], "anew when the first one fired"
        driver.post(60_000)
        await until(lambda: len(core.steps) == 5)
        far_ns = core.deadline_ns
        driver.post(10)
        await until(lambda: len(core.steps) == 7)
        assert [*armed][2] == far_ns
        assert len(armed) == 4


async def test_what_may_wait_brings_no_turn_and_is_taken_with_what_does() -> None:
    core = Armed()
    async with driving(core, settings=replace(PATIENT, waiting_max=2)) as driver:
        await until(lambda: len(core.steps) == 1)
        driver.may_wait = lambda event: event == "patient"
        waits_ns: list[int] = []
        driver.observe_wait = waits_ns.append
        before_ns = time.monotonic_ns()
        driver.post("patient")
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(core.steps) == 1
        driver.post("now")
        driver.post("patient")
        await until(lambda: len(core.steps) == 2)
        at_ns, [waited, *others] = core.steps[-1]
        assert isinstance(waited, Waited)
        assert waited.event == "patient"
        assert before_ns <= waited.came_at_ns <= at_ns
        assert others == ["now", "patient"], "a turn is coming: nothing has to wait for one"
        driver.post(10)
        then(lambda: driver.post("patient"))
        await until(lambda: len(core.steps) == 4)
        assert core.steps[-2][1] == [10]
        assert [type(event) for event in core.steps[-1][1]] == [Waited]
        assert len(waits_ns) == 2, "who may wait is not said to have been kept waiting"


async def test_no_more_waits_for_a_turn_than_one_takes_in_good_time() -> None:
    core = NotingCore()
    async with driving(core, settings=DriverSettings(waiting_max=2)) as driver:
        await until(lambda: len(core.steps) == 1)
        driver.may_wait = lambda event: event == "patient"
        for _ in range(2):
            driver.post("patient")
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(core.steps) == 1
        driver.post("patient")
        await until(lambda: len(core.steps) == 2)
        waited, also_waited, last = core.steps[-1][1]
        assert [type(waited), type(also_waited), last] == [Waited, Waited, "patient"]


async def test_a_core_without_deadline_is_not_woken() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        await asyncio.sleep(0.05)
        assert len(core.steps) == 1
        assert driver._timer is None


async def test_t9_a_late_timer_lets_the_sockets_speak_first() -> None:
    """An answer that lay in the socket when this process went on is told with the lateness."""
    core = Armed()
    settings = DriverSettings(late_tolerance_ns=TOLERANCE_NS)
    async with driving(core, settings=settings) as driver:
        peer = await accepted(driver)
        await until(lambda: core.events(Accepted))
        due_at_ns: list[int] = []

        def stand_still() -> None:
            assert core.deadline_ns is not None
            due_at_ns.append(core.deadline_ns)
            core.steps.clear()
            peer.sock.send(beat(1))
            time.sleep(0.2)

        ours, theirs = socket_pair()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: Heard(stand_still), sock=ours)
        driver.post(30)
        then(lambda: theirs.send(b"stand still"))
        await until(lambda: due_at_ns and core.steps)
        transport.abort()
        theirs.close()
        now_ns, events = core.steps[0]
        assert isinstance(events[0], LoopWasLate)
        assert TOLERANCE_NS < events[0].late_ns <= now_ns - due_at_ns[0]
        assert [type(event) for event in events[1:]] == [Received]
        peer.close()


async def test_a_turn_that_was_on_its_way_does_not_overtake_the_lateness() -> None:
    core = Armed()
    settings = DriverSettings(late_tolerance_ns=TOLERANCE_NS)
    async with driving(core, settings=settings) as driver:

        def stand_still() -> None:
            core.steps.clear()
            driver.post("posted before the stop")
            time.sleep(0.15)
            driver.post("posted after it")

        driver.post(20)
        then(stand_still)
        await until(lambda: core.events(LoopWasLate))
        (late, *others) = core.steps[0][1]
        assert isinstance(late, LoopWasLate)
        assert others == ["posted before the stop", "posted after it"]


async def test_a_fired_timer_is_not_held_against_a_later_turn() -> None:
    core = Armed()
    settings = DriverSettings(late_tolerance_ns=TOLERANCE_NS)
    async with driving(core, settings=settings) as driver:
        driver.post(5)
        await until(lambda: len(core.steps) == 3)
        await asyncio.sleep(0.15)
        driver.post("long after")
        await until(lambda: len(core.steps) == 4)
        assert core.steps[-1][1] == ["long after"]


async def test_a_deadline_that_lies_in_the_past_is_no_lateness() -> None:
    core = NotingCore()
    settings = DriverSettings(late_tolerance_ns=TOLERANCE_NS)
    async with driving(core, settings=settings) as driver:
        core.deadline_ns = 1
        driver.post("arm")
        await until(lambda: len(core.steps) == 3 or core.deadline_ns is None)
        assert core.events(LoopWasLate) == []


async def test_a_stopped_process_does_not_hold_its_sleep_against_its_peers() -> None:
    core = NotingCore()
    limits = ConnectionLimits(first_frame_s=1.0)
    settings = DriverSettings(limits=limits, late_tolerance_ns=TOLERANCE_NS)
    async with driving(core, settings=settings) as driver:
        peer = await accepted(driver)
        await until(lambda: core.events(Accepted))
        time.sleep(1.2)  # noqa: ASYNC251
        await asyncio.sleep(0.1)
        assert core.closings() == []
        await until(core.closings)
        peer.close()


async def test_the_length_of_each_step_is_observed() -> None:
    core = NotingCore()
    observed: list[int] = []
    async with driving(core) as driver:
        driver.observe_turn = observed.append
        driver.post("once")
        await until(lambda: len(core.steps) == 2)
        assert len(observed) == 1
        assert observed[0] > 0


async def test_the_wait_from_an_event_to_its_step_is_observed() -> None:
    core = NotingCore()
    waits: list[int] = []
    async with driving(core) as driver:
        driver.observe_wait = waits.append
        driver.post("first")
        time.sleep(0.02)  # noqa: ASYNC251
        driver.post("second")
        await until(lambda: len(core.steps) == 2)
        assert len(waits) == 1, "the first of them is told, the others have waited for less"
        assert waits[0] >= 20 * MS
