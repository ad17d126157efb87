"""A real service for tests: started by command line, asked over its admin sockets, never left."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from pointsman_sim.chaos.processes import worker_name

PATIENCE_S = 30.0
READY = re.compile(r"pointsman ready: (\S+):(\d+), ")


def wait_until(is_so: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Look again and again until it is so."""
    until_s = monotonic() + patience_s
    while not is_so():
        assert monotonic() < until_s, f"not within {patience_s:g} s: {what}"
        sleep(0.02)


def is_running(pid: int) -> bool:
    """Is this a process that has not ended (a zombie has)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Service:
    """One start of the supervisor; what it says is kept."""

    def __init__(
        self, place: "Place", *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.place = place
        self.said: list[str] = []
        self._seen: set[int] = set()  # children, dead ones too
        self.process = subprocess.Popen(
            place.command(*options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._lines: queue.Queue[str | None] = queue.Queue(maxsize=100_000)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Return the first line yet to be looked at that matches."""
        until_s = monotonic() + PATIENCE_S
        while True:
            line = self._lines.get(timeout=max(0.01, until_s - monotonic()))
            assert line is not None, f"ended without saying {pattern!r}: {self.said}"
            self.said.append(line)
            if found := re.search(pattern, line):
                return found

    def ready(self) -> int:
        """Wait until it is ready; return its port."""
        return int(self.wait_for(READY)[2])

    def pids(self) -> dict[str, int]:
        """The children that live now, by name."""
        found = {}
        for entry in Path("/proc").iterdir():
            name = self._child_name(entry) if entry.name.isdigit() else ""
            if name:
                found[name] = int(entry.name)
        self._seen.update(found.values())
        return found

    def _child_name(self, entry: Path) -> str:
        """manager, worker-<k>, or "" when the process is no child of this service."""
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            return ""
        if int(parent) != self.process.pid or "--alive-fd" not in words:
            return ""
        self._seen.add(int(entry.name))  # also a spare, which has no name yet
        if "pointsman_sched.console" in words:
            return "console"
        return worker_name(words, int(entry.name)) if "pointsman_workers" in words else "manager"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; return the status, with all that it said kept."""
        status = self.process.wait(PATIENCE_S + 15)
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            self.said.append(line)
        return status

    def text(self) -> str:
        return "\n".join(self.said)

    def text_so_far(self) -> str:
        """All that has been said by now; no `wait_for` comes upon it any more."""
        while not self._lines.empty():
            line = self._lines.get()
            if line is None:
                break
            self.said.append(line)
        return self.text()

    def close(self) -> None:
        """End whatever still runs."""
        self.pids()
        self.process.kill()
        self.process.wait()
        for pid in filter(is_running, self._seen):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, self._seen)), "children end by SIGKILL")
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Place:
    """An instance's name and directories, for one service after another."""

    def __init__(self, directory: Path) -> None:
        self.instance = f"t-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.directory = directory
        self.state_dir = directory / "s"
        self.runtime_dir = directory / "r"
        self.has_console = False  # a process more to start, which most tests have no use for

    def command(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "pointsman_sched.supervisor"]
        command += ["--instance", self.instance, "--state-dir", str(self.state_dir)]
        command += ["--runtime-dir", str(self.runtime_dir)]
        chosen = [] if "--port" in options else ["--port", "0"]
        if not self.has_console:
            chosen.append("--no-console")
        return [*command, *chosen, *options]

    @contextmanager
    def service(
        self, *options: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[Service]:
        service = Service(self, *options, environment=environment)
        try:
            yield service
        finally:
            service.close()

    def segments(self) -> list[str]:
        names = os.listdir("/dev/shm")
        return [name for name in names if name.startswith(f"pointsman.{self.instance}.")]

    def sockets(self) -> list[str]:
        return [path.name for path in self.runtime_dir.glob("*.sock")]

    def remove_segments(self) -> None:
        for name in self.segments():
            Path("/dev/shm", name).unlink()


@contextmanager
def place() -> Iterator[Place]:
    """A place that leaves nothing behind; its path is short enough for sockets."""
    with TemporaryDirectory(prefix="pm-") as name:
        made = Place(Path(name))
        try:
            yield made
        finally:
            made.remove_segments()
