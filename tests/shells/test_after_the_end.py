"""Whoever still waits, or asks, when a session or its client is over gets an answer."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import pytest
from live.fake_service import fake_service

from pointsman import (
    Job,
    JobCancelled,
    JobRefused,
    PointsmanError,
    SessionError,
    Trunk,
    blocking,
    connect,
)
from pointsman.jobs import as_sent
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import Cancel, Submit
from pointsman_wire.talk.talk_messages import RoomJoin, RoomMember, RoomState


async def test_a_number_is_no_payload() -> None:
    """bytes() would make as many zeros of it, or take a gigabyte."""
    async with fake_service() as service, connect(service.address) as session:
        number: Any = 5
        with pytest.raises(TypeError):
            await session.submit(number)
        with pytest.raises(TypeError):
            session.say(number)
        async with session.speak() as saying:
            with pytest.raises(TypeError):
                saying.push(number)
            saying.cancel()
        with pytest.raises(TypeError):
            await Job().partial(number)
        assert as_sent("it", memoryview(b"a-b-c")[::2]) == b"abc"
        await session.close(flush=False)


async def test_what_is_asked_of_a_closed_client_is_refused_at_once() -> None:
    async with fake_service() as service:
        async with connect(service.address) as session:
            pass
        async with asyncio.timeout(5):
            with pytest.raises(JobRefused, match="SESSION_CLOSED"):
                await session.submit(b"too late")
            with pytest.raises(JobRefused, match="SESSION_CLOSED"):
                await session.say("too late").results()
            with pytest.raises(SessionError, match="SESSION_CLOSED"):
                await session.join("kitchen")
            stream = session.stream(b"too late")
            with pytest.raises(JobRefused, match="SESSION_CLOSED"):
                await anext(stream)
            trunk = Trunk(service.address)
            async with trunk:
                pass
            with pytest.raises(SessionError, match="SESSION_CLOSED"):
                await trunk.open()


async def test_who_enters_a_room_hears_that_the_session_is_over() -> None:
    async with fake_service() as service, Trunk(service.address) as trunk:
        session = await trunk.open()
        entering = asyncio.create_task(session.join("kitchen"))
        await asyncio.sleep(0.05)
        await session.close(flush=False)
        async with asyncio.timeout(5):
            with pytest.raises(SessionError, match="SESSION_CLOSED"):
                await entering
            with pytest.raises(SessionError, match="SESSION_CLOSED"):
                await session.join("kitchen")


async def test_who_waits_for_a_room_waits_on_when_another_one_gives_up() -> None:
    async with fake_service() as service, connect(service.address) as session:
        first, second = (asyncio.create_task(session.join("kitchen")) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        (asked, *_) = await service.wait_for(RoomJoin)
        (peer,) = service.of_role(Role.SESSION)
        peer.send(
            RoomState(
                session_number=asked.session_number,
                room="kitchen",
                members=[RoomMember(session="me")],
            )
        )
        async with asyncio.timeout(5):
            assert (await second).room == "kitchen"
        third = asyncio.create_task(session.join("garden"))
        await asyncio.sleep(0.05)
        session.leave()
        async with asyncio.timeout(5):
            with pytest.raises(SessionError, match="CANCELLED"):
                await third


async def test_who_is_cancelled_while_the_block_waits_for_its_jobs_leaves_none_running() -> None:
    async with fake_service() as service:
        asked = asyncio.Event()
        waiting: list[asyncio.Task[object]] = []

        async def program() -> None:
            async with connect(service.address) as session:
                waiting.append(asyncio.create_task(session.submit(b"nobody runs it")))
                await service.wait_for(Submit)
                asked.set()

        running = asyncio.create_task(program())
        await asked.wait()
        await asyncio.sleep(0.05)
        running.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await running
            with pytest.raises(JobCancelled):
                await waiting[0]
            await service.wait_for(Cancel)


async def test_a_stream_whose_result_was_not_waited_for_tells_what_became_of_it() -> None:
    """Not that somebody was cancelled: whoever reads on is not."""
    async with fake_service() as service, connect(service.address) as session:
        stream = session.stream(b"nobody runs it")
        beside = asyncio.create_task(stream.result())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.result(), 0.05)
        await session.close(flush=False)
        for waits in (beside, stream.result(), anext(stream)):
            with pytest.raises(JobCancelled):
                await waits


async def test_threads_that_wait_when_the_block_is_left_wait_no_longer() -> None:
    """Whatever they do; and whoever calls later is told."""
    async with fake_service() as service:
        waits = [
            lambda session: session.submit(b"nobody runs it"),
            lambda session: [*session.happenings()],
            lambda session: [*session.stream(b"nobody runs it")],
            lambda session: session.join("kitchen"),
        ]
        left, threads = await asyncio.to_thread(leave_amid, service.address, waits)
        assert [thread for thread in threads if thread.is_alive()] == []
        for act in (lambda: left.submit(b"late"), lambda: left.say("late"), left.leave):
            with pytest.raises(SessionError, match="SESSION_CLOSED"):
                act()


def leave_amid(address: str, waits: Sequence[Callable[[Any], object]]) -> Any:
    with suppress(KeyError), blocking.connect(address) as session:
        threads = [threading.Thread(target=quietly, args=(act, session)) for act in waits]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        raise KeyError  # so that nobody waits for what runs
    for thread in threads:
        thread.join(timeout=3)
    return session, threads


def quietly(act: Callable[[Any], object], session: Any) -> None:
    with suppress(PointsmanError):
        act(session)


class Knot:
    """Garbage that nobody but the collector finds."""

    def __init__(self, half_read: object) -> None:
        self.itself = self
        self.half_read = half_read


@pytest.mark.parametrize("place", ["in the loop's own thread", "amid a call"])
async def test_what_is_left_half_read_may_be_collected_anywhere(place: str) -> None:
    """It ends with that, and no thread waits for itself."""
    is_left = threading.Event()

    async def ticks() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            is_left.set()

    def program() -> bool:
        thread = blocking.LoopThread()
        half_read = thread.each(ticks())
        assert next(half_read) == 1
        Knot(half_read)
        del half_read
        if place == "amid a call":
            with thread._lock:
                gc.collect()
        else:
            thread.do(gc.collect)
        is_over = is_left.wait(5)
        thread.close()
        return is_over

    async with asyncio.timeout(10):
        assert await asyncio.to_thread(program)


async def test_a_thread_that_calls_just_as_the_loop_stops_is_not_forgotten() -> None:
    thread = blocking.LoopThread()
    is_asked = threading.Event()

    async def for_ever() -> None:
        is_asked.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(asyncio.to_thread(thread.call, for_ever()))
    await asyncio.to_thread(is_asked.wait)
    await asyncio.to_thread(thread.close)
    async with asyncio.timeout(5):
        with pytest.raises(SessionError, match="SESSION_CLOSED"):
            await waiting


async def test_a_session_that_is_used_in_another_event_loop_says_so() -> None:
    """It would wait for an answer that nobody brings there."""
    async with fake_service() as service, connect(service.address) as session:

        async def elsewhere() -> list[str]:
            async def refused(act: Coroutine[Any, Any, object]) -> str:
                with pytest.raises(RuntimeError) as caught:
                    await asyncio.wait_for(act, 5)
                return str(caught.value)

            async def says() -> None:
                session.say("hello")

            acts = (session.submit(b"x"), says(), session.join("kitchen"), session.close())
            return [await refused(act) for act in acts]

        words = await asyncio.to_thread(asyncio.run, elsewhere())
        assert all("opened it" in each for each in words), words
        assert not session.is_over
