"""Node and client over real sockets, against a service in miniature."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from live.fake_service import FakeService, Peer, fake_service

from pointsman import (
    Job,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobRefused,
    Node,
    NodeRefused,
    Reply,
    SessionError,
    Trunk,
    Unreachable,
    blocking,
    connect,
)
from pointsman_wire.control_messages import Heartbeat, Leave, Register
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob, NodeResult
from pointsman_wire.lane_messages import JobRefused as LaneJobRefused
from pointsman_wire.messages import Error, Message, error_info
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import Cancel, SessionInit, Submit


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[Node]:
    """Run a node until the block is left; it drains then."""
    task = asyncio.create_task(node.run())
    try:
        async with asyncio.timeout(10):
            await node.wait_ready()
        yield node
        async with asyncio.timeout(10):
            await node.drain()
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def make_node(service: FakeService, **options: Any) -> Node:
    return Node(service.address, services=["nmt"], nmt=[("en", "es")], node_id="n1", **options)


async def shout(job: Job) -> bytes:
    return job.payload.upper()


async def test_a_job_goes_from_the_client_to_the_handler_and_back() -> None:
    async with fake_service() as service:
        node = make_node(service)
        seen: list[Job] = []

        @node.handler
        async def translate(job: Job) -> Reply:
            seen.append(job)
            return Reply(job.text.upper(), meta={"words": 1}, content_type="text/plain")

        async with running(node), connect(service.address, src="en", tgt="es") as session:
            result = await session.submit(
                b"hello", request_id="r-1", services=["nmt"], meta={"a": [1]}, src="de"
            )
            assert (result.payload, result.text) == (b"HELLO", "HELLO")
            assert (result.request_id, result.job_id) == ("r-1", "job-r-1")
            assert (result.node_id, result.attempt, result.placement_us) == ("n1", 1, 5.0)
            assert (result.meta, result.content_type) == ({"words": 1}, "text/plain")
            assert (session.session_id, session.instance) == ("made-here", "fake")
        job = seen[0]
        assert (job.services, job.src_lang, job.meta) == (["nmt"], "de", {"a": [1]})
        assert (job.timeout_s, job.request_id) == (30.0, "r-1")
        assert service.all(Leave)


async def test_a_blocking_handler_runs_in_threads_as_many_as_there_is_room() -> None:
    async with fake_service() as service:
        node = make_node(service, max_concurrency=3)
        together = threading.Barrier(3, timeout=10)

        @node.handler
        def translate(job: Job) -> str:
            together.wait()
            job.progress_nowait(50.0)
            return f"{job.text} in {threading.current_thread().name}"

        async with running(node), connect(service.address) as session:
            results = await asyncio.gather(*[session.submit(f"{n}") for n in range(3)])
        assert len({result.text.split(" in ")[1] for result in results}) == 3
        assert not [t for t in threading.enumerate() if t.name.startswith("pointsman-job")]


async def test_partials_are_streamed_and_the_result_follows() -> None:
    async with fake_service() as service:
        node = make_node(service)

        @node.handler
        async def count(job: Job) -> bytes:
            for n in range(3):
                await job.partial(f"{n}")
            await job.progress(75.0, "nearly")
            return b"done"

        async with running(node), connect(service.address) as session:
            stream = session.stream(b"count")
            assert [part.text async for part in stream] == ["0", "1", "2"]
            assert (await stream.result()).payload == b"done"
            assert stream.latest_progress is not None
            assert stream.latest_progress.percent == 75.0


def fail(job: Job) -> bytes:
    """Go wrong in the way that the payload names."""
    if job.payload == b"mine":
        raise JobError(Code.MODEL_NOT_AVAILABLE, "no model")
    if job.payload == b"bug":
        raise ZeroDivisionError("oops")
    return b"x" * 2_000_000 if job.payload == b"big" else None  # type: ignore[return-value]


async def fail_async(job: Job) -> bytes:
    return fail(job)


@pytest.mark.parametrize("handler", [fail, fail_async])
@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (b"mine", "MODEL_NOT_AVAILABLE", "no model"),
        (b"bug", "INTERNAL_ERROR", "ZeroDivisionError: oops"),
        (b"big", "INVALID_MESSAGE", "the result has 2000000 bytes"),
        (b"none", "INTERNAL_ERROR", "the handler returned NoneType"),
    ],
)
async def test_what_a_handler_raises_is_the_jobs_failure_and_not_the_nodes(
    handler: Any, payload: bytes, code: str, words: str
) -> None:
    async with fake_service() as service:
        node = make_node(service)
        node.handler(handler)
        async with running(node), connect(service.address) as session:
            with pytest.raises(JobFailed) as caught:
                await session.submit(payload)
        assert caught.value.code == code
        assert caught.value.message.startswith(words)
        assert caught.value.node_id == "n1"


async def test_cancelling_the_awaiting_task_cancels_the_job_on_the_node() -> None:
    async with fake_service() as service:
        node = make_node(service)
        begun, stopped = asyncio.Event(), asyncio.Event()

        @node.handler
        async def wait(job: Job) -> bytes:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                assert job.cancelled
                stopped.set()
            return b""

        async with running(node), connect(service.address) as session:
            task = asyncio.create_task(session.submit(b"x"))
            await asyncio.wait_for(begun.wait(), 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(stopped.wait(), 10)
            await service.wait_for(NodeResult)
            assert service.all(NodeResult)[0].status == "cancelled"
            assert service.all(Cancel)


async def test_a_blocking_handler_sees_that_its_job_was_cancelled() -> None:
    async with fake_service() as service:
        node = make_node(service)

        @node.handler
        def wait(job: Job) -> bytes:
            ticks = threading.Event()
            while not job.cancelled:
                ticks.wait(0.005)
            return b"late"

        async with running(node), connect(service.address) as session:
            stream = session.stream(b"x", request_id="r1")
            await service.wait_for(Submit)
            async with stream:
                pass
            await service.wait_for(NodeResult)


async def test_a_job_cancelled_by_the_server_before_it_began_frees_its_slot() -> None:
    async with fake_service() as service:
        node = make_node(service, max_concurrency=1)
        node.handler(shout)

        def cancel_at_once(peer: Peer, message: Message) -> bool:
            if type(message) is Submit and message.request_id == "r1":
                service.on_submit(peer, message, b"x")
                lane_peer = service.of_role(Role.LANE)[-1]
                lane_peer.send(CancelJob(job_id="job-r1", epoch=1, dispatch=1))
                return True
            return False

        service.special = cancel_at_once
        async with running(node), connect(service.address) as session:
            with pytest.raises(JobCancelled):
                await session.submit(b"x", request_id="r1")
            assert (await session.submit(b"y")).payload == b"Y"


async def test_a_broken_session_is_resumed_and_no_submit_is_lost() -> None:
    async with fake_service() as service:
        node = make_node(service, max_concurrency=16)
        gate = asyncio.Event()

        @node.handler
        async def wait(job: Job) -> bytes:
            await gate.wait()
            return job.payload

        async with running(node), connect(service.address) as session:
            tasks = [asyncio.create_task(session.submit(f"{n}")) for n in range(5)]
            await service.wait_for(Submit, 5)
            for peer in service.of_role(Role.SESSION):
                peer.cut()
            (_, init) = await service.wait_for(SessionInit, 2)
            assert len(init.unfinished) == 5
            gate.set()
            assert [result.text for result in await asyncio.gather(*tasks)] == list("01234")
            assert len(service.all(Submit)) == 5


async def test_a_node_comes_back_after_every_connection_broke_with_its_results() -> None:
    async with fake_service() as service:
        node = make_node(service)
        gate = asyncio.Event()

        @node.handler
        async def wait(job: Job) -> bytes:
            await gate.wait()
            return job.payload

        async with running(node), connect(service.address) as session:
            task = asyncio.create_task(session.submit(b"kept"))
            await service.wait_for(Heartbeat, 3)
            for peer in service.of_role(Role.LANE, Role.CONTROL):
                peer.cut()
            gate.set()
            assert (await asyncio.wait_for(task, 10)).payload == b"kept"
            registers = await service.wait_for(Register, 2)
            assert registers[1].key == "a-key"
            assert not service.all(LaneJobRefused)


async def test_errors_of_the_server_are_typed_and_say_what_to_do() -> None:
    async with fake_service() as service, connect(service.address) as session:
        with pytest.raises(JobExpired) as expired:
            await session.submit(b"x", wait_none_s=0.0)
        assert (expired.value.code, expired.value.retryable) == ("NO_AVAILABLE_NODE", True)
        assert expired.value.hint

        def refuse(peer: Peer, message: Message) -> bool:
            if type(message) is Submit:
                error = error_info(Code.QUEUE_FULL, "full", retry_after_ms=70)
                peer.send(Error(error, session_number=1, request_id=message.request_id))
            return type(message) is Submit

        service.special = refuse
        with pytest.raises(JobRefused, match="QUEUE_FULL: full") as refused:
            await session.submit(b"x", request_id="r2")
        assert refused.value.retry_after_ms == 70
        assert refused.value.request_id == "r2"


async def test_options_that_cannot_be_are_refused_before_anything_is_sent() -> None:
    async with fake_service() as service, connect(service.address) as session:
        with pytest.raises(TypeError, match="colour"):
            await session.submit(b"x", colour="red")  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="timeout_s"):
            await session.submit(b"x", timeout_s=-1)
        with pytest.raises(ValueError, match="key of type int"):
            await session.submit(b"x", meta={1: 2})  # type: ignore[dict-item]
        assert not service.all(Submit)
        with pytest.raises(ValueError, match="max_concurrency"):
            Node(service.address, services=["nmt"], max_concurrency=10**9)
        with pytest.raises(ValueError, match="name at least one"):
            Node(service.address)
        with pytest.raises(ValueError, match="HOST:PORT"):
            Node("nowhere", services=["nmt"])


async def test_a_server_that_is_not_there_is_unreachable_and_says_where_it_was_sought() -> None:
    async with fake_service() as service:
        address = service.address
    with pytest.raises(Unreachable, match=address):
        async with connect(address, connect_timeout_s=0.3):
            raise AssertionError("it opened")


async def test_a_refused_session_raises_with_the_servers_words() -> None:
    async with fake_service() as service:

        def refuse(peer: Peer, message: Message) -> bool:
            assert type(message) is SessionInit
            assert message.token == "wrong"
            peer.send(Error(error_info(Code.UNAUTHORIZED, "no such token"), ref=message.ref))
            return True

        service.special = refuse
        with pytest.raises(SessionError, match="no such token"):
            async with connect(service.address, token="wrong"):
                raise AssertionError("it opened")


async def test_a_refused_node_raises_with_the_servers_words() -> None:
    async with fake_service() as service:

        def refuse(peer: Peer, message: Message) -> bool:
            if type(message) is Register:
                peer.send(Error(error_info(Code.NODE_ID_CONFLICT, "n1 has another key")))
            return type(message) is Register

        service.special = refuse
        node = make_node(service)
        node.handler(shout)
        waiting = asyncio.create_task(node.wait_ready())
        with pytest.raises(NodeRefused, match="n1 has another key"):
            await asyncio.wait_for(node.run(), 10)
        with pytest.raises(NodeRefused, match="n1 has another key"):
            await asyncio.wait_for(waiting, 10)


async def test_many_sessions_share_a_trunk() -> None:
    async with fake_service() as service:
        node = make_node(service, max_concurrency=64)
        node.handler(shout)
        async with running(node), Trunk(service.address) as trunk:
            sessions = [await trunk.open(session_id=f"s{n}") for n in range(10)]
            results = await asyncio.gather(*[s.submit(s.session_id) for s in sessions])
            assert [result.text for result in results] == [f"S{n}" for n in range(10)]
            assert len(service.of_role(Role.TRUNK)) == 1
            for session in sessions:
                await session.close()


async def test_the_blocking_client_submits_and_streams() -> None:
    async with fake_service() as service:
        node = make_node(service)

        @node.handler
        async def both(job: Job) -> bytes:
            await job.partial(b"piece")
            return job.payload

        def use() -> list[Any]:
            with blocking.connect(service.address, src="en") as session:
                whole = session.submit(b"whole").payload
                pieces = [piece.payload for piece in session.stream(b"end")]
            return [whole, *pieces]

        async with running(node):
            assert await asyncio.to_thread(use) == [b"whole", b"piece", b"end"]
    with pytest.raises(Unreachable):
        await asyncio.to_thread(_open_nowhere, service.address)
    assert not [t for t in threading.enumerate() if t.name == "pointsman-client"]


def _open_nowhere(address: str) -> None:
    with blocking.connect(address, connect_timeout_s=0.2):
        raise AssertionError("it opened")


async def test_leaving_a_session_by_an_exception_does_not_wait_for_its_jobs() -> None:
    async with fake_service() as service:
        tasks = []

        async def leave_early() -> None:
            async with connect(service.address) as session:
                tasks.append(asyncio.create_task(session.submit(b"never")))
                await service.wait_for(Submit)
                raise KeyError("mine")

        with pytest.raises(KeyError):
            await asyncio.wait_for(leave_early(), 10)
        with pytest.raises((JobCancelled, JobRefused, JobFailed)):
            await tasks[0]
