"""A client and a node that share no code with the service work with the real one.

They were written from docs/protocol.md alone; so when this fails, the service and its document
do not say the same.
"""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "plain_sockets"
READY_S = 30.0
ANSWER_S = 30.0
LINES_MAX = 1000


class Program:
    """A running program whose lines of output can be awaited."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            text=True,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue(maxsize=LINES_MAX)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match of the first line that has this pattern."""
        while (line := self._lines.get(timeout=READY_S)) is not None:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError("it ended and said:\n" + "\n".join(self.said))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(READY_S)
        finally:
            self.process.kill()
            self.process.wait()
            while self._reader.is_alive():
                self._drain()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def _drain(self) -> None:
        try:
            self.said.append(self._lines.get(timeout=0.1) or "")
        except queue.Empty:
            pass  # the reader is about to end


@contextmanager
def program(*arguments: str) -> Iterator[Program]:
    running = Program(*arguments)
    try:
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A service of two workers, and a plain node that has joined it."""
    instance = f"t-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        state = stack.enter_context(TemporaryDirectory(prefix="pm-state-"))
        runtime = stack.enter_context(TemporaryDirectory(prefix="pm-run-"))
        options = ["--instance", instance, "--state-dir", state, "--runtime-dir", runtime]
        options += ["--port", "0", "--workers", "2", "--no-console"]
        service = stack.enter_context(program("-m", "pointsman_sched.supervisor", *options))
        found = service.wait_for(r"pointsman ready: (\S+:\d+)")[1]
        yield found


@pytest.fixture
def node(address: str) -> Iterator[Program]:
    with program(str(EXAMPLES / "tiny_node.py"), address) as running:
        running.wait_for("^ready: ")
        yield running


def translate(address: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "tiny_client.py"), address, text]
    return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)


def test_a_text_is_translated_by_the_plain_node(address: str, node: Program) -> None:
    node_id = node.said[-1].removeprefix("ready: ")
    for text in ("good morning", "where is the train station?", "ñ" * 1000):
        ended = translate(address, text)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[0] == text.upper()
        assert f"by {node_id}, attempt 1" in ended.stdout


def test_sessions_of_every_worker_are_served(address: str, node: Program) -> None:
    # Which worker accepts is chance, so a few tries meet both.
    for number in range(8):
        ended = translate(address, f"text {number}")
        assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, f"TEXT {number}")


def test_a_node_that_comes_back_works_again(address: str) -> None:
    for _ in range(2):
        with program(str(EXAMPLES / "tiny_node.py"), address) as running:
            running.wait_for("^ready: ")
            assert translate(address, "again").stdout.startswith("AGAIN\n")
            assert running.end() == 0


def test_without_a_node_the_client_is_told_why(address: str) -> None:
    ended = translate(address, "nobody is there")
    assert ended.returncode == 1
    assert "NO_AVAILABLE_NODE" in ended.stderr
