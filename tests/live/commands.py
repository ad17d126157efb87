"""The command line for tests: in this process, as a process, and with canned processes to ask."""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from pointsman.cli.main import app
from pointsman.testing import RunningService
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminServer
from pointsman_wire.sockets.unix_sockets import listen_at

RUN_S = 90.0
TLS_READY = re.compile(r"; TLS at (\S+), (sha256:[A-Za-z0-9+/]{43}=)")
LEAVE_S = 60.0


def tls_place(output: str) -> tuple[str, str]:
    """Return where a service takes TLS, HOST:PORT, and its pin, from what it has said."""
    found = TLS_READY.search(output)
    assert found, output
    return found[1], found[2]


def invoke(*arguments: str, given: str = "") -> Result:
    """Run a command in this process; its output comes in pieces."""
    runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, arguments, input=given)


def pointsman(*arguments: str) -> list[str]:
    """The words that start a command as a process."""
    return [sys.executable, "-m", "pointsman", *arguments]


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as a process to its end."""
    return subprocess.run(
        pointsman(*arguments),
        input=given,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


@contextmanager
def started_node(
    service: RunningService, state_dir: Path, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """A node of the command line that is ready; it must leave with 0 when asked to."""
    command = pointsman(
        "node", "--server", service.address, "--state-dir", str(state_dir), *options
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any(line.startswith("pointsman node ready: ") for line in process.stdout)
        yield process
        process.terminate()
        assert process.wait(LEAVE_S) == 0
    finally:
        process.kill()
        process.communicate()


class Processes:
    """Admin sockets of a service in a folder, answered by canned answers from a thread."""

    def __init__(self, runtime_dir: Path) -> None:
        self.runtime_dir = runtime_dir
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._servers: list[AdminServer] = []
        self.orders: list[tuple[str, Any]] = []

    def add(self, process: str, answers: Mapping[type, Any]) -> None:
        """Start a process; what it has no answer to it cannot answer.

        Orders that it is given are kept in `orders`.
        """

        async def obey(order: Any) -> Any:
            self.orders.append((process, order))
            return answers.get(type(order))

        listener = listen_at(admin_socket(self.runtime_dir, process))

        async def serve() -> AdminServer:
            return AdminServer(listener, lambda query: answers.get(type(query)), obey=obey)

        serving = asyncio.run_coroutine_threadsafe(serve(), self._loop)
        self._servers.append(serving.result(10))

    def add_dead(self, process: str) -> None:
        """Leave the socket of a process that was killed."""
        listen_at(admin_socket(self.runtime_dir, process)).close()

    def close(self) -> None:
        for server in self._servers:
            asyncio.run_coroutine_threadsafe(server.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def canned_processes() -> Iterator[Processes]:
    """An instance `default` without processes yet, in a folder that has nothing else."""
    # A folder of our own: a unix socket's path must be short, pytest's may be long.
    folder = Path(tempfile.mkdtemp(prefix="pm-cli-"))
    (folder / "default").mkdir(mode=0o700)
    made = Processes(folder / "default")
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)
