"""Jobs through a real service: two workers, a manager, nodes and clients on real sockets."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import pytest
from live.journal import Journal
from live.nodes import live_node, running_node
from live.service import LiveService
from live.sessions import session_ids

from pointsman import (
    Job,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobRefused,
    Node,
    blocking,
    connect,
)
from pointsman.cli.program_handler import ProgramHandler
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.limits import PAYLOAD_BYTES_MAX

NMT = ["nmt"]


# ---- slots


async def test_a_slot_freed_by_one_worker_goes_to_a_job_that_waits_in_the_other(
    service: LiveService, journal: Journal
) -> None:
    """T1, I4: one slot, two workers, 40 jobs at once; never two at a time, and all are done."""
    ids = [*session_ids(0, 4, prefix="slot"), *session_ids(1, 4, prefix="slot")]
    before = await service.counters()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            live_node(service.address, journal, "ae", max_concurrency=1)
        )
        sessions = [
            await stack.enter_async_context(
                connect(service.address, session_id=i, src="en", tgt="ae")
            )
            for i in ids
        ]
        results = await asyncio.gather(
            *(
                session.submit(b"x", services=NMT, meta={"sleep_s": 0.005}, wait_busy_s=15)
                for session in sessions
                for _ in range(5)
            )
        )
    assert {result.node_id for result in results} == {"n-ae"}
    assert journal.most_at_once("n-ae") == 1
    assert {len(starts) for starts in journal.starts().values()} == {1}
    after = await service.counters()
    assert after["node_capacity_refusals"] == before["node_capacity_refusals"]


async def test_every_job_that_gets_a_node_at_once_has_its_scheduling_timed(
    service: LiveService, journal: Journal
) -> None:
    """From the read of its request, whatever else its turn did."""

    async def timed() -> float:
        found = [await service.ask(f"worker-{index}", StatusQuery()) for index in (0, 1)]
        return sum(s.timings_us["scheduling"]["count"] for s in found if isinstance(s, Status))

    async with (
        live_node(service.address, journal, "ba"),
        connect(service.address, src="en", tgt="ba") as session,
    ):
        await session.submit(
            "a", services=NMT
        )  # it may have to wait until its worker sees the node
        before = await timed()
        for _ in range(3):
            await session.submit("a", services=NMT)
        assert await timed() - before == 3


async def test_who_waits_in_one_worker_starts_when_the_other_frees_the_slot(
    service: LiveService, journal: Journal
) -> None:
    """By a doorbell: neither by chance nor after a while."""
    ids = [session_ids(shard, 1, prefix="bell")[0] for shard in (0, 1)]
    async with (
        live_node(service.address, journal, "aq", max_concurrency=1),
        connect(service.address, session_id=ids[0], src="en", tgt="aq") as holder,
        connect(service.address, session_id=ids[1], src="en", tgt="aq") as waiter,
    ):
        first = asyncio.create_task(holder.submit("a", services=NMT, meta={"sleep_s": 0.4}))
        await journal.has("start")
        second = await waiter.submit("b", services=NMT, explain=True)
        assert (await first).text == "a"
    assert [entry.what for entry in journal.entries()] == ["start", "end", "start", "end"]
    ended, started = journal.entries()[1:3]
    assert started.at_ns - ended.at_ns < 1_000_000_000
    assert second.queued_ms > 50


async def test_cancelling_the_awaiting_task_stops_the_handler_and_frees_the_slot(
    service: LiveService, journal: Journal
) -> None:
    """T5: what was cancelled, failed or timed out gives its slot back like what ended well."""
    async with (
        live_node(service.address, journal, "af", max_concurrency=1),
        connect(service.address, src="en", tgt="af") as session,
    ):
        task = asyncio.create_task(session.submit("x", services=NMT, meta={"sleep_s": 60}))
        await journal.has("start")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = await session.submit("next", services=NMT)
        assert result.text == "txen"
        assert [entry.what for entry in journal.entries()] == ["start", "stopped", "start", "end"]

        with pytest.raises(JobFailed) as failed:
            await session.submit("x", services=NMT, meta={"fail": "INVALID_MESSAGE"})
        assert failed.value.code == "INVALID_MESSAGE"
        running = asyncio.create_task(session.submit("x", services=NMT, meta={"sleep_s": 60}))
        await journal.has("start", count=4)
        with pytest.raises(JobExpired) as expired:
            await session.submit("y", services=NMT, wait_busy_s=0.1)
        assert expired.value.code == "QUEUE_TIMEOUT"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await session.submit("last", services=NMT)).text == "tsal"
    await service.has_no_slots_held()


async def test_a_cancelled_job_says_so_to_others_who_wait_for_it(
    service: LiveService, journal: Journal
) -> None:
    async with (
        live_node(service.address, journal, "ag"),
        connect(service.address, src="en", tgt="ag", session_id="both") as first,
    ):
        running = asyncio.create_task(
            first.submit("x", services=NMT, meta={"sleep_s": 60}, request_id="r")
        )
        await journal.has("start")
        stream = first.stream("z", services=NMT, meta={"sleep_s": 60}, request_id="other")
        stream.cancel()
        with pytest.raises(JobCancelled):
            await stream.result()
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_output_that_is_too_large_is_told_as_that_and_not_made_again(
    service: LiveService, journal: Journal
) -> None:
    runs = []

    async def too_much(job: Job) -> bytes:
        runs.append(job.text)
        if job.text == "stream":
            await job.partial(bytes(1024 * 1024))
            await job.partial(bytes(1024 * 1024 + 1))
        return bytes(1024 * 1024 + 1)

    nodes = [Node(service.address, services=NMT, nmt=[("en", "ah")]) for _ in range(2)]
    for node in nodes:
        node.handler(too_much)
    async with (
        running_node(nodes[0]),
        running_node(nodes[1]),
        connect(service.address, src="en", tgt="ah") as session,
    ):
        words = r"has 1048577 bytes, at most 1048576 can travel: .*partial"
        with pytest.raises(JobFailed, match=words) as failed:
            await session.submit("whole", services=NMT)
        assert (failed.value.code, failed.value.retryable) == ("INVALID_MESSAGE", False)
        stream = session.stream("stream", services=NMT)
        assert len((await anext(stream)).payload) == 1024 * 1024
        with pytest.raises(JobFailed, match=words) as failed:
            await stream.result()
        assert failed.value.code == "INVALID_MESSAGE"
    assert runs == ["whole", "stream"]


# ---- time


async def test_a_passed_deadline_ends_the_job_here_and_on_its_node(
    service: LiveService, journal: Journal
) -> None:
    """T20: who never answers lets only its own requests time out."""
    async with (
        live_node(service.address, journal, "ah"),
        connect(service.address, src="en", tgt="ah") as session,
    ):
        hanging = asyncio.create_task(
            session.submit("x", services=NMT, meta={"sleep_s": 60}, deadline_s=0.5)
        )
        while not hanging.done():
            assert (await session.submit("ok", services=NMT)).text == "ko"
        with pytest.raises(JobExpired) as expired:
            await hanging
        assert expired.value.code == "JOB_TIMEOUT"
        await journal.has("stopped")


async def test_an_attempt_that_takes_too_long_is_given_to_another_node(
    service: LiveService, journal: Journal, tmp_path: Path
) -> None:
    """T13: no answer from the chosen node, so the next one within the budget."""
    other = Journal(tmp_path / "other")
    async with AsyncExitStack() as stack:
        slow = live_node(service.address, journal, "ai", node_id="slow")
        await stack.enter_async_context(slow)
        session = await stack.enter_async_context(connect(service.address, src="en", tgt="ai"))
        job = asyncio.create_task(
            session.submit("x", services=NMT, timeout_s=0.5, meta={"sleep_s": 0.8}, request_id="r")
        )
        await journal.has("start")
        await stack.enter_async_context(
            live_node(service.address, other, "ai", node_id="quick", max_concurrency=2)
        )
        with pytest.raises(JobFailed) as failed:
            await job
        # The handler is slow wherever it runs: every attempt ran out of time and says where.
        assert failed.value.code == "JOB_TIMEOUT"
        assert any("quick" in reason for reason in failed.value.attempts)
        assert journal.starts()["r"][0].attempt == 1
        assert other.starts()["r"][0].attempt == 2


# ---- what nobody can do


async def test_what_nobody_can_do_is_refused_at_once_and_says_why(
    service: LiveService, journal: Journal
) -> None:
    """T14: never a silent hang."""
    async with (
        live_node(service.address, journal, "aj"),
        connect(service.address, src="en", tgt="aj") as session,
    ):
        # From here on the node stands in the snapshot of this worker.
        assert (await session.submit("x", services=NMT)).node_id == "n-aj"
        began_s = monotonic()
        with pytest.raises(JobRefused) as unknown:
            await session.submit("x", services=["telepathy"])
        assert unknown.value.code == "UNSUPPORTED_FEATURE"
        assert "telepathy" in str(unknown.value)
        with pytest.raises(JobRefused) as nobody:
            await session.submit("x", services=NMT, tgt="zz", wait_none_s=0)
        assert nobody.value.code == "NO_AVAILABLE_NODE"
        assert nobody.value.breakdown is not None
        assert nobody.value.breakdown.counts["lang_pair_unsupported"] == 1
        assert monotonic() - began_s < 2

        with pytest.raises(JobExpired) as waited:
            await session.submit("x", services=NMT, tgt="zz", wait_none_s=0.3)
        assert waited.value.code == "NO_AVAILABLE_NODE"


async def test_a_job_that_waits_for_a_node_gets_one_that_joins(
    service: LiveService, journal: Journal
) -> None:
    async with connect(service.address, src="en", tgt="ak") as session:
        job = asyncio.create_task(session.submit("soon", services=NMT, wait_none_s=15))
        await asyncio.sleep(0.1)
        assert not job.done()
        async with live_node(service.address, journal, "ak"):
            assert (await job).text == "noos"


# ---- what travels


async def test_payloads_larger_than_a_read_travel_both_ways(
    service: LiveService, journal: Journal
) -> None:
    body = bytes(range(256)) * 3600  # 900 KiB
    async with (
        live_node(service.address, journal, "al"),
        connect(service.address, src="en", tgt="al") as session,
    ):
        results = await asyncio.gather(
            *(session.submit(body, services=NMT, request_id=f"r{n}") for n in range(4))
        )
        assert all(result.payload == body[::-1] for result in results)
        largest = bytes(PAYLOAD_BYTES_MAX)
        assert (await session.submit(largest, services=NMT)).payload == largest
        with pytest.raises(JobRefused, match=r"the server takes 1048576"):
            await session.submit(largest + b"x", services=NMT)


async def test_pieces_of_a_streamed_result_come_in_order_before_the_whole(
    service: LiveService, journal: Journal
) -> None:
    async with (
        live_node(service.address, journal, "am"),
        connect(service.address, src="en", tgt="am") as session,
        session.stream("whole", services=NMT, meta={"pieces": 50}) as stream,
    ):
        pieces = [piece.text async for piece in stream]
        assert pieces == [f"piece {number}" for number in range(50)]
        assert (await stream.result()).text == "elohw"


async def test_leaving_a_stream_early_stops_its_job(service: LiveService, journal: Journal) -> None:
    async with (
        live_node(service.address, journal, "an"),
        connect(service.address, src="en", tgt="an") as session,
    ):
        meta = {"pieces": 1, "sleep_s": 60}
        async with session.stream("whole", services=NMT, meta=meta) as stream:
            async for _ in stream:
                break
        await journal.has("stopped")


async def test_a_blocking_program_is_served_as_well(service: LiveService, journal: Journal) -> None:
    def program() -> list[str]:
        with blocking.connect(service.address, src="en", tgt="ao") as session:
            whole = session.submit("whole", services=NMT)
            pieces = session.stream("whole", services=NMT, meta={"pieces": 2})
            return [whole.text, *(piece.text for piece in pieces)]

    async with live_node(service.address, journal, "ao"):
        said = await asyncio.to_thread(program)
    assert said == ["elohw", "piece 0", "piece 1", "elohw"]


# ---- what a program's exit code means


async def test_a_program_that_fails_is_not_run_on_another_node_unless_it_says_so(
    service: LiveService, tmp_path: Path
) -> None:
    """75 is for another node to try; any other exit code ends the job, and says so."""
    started = tmp_path / "started"
    script = f"echo run >> {started}; read code; exit $code"
    async with AsyncExitStack() as stack:
        for number in range(2):
            node = Node(
                service.address, services=NMT, nmt=[("en", "hm")], node_id=f"program-{number}"
            )
            node.handler(ProgramHandler(["sh", "-c", script]))
            await stack.enter_async_context(running_node(node))
        session = await stack.enter_async_context(connect(service.address, src="en", tgt="hm"))
        with pytest.raises(JobFailed, match="exit code 3") as final:
            await session.submit("3\n", services=NMT)
        assert (final.value.retryable, final.value.attempt) == (False, 1)
        assert started.read_text() == "run\n"
        with pytest.raises(JobFailed, match="exit code 75") as elsewhere:
            await session.submit("75\n", services=NMT)
        assert {line.split()[3] for line in elsewhere.value.attempts} == {
            "program-0:",
            "program-1:",
        }
