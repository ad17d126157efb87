"""Nodes for tests: in the test's own event loop, or as processes that can be killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from live.journal import Journal
from live.node_program import worker
from live.service import PATIENCE_S
from supervised_service import wait_until

from pointsman import Node
from pointsman.handlers import Handler
from pointsman_wire.sockets.crash_points import VARIABLE

TESTS = Path(__file__).resolve().parents[1]


@asynccontextmanager
async def live_node(
    address: str, journal: Journal, tgt: str, *, node_id: str = "", **options: Any
) -> AsyncIterator[Node]:
    """A node that translates English to `tgt`, is ready, and leaves at the end."""
    node_id = node_id or f"n-{tgt}"
    node = Node(address, services=["nmt"], nmt=[("en", tgt)], node_id=node_id, **options)
    node.handler(worker(journal, node_id))
    async with running_node(node):
        yield node


@asynccontextmanager
async def talking_node(
    address: str, node_id: str, known: Sequence[str], work: Handler
) -> AsyncIterator[None]:
    """A node that hears, translates and speaks these languages, is ready, and leaves at the end."""
    pairs = [(src, tgt) for src in known for tgt in known if src != tgt]
    services = ["asr", "nmt", "tts"]
    node = Node(address, node_id=node_id, services=services, asr=known, nmt=pairs, tts=known)
    node.handler(work)
    async with running_node(node):
        yield


@asynccontextmanager
async def running_node(node: Node) -> AsyncIterator[None]:
    """Runs it, and waits until it is ready."""
    running = asyncio.create_task(node.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await node.wait_ready()
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class NodeStart(msgspec.Struct, frozen=True, kw_only=True):
    """How a node program is started, beyond where it dials and what it translates."""

    node_id: str = ""
    slots: int = 4
    crash_point: str = ""
    state_dir: str = ""
    history: str = ""
    before: tuple[str, ...] = ()  # words that start the program elsewhere


class NodeProcess:
    """A node that runs as a program."""

    def __init__(self, address: str, journal: Journal, tgt: str, **options: Any) -> None:
        start = NodeStart(**options)
        self.node_id = start.node_id or f"n-{tgt}"
        words = (address, str(journal.path), self.node_id, tgt, str(start.slots))
        kept = (start.state_dir, start.history)
        self.process = subprocess.Popen(
            [
                *(*start.before, sys.executable, "-m", "live.node_program"),
                *words,
                *kept,
            ],
            cwd=TESTS,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: start.crash_point},
            stdout=subprocess.PIPE,
        )

    async def ready(self) -> None:
        """Wait until it says so."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line == b"ready\n", line

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end; return the exit status."""
        await asyncio.to_thread(wait_until, lambda: self.process.poll() is not None, "its end")
        return self.process.wait()

    def close(self) -> None:
        """Kill whatever still runs."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def node_process(address: str, journal: Journal, tgt: str, **options: Any) -> Iterator[NodeProcess]:
    """A node program that is killed at the end, if it still runs; options of NodeStart."""
    node = NodeProcess(address, journal, tgt, **options)
    try:
        yield node
    finally:
        node.close()
