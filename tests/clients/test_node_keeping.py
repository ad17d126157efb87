"""What a node keeps over restarts, how it leaves on SIGTERM, and what it measures."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from live.fake_service import FakeService, fake_service

from pointsman import HandlerUnstoppable, Job, Node, NodeStateError, Service, connect
from pointsman.handlers import Handler
from pointsman.node_store import NodeStore
from pointsman.resources import ResourceProbe
from pointsman_wire.control_messages import Drain, Heartbeat, LanesReady, Leave, Register
from pointsman_wire.lane_messages import NodeResult, TurnAsk

NODE = """
import asyncio, sys
from pointsman import Node
node = Node(sys.argv[1], services=["nmt"], state_dir=sys.argv[2], drain_s=5.0)
@node.handler
async def handle(job):
    return job.payload
asyncio.run(node.run())
"""


def test_a_store_is_read_back_and_readable_for_its_owner_only(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "state")
    store.keep_identity("n1", "secret")
    store.keep_epoch("uid", 0, 4)
    store.keep_epoch("uid", 1, 2)
    store.keep_epoch("uid", 0, 5)
    store.close()
    again = NodeStore(tmp_path / "state")
    assert (again.state.node_id, again.state.key) == ("n1", "secret")
    assert [(e.shard, e.epoch) for e in again.state.epochs] == [(1, 2), (0, 5)]
    again.close()
    file = tmp_path / "state" / "node.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in file.parent.iterdir()) == ["node.json", "node.lock"]


def test_a_torn_or_foreign_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    for text in ('{"format": 1, "node_id": "n', '{"format": 9}', '{"format": 1, "colour": 2}'):
        file.write_text(text)
        with pytest.raises(NodeStateError, match=r"node\.json"):
            NodeStore(tmp_path)
    file.write_text(json.dumps({"format": 1, "node_id": "n1", "key": "k", "epochs": []}))
    NodeStore(tmp_path).close()


def test_two_nodes_cannot_share_a_state_directory(tmp_path: Path) -> None:
    """N7: a second node with the same id would fence the first one off."""
    first = NodeStore(tmp_path)
    with pytest.raises(NodeStateError, match="another node runs"):
        NodeStore(tmp_path)
    first.close()
    NodeStore(tmp_path).close()


@pytest.mark.parametrize("place", ["/proc/no/such", "file"])
def test_a_state_directory_that_cannot_be_one_is_told_with_what_to_do(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NodeStateError, match=r"cannot be used as state_dir: .*name another one"):
        NodeStore(tmp_path / place)


async def test_a_disk_that_fails_ends_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: NodeStore, instance_uid: str, shard: int, epoch: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(NodeStore, "keep_epoch", fail)
    async with fake_service() as service:
        node = Node(service.address, services=["nmt"], state_dir=tmp_path)

        @node.handler
        async def handle(job: Job) -> bytes:
            return job.payload

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        with pytest.raises(OSError, match="no space left"):
            await asyncio.wait_for(node.run(), 10)


async def test_a_node_drains_on_sigterm_and_returns_under_its_id_and_key(tmp_path: Path) -> None:
    async with fake_service() as service:
        for turn in (1, 2):
            process = subprocess.Popen(
                [sys.executable, "-c", NODE, service.address, str(tmp_path)],
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                await service.wait_for(LanesReady, turn)
                process.send_signal(signal.SIGTERM)
                await service.wait_for(Leave, turn)
                _, errors = await asyncio.to_thread(process.communicate, timeout=20)
            finally:
                process.kill()
                process.wait()
            assert (process.returncode, errors) == (0, "")
        first, second = service.all(Register)
        assert (first.node_id, first.key) == ("", "")
        assert (second.node_id, second.key) == ("made-here", "a-key")
        assert [drain.reason for drain in service.all(Drain)] == ["SIGTERM", "SIGTERM"]
    kept = json.loads((tmp_path / "node.json").read_text())
    assert kept["epochs"] == [{"instance_uid": "uid", "shard": 0, "epoch": 1}]


async def test_an_interrupted_node_says_that_it_leaves() -> None:
    async with fake_service() as service:
        node = Node(service.address, services=["nmt"])

        @node.handler
        async def handle(job: Job) -> bytes:
            return job.payload

        task = asyncio.create_task(node.run())
        await asyncio.wait_for(node.wait_ready(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.wait_for(Leave)
        assert node.state == "stopped"
        again = asyncio.create_task(node.run())
        await asyncio.wait_for(node.wait_ready(), 10)
        assert service.all(Register)[1].key == "a-key", "it proves its id from memory"
        await node.drain()
        await again


async def test_a_node_without_a_handler_says_so() -> None:
    with pytest.raises(RuntimeError, match="needs a handler"):
        await Node("127.0.0.1:7400", services=["nmt"]).run()


async def test_who_waits_for_a_node_that_cannot_run_hears_why() -> None:
    """Whatever it is that run() raises, and whether it was raised before or after."""
    node = Node("127.0.0.1:7400", services=["nmt"])
    waiting = asyncio.create_task(node.wait_ready())
    await asyncio.sleep(0)
    running = asyncio.create_task(node.run())
    async with asyncio.timeout(5):
        for each in (waiting, running, node.wait_ready()):
            with pytest.raises(RuntimeError, match="needs a handler"):
                await each


async def test_who_waits_for_a_node_that_is_drained_before_it_was_ready_waits_no_longer() -> None:
    """Also one that is interrupted; who asks afterwards may mean the next run."""
    node = Node("127.0.0.1:1", services=["nmt"])

    @node.handler
    async def handle(job: Job) -> bytes:
        return job.payload

    for is_drained in (True, False):
        running = asyncio.create_task(node.run())
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(node.wait_ready())
        await asyncio.sleep(0.05)
        if is_drained:
            await node.drain()
        else:
            running.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(RuntimeError, match="the node has stopped"):
                await waiting
        await asyncio.gather(running, return_exceptions=True)


async def test_a_coroutine_may_tell_its_progress_from_a_thread() -> None:
    async with fake_service() as service:
        node = Node(service.address, services=["nmt"])

        @node.handler
        async def handle(job: Job) -> bytes:
            def work() -> None:
                job.partial_nowait("half")
                job.progress_nowait(50.0)

            await asyncio.to_thread(work)
            return b"whole"

        asyncio.get_running_loop().set_debug(True)  # so that it complains of other threads
        running = asyncio.create_task(node.run())
        await asyncio.wait_for(node.wait_ready(), 10)
        async with connect(service.address) as session:
            stream = session.stream(b"x")
            assert [piece.text async for piece in stream] == ["half"]
            assert (await stream.result()).payload == b"whole"
        await node.drain()
        await running


def test_the_machine_is_measured() -> None:
    probe = ResourceProbe()
    hardware = probe.hardware()
    assert hardware.cpu_cores == os.cpu_count()
    measured = probe.measure()
    for percent in (measured.cpu_percent, measured.memory_percent):
        assert percent is None or 0 <= percent <= 100
    if sys.platform == "linux":
        assert hardware.memory_mib > 0
        assert measured.memory_percent is not None


def test_without_proc_and_psutil_figures_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd14")
    monkeypatch.setitem(sys.modules, "psutil", None)
    measured = ResourceProbe().measure()
    assert (measured.cpu_percent, measured.memory_percent) == (None, None)


async def test_services_that_stop_while_a_node_runs_are_told_with_its_next_heartbeat() -> None:
    async with fake_service() as service:
        node = Node(service.address, services=["nmt"], nmt=[("en", "es")], node_id="n1")
        node.handler(lambda job: job.payload)
        running = asyncio.create_task(node.run())
        async with asyncio.timeout(20):
            await node.wait_ready()
            stopped = [Service(id="nmt", kind="nmt", status="stopped")]
            node.set_services(stopped)
            while not any(beat.services == stopped for beat in service.all(Heartbeat)):
                await service.wait_for(Heartbeat, count=len(service.all(Heartbeat)) + 1)
            assert node.services == stopped
            await node.drain()
            await running


def unending(kind: str, began: asyncio.Event, goes_on: threading.Event) -> Handler:
    """Return a handler that ends late: a thread, or a coroutine that is deaf or is not."""
    loop = asyncio.get_running_loop()

    def thread(_job: Job) -> bytes:
        loop.call_soon_threadsafe(began.set)
        goes_on.wait(30)
        return b"late"

    async def polite(_job: Job) -> bytes:
        began.set()
        await asyncio.sleep(30)
        return b"late"

    async def deaf(_job: Job) -> bytes:
        began.set()
        while not goes_on.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
        return b"late"

    handlers: dict[str, Handler] = {"thread": thread, "polite": polite, "deaf": deaf}
    return handlers[kind]


async def until_told(service: FakeService, job_id: str) -> None:
    """Wait for the result of a job, which is that it was stopped."""
    told: list[NodeResult] = []
    while job_id not in (result.job_id for result in told):
        told = await service.wait_for(NodeResult, count=len(told) + 1)
    assert {result.status for result in told} == {"cancelled"}


async def given(service: FakeService, began: asyncio.Event) -> str:
    """Return the job that has begun: one whose grant was late, on a busy machine, never does."""
    for number in range(1, 5):
        service.give(f"job-r-{number}")
        with suppress(TimeoutError):
            await asyncio.wait_for(began.wait(), 5)
            return f"job-r-{number}"
    raise AssertionError("no job has begun")


@pytest.mark.parametrize("kind", ["thread", "deaf", "polite"])
async def test_i5_a_handler_that_does_not_end_in_time_takes_its_node_with_it(kind: str) -> None:
    """Nobody confirms the job any more, and the next one of its session may start elsewhere.

    What it does while it is confirmed, test_lone_runs.py shows on a clock of its own.
    """
    began, goes_on = asyncio.Event(), threading.Event()
    async with fake_service() as service:
        service.silence_ms = 1_500
        node = Node(service.address, services=["nmt"], nmt=[("en", "es")], node_id="n1")
        node.handler(unending(kind, began, goes_on))
        running = asyncio.create_task(node.run())
        async with asyncio.timeout(40):
            await node.wait_ready()
            job_id = await given(service, began)
            await service.wait_for(TurnAsk, count=2)
            service.confirms = False
            if kind == "polite":
                await until_told(service, job_id)
                running.cancel()
            (error,) = await asyncio.gather(running, return_exceptions=True)
            goes_on.set()
            if kind != "polite":
                assert isinstance(error, HandlerUnstoppable)
                assert error.job_id == job_id
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
