"""Nodes that say of jobs what is not so: only the current dispatch counts, and nobody suffers."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from live.bystander import Bystander, bystander
from live.raw import lane_open, raw_role
from live.raw_node import RawNode
from live.service import LiveService, live_service, until

from pointsman import JobExpired, JobFailed, JobRefused
from pointsman_wire import lane_messages
from pointsman_wire.control_messages import Drain, Heartbeat, HeartbeatAck, NodeStateChanged
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    CancelJob,
    JobFence,
    LanePong,
    LaneReport,
    NodePartial,
    NodeProgress,
    NodeResult,
    NodeResultAck,
)
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role

FAR = 2**63 - 1


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started
        asyncio.run(started.has_no_slots_held())


@pytest.fixture(autouse=True)
async def someone(service: LiveService, tmp_path: Path) -> AsyncIterator[Bystander]:
    """Works on beside every test here; see bystander.py."""
    async with bystander(service, tmp_path) as working:
        yield working


@pytest.fixture
async def node(service: LiveService, someone: Bystander) -> AsyncIterator[RawNode]:
    async with AsyncExitStack() as stack:
        yield await RawNode(service, stack).join()


async def test_results_that_belong_to_no_dispatch_are_dropped_and_acknowledged(
    service: LiveService, node: RawNode
) -> None:
    """N10, I3: unknown jobs, other epochs, old dispatches: only the current dispatch counts."""
    before = (await service.counters())["stale_results"]
    job = asyncio.create_task((await node.session(0)).submit("x", services=["nmt"]))
    assign, _ = await node.lanes[0].hear(Assign)
    epoch = node.epochs[0]
    lies: list[dict[str, Any]] = [
        {"job_id": "unknown", "dispatch": FAR},
        {"job_id": "unknown"},
        {"epoch": epoch + 1},
        {"epoch": 0},
        {"epoch": FAR, "dispatch": FAR},
        {"dispatch": assign.dispatch + 1},
        {"dispatch": 0},
    ]
    for number, lie in enumerate(lies, start=1):
        node.lanes[0].say(node.result(0, assign, number, **lie), b"a lie")
    node.lanes[1].say(node.result(1, assign, 1), b"on the other worker's lane")
    await node.lanes[1].hear(NodeResultAck)
    while (await node.lanes[0].hear(NodeResultAck))[0].number < len(lies):
        pass
    assert not job.done()
    node.lanes[0].say(node.result(0, assign, len(lies) + 1), b"the truth")
    assert (await job).payload == b"the truth"
    assert (await service.counters())["stale_results"] == before + len(lies) + 1


async def test_a_result_counts_once(service: LiveService, someone: Bystander) -> None:
    """N10, I11, I10: the second is dropped, and no slot is freed twice."""
    async with AsyncExitStack() as stack:
        node = await RawNode(service, stack).join(slots=2)
        session = await node.session(1)
        lane = node.lanes[1]
        jobs = [asyncio.create_task(session.submit(body, services=["nmt"])) for body in "ab"]
        assigned = [(await lane.hear(Assign))[0] for _ in jobs]
        for number, body in enumerate((b"first", b"second", b"third"), start=1):
            lane.say(node.result(1, assigned[0], number), body)
        assert (await jobs[0]).payload == b"first"

        third = asyncio.create_task(session.submit("c", services=["nmt"]))
        last, _ = await lane.hear(Assign)
        with pytest.raises(JobRefused) as refusal:
            await session.submit("d", services=["nmt"], wait_busy_s=0)
        assert refusal.value.code == "QUEUE_TIMEOUT"
        lane.say(node.result(1, assigned[1], 4), b"b")
        lane.say(node.result(1, last, 5), b"c")
        assert {(await jobs[1]).payload, (await third).payload} == {b"b", b"c"}


async def test_what_a_node_says_of_jobs_that_it_does_not_have_means_nothing(
    service: LiveService, node: RawNode
) -> None:
    lane = node.lanes[0]
    for epoch in (0, node.epochs[0], FAR):
        lane.say(AssignAck(number=FAR))
        lane.say(lane_messages.JobRefused(job_id="x", epoch=epoch, dispatch=5, code="STALE"))
        lane.say(NodePartial(job_id="x", epoch=epoch, dispatch=5, seq=FAR), b"x" * 1000)
        lane.say(NodeProgress(job_id="x", epoch=epoch, dispatch=5, percent=1e300))
        lane.say(LanePong(number=FAR, last_read=FAR))
    job = asyncio.create_task((await node.session(0)).submit("x", services=["nmt"]))
    assign, _ = await lane.hear(Assign)
    lane.say(node.result(0, assign), b"done")
    assert (await job).payload == b"done"


async def test_a_report_of_jobs_that_nobody_gave_is_answered_with_their_end(
    service: LiveService, node: RawNode
) -> None:
    """They cannot be somebody's: a node may not invent work."""
    async with raw_role(service.port, Role.LANE, 0) as lane:
        lane.say(lane_open(node.told))
        fences = [
            JobFence(f"job-{n}", node.epochs[0], 10**6 + n, "", "s", f"r-{n}") for n in range(3)
        ]
        lane.say(LaneReport(running=fences))
        cancelled = {(await lane.hear(CancelJob))[0].job_id for _ in fences}
        assert cancelled == {"job-0", "job-1", "job-2"}
        for number, fence in enumerate(fences, start=1):
            lane.say(
                NodeResult(
                    number=number,
                    job_id=fence.job_id,
                    epoch=fence.epoch,
                    dispatch=fence.dispatch,
                    status="cancelled",
                )
            )
        while (await lane.hear(NodeResultAck))[0].number < len(fences):
            pass


async def test_a_node_whose_results_are_no_messages_loses_the_job_not_the_service(
    service: LiveService, node: RawNode
) -> None:
    session = await node.session(0)
    job = asyncio.create_task(session.submit("x", services=["nmt"]))
    assign, _ = await node.lanes[0].hear(Assign)
    bad = msgspec.msgpack.encode({"type": "node_result", "number": "one", "job_id": 7})
    node.lanes[0].write(struct.pack("<II", 4 + len(bad), len(bad)) + bad)
    error, _ = await node.lanes[0].hear(Error)
    assert error.error.code == "INVALID_MESSAGE"
    assert "node_result" in error.error.message
    node.lanes[0].say(node.result(0, assign, status="failed", code="MY_CODE", message="as it is"))
    with pytest.raises(JobFailed, match="as it is"):
        await job


async def test_numbers_out_of_all_bounds_in_heartbeats_do_no_harm(
    service: LiveService, node: RawNode
) -> None:
    node.control.say(
        Heartbeat(number=FAR, running=FAR, cpu_percent=1e9, gpu_percent=-1e9, memory_percent=150)
    )
    assert (await node.control.hear(HeartbeatAck))[0].number == FAR
    node.control.say(Drain(deadline_s=86_400))
    while (await node.control.hear(NodeStateChanged))[0].state != "draining":
        pass


async def test_a_node_that_refuses_everything_is_given_up(
    service: LiveService, node: RawNode
) -> None:
    """It says that it has no room, whatever the ledger says: no loop without end."""
    session = await node.session(0)
    job = asyncio.create_task(session.submit("x", services=["nmt"], wait_busy_s=1))

    async def refuse_all() -> None:
        while True:
            assign, _ = await node.lanes[0].hear(Assign)
            node.lanes[0].say(
                lane_messages.JobRefused(
                    job_id=assign.job_id,
                    epoch=node.epochs[0],
                    dispatch=assign.dispatch,
                    code="NODE_OVERLOADED",
                )
            )

    refusing = asyncio.create_task(refuse_all())
    with pytest.raises((JobExpired, JobFailed)):
        await asyncio.wait_for(job, 15)
    refusing.cancel()
    await asyncio.gather(refusing, return_exceptions=True)


async def test_a_node_that_floods_its_lane_disturbs_nobody(
    service: LiveService, node: RawNode, someone: Bystander
) -> None:
    done = list(someone.done)
    flood = [NodeProgress(job_id="x", epoch=1, dispatch=n) for n in range(20_000)]
    for message in flood:
        node.lanes[0].say(message)
    await node.lanes[0].writer.drain()
    await someone.goes_on(done)
    await until(lambda: someone.has_done_more([d + 20 for d in done]), "it goes on")
