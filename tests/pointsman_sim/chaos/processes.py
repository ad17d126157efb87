"""The processes of a run: a service of its own, nodes and clients, each known by its pid.

Everything that is started here is ended here, and nothing else is ever touched.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import msgspec

READY = re.compile(r"^pointsman ready: (\S+?),? ")
READY_S = 60.0
END_S = 45.0
LINES_KEPT_MAX = 400
# All nodes share one machine with the faults: how busy it is must not matter.
CONFIG = "[nodes]\nresource_threshold_percent = 0\n"


class ChaosTrouble(Exception):
    """The run could not be made; the text says what went wrong, and what the process said."""


class Child:
    """One process that was started here; its last lines are kept."""

    def __init__(self, name: str, command: Sequence[str], before: Sequence[str] = ()) -> None:
        """Start a module of Python; `before` it come the words that run a program elsewhere."""
        self.name = name
        self.lines: deque[str] = deque(maxlen=LINES_KEPT_MAX)
        # A session of its own: Ctrl-C reaches this program alone, which ends the others.
        self.process = subprocess.Popen(
            [*before, sys.executable, "-P", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        """Return the pid, also of a child that has ended."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Has it not ended?"""
        return self.process.poll() is None

    def end(self, patience_s: float) -> int:
        """Ask it to end, and kill it when it does not; return the exit status."""
        if self.is_alive:
            os.kill(self.pid, signal.SIGCONT)
            self.process.terminate()
        try:
            status = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(5.0)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()
        return status


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service listens; port 0 is any free one."""

    port: int = 0
    host: str = "127.0.0.1"
    before: Sequence[str] = ()  # the words that run a program there, if it is not simply here


HERE = Spot()


class Service(Child):
    """A service in a directory."""

    def __init__(
        self,
        directory: Path,
        workers: int,
        *,
        config: str = CONFIG,
        instance: str = "",
        spot: Spot = HERE,
    ) -> None:
        self.instance = instance or f"chaos-{os.getpid()}-{os.urandom(3).hex()}"
        self.runtime_dir = directory / "run"
        self.worker_count = workers
        path = directory / "pointsman.toml"
        path.write_text(config)
        path.chmod(0o600)
        command = ["-m", "pointsman_sched.supervisor", "--port", str(spot.port), "--no-console"]
        command += ["--instance", self.instance, "--workers", str(workers)]
        command += ["--state-dir", str(directory / "state")]
        command += ["--runtime-dir", str(self.runtime_dir), "--config", str(path)]
        if spot.host != HERE.host:
            command += ["--host", spot.host, "--insecure-plaintext"]
        super().__init__("service", command, spot.before)

    def wait_ready(self) -> str:
        """Return the address once it takes connections.  Raises ChaosTrouble."""
        until_s = monotonic() + READY_S
        while monotonic() < until_s and self.is_alive:
            for line in [*self.lines]:
                if ready := READY.match(line):
                    return ready[1]
            sleep(0.02)
        said = "\n".join(self.lines)
        raise ChaosTrouble(f"the service did not become ready; it said:\n{said}")

    def parts(self) -> dict[str, int]:
        """Return the pids of its living processes: manager, worker-<k>."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (name := self._part_name(entry)):
                found[name] = int(entry.name)
        return found

    def _part_name(self, entry: Path) -> str:
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError, ValueError):
            return ""
        if int(parent) != self.pid or state == "Z" or self.instance not in words:
            return ""
        if "pointsman_workers" in words:
            return worker_name(words, int(entry.name))
        return "manager" if any("pointsman_sched" in word for word in words) else ""

    def clear_away(self) -> None:
        """Remove what a service that was killed leaves in shared memory, and end its parts."""
        for pid in self.parts().values():
            os.kill(pid, signal.SIGKILL)
        for segment in self.segments():
            segment.unlink(missing_ok=True)

    def segments(self) -> list[Path]:
        """Return what it has in shared memory."""
        return [*Path("/dev/shm").glob(f"pointsman.{self.instance}.*")]


def worker_name(words: Sequence[str], pid: int) -> str:
    """Return worker-<k> by a worker's command line, or by the lock that it holds if it was a spare.

    "" for a spare that still waits.
    """
    if "--index" in words:
        return f"worker-{words[words.index('--index') + 1]}"
    state_dir = Path(words[words.index("--state-dir") + 1])
    for lock in state_dir.glob("shard-*.lock"):
        if lock.read_text(encoding="ascii").split()[:1] == [str(pid)]:
            return f"worker-{lock.stem.removeprefix('shard-')}"
    return ""


def state_of(pid: int) -> str:
    """Return the letter that the kernel gives a process, "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def birth_of(pid: int) -> str:
    """Return what tells a process from a later one with its pid; "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""
