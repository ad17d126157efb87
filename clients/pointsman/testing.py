"""A throw-away service for the tests of those who build on Pointsman.

In conftest.py: ``pytest_plugins = ["pointsman.testing"]``; then

    async def test_my_node(pointsman_service):
        async with connect(pointsman_service.address) as session:
            ...

or, without pytest, ``with running_service() as service: ...``.  The service has a name, a port
and directories of its own, so any number of them may run at once; it needs the extra `server`
and Linux.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
OUTPUT_LINES_MAX = 2_000
_READY = re.compile(r"^pointsman ready: (?P<address>\S+?),? .*\(pid (?P<pid>\d+)\)")


class ServiceTrouble(Exception):
    """The service did not start, or did not end well; the text has what it said."""


class RunningService:
    """A service that answers at `address`; `output` is what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], instance: str, directory: Path) -> None:
        self.process = process
        self.instance = instance
        self.state_dir = directory / "state"
        self.runtime_dir = directory / "run"
        self.address = ""
        self.output: list[str] = []
        self._is_killed = False
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name="service-output", daemon=True)
        self._reader.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once the service takes connections.  Raises ServiceTrouble."""
        if not self._ready.wait(timeout_s) or not self.address:
            raise ServiceTrouble(self._words("did not become ready"))

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the service as SIGTERM does.  Raises ServiceTrouble unless it ends with 0."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServiceTrouble(self._words(f"did not stop within {timeout_s:g} s")) from None
        self._close()
        if status != 0 and not self._is_killed:
            raise ServiceTrouble(self._words(f"ended with {status}"))

    def kill(self) -> None:
        """End the service at once, whatever state it is in, and clear away what it leaves."""
        self._is_killed = True
        self.process.kill()
        self.process.wait()
        self._close()
        for segment in Path("/dev/shm").glob(f"pointsman.{self.instance}.*"):  # noqa: S108
            segment.unlink(missing_ok=True)

    def _close(self) -> None:
        self._reader.join(timeout=10.0)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()

    def _read(self) -> None:
        """Follow the output, so that the service never waits for somebody to read it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if len(self.output) < OUTPUT_LINES_MAX:
                self.output.append(line.rstrip("\n"))
            if not self.address and (ready := _READY.match(line)):
                self.address = ready["address"]
                self._ready.set()
        self._ready.set()

    def _words(self, what: str) -> str:
        said = "\n".join(self.output[-40:]) or "(nothing)"
        return f"the service {self.instance} {what}; it said:\n{said}"


@contextmanager
def running_service(
    *,
    workers: int = 2,
    config: Path | None = None,
    more: Sequence[str] = (),
    has_console: bool = False,
) -> Iterator[RunningService]:
    """Start a service, wait until it is ready, and stop it at the end.

    `has_console` is whether it shows its pages; `more` are further options of `pointsman serve`.
    Without a `config` the service gives jobs to nodes however busy the machine is, so that tests do
    not hang on a busy one.  Raises ServiceTrouble when it does not become ready, or does not end
    with 0.
    """
    instance = f"test-{os.getpid()}-{os.urandom(3).hex()}"
    with tempfile.TemporaryDirectory(prefix="pointsman-") as name:
        directory = Path(name)
        # -P: nothing is imported from the directory that the tests are run in.
        command = [sys.executable, "-P", "-m", "pointsman_sched.supervisor", "--port", "0"]
        command += [] if has_console else ["--no-console"]
        command += ["--instance", instance, "--workers", str(workers)]
        command += ["--state-dir", str(directory / "state")]
        command += ["--runtime-dir", str(directory / "run")]
        command += ["--config", str(config or _test_config(directory))]
        process = subprocess.Popen(
            [*command, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        service = RunningService(process, instance, directory)
        try:
            service.wait_ready(READY_TIMEOUT_S)
            yield service
        except BaseException:
            _stop_quietly(service)
            raise
        service.stop()


def _test_config(directory: Path) -> Path:
    """All nodes of a test share one machine, and tests keep it busy."""
    path = directory / "pointsman.toml"
    path.write_text("[nodes]\nresource_threshold_percent = 0\n")
    path.chmod(0o600)
    return path


def _stop_quietly(service: RunningService) -> None:
    """Something else went wrong already: that is what shall be seen, not how this ends."""
    try:
        service.stop()
    except ServiceTrouble:
        return


@pytest.fixture
def pointsman_service() -> Iterator[RunningService]:
    """A service of two workers that lives as long as the test."""
    with running_service() as service:
        yield service
