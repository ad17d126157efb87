"""The processes that a bench starts: a line in, a line out, and no process left behind."""

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

BENCH = Path(__file__).resolve().parents[1]
# What is measured is the tree that the bench stands in, whatever else is installed.
TREE = [str(BENCH.parent / part) for part in ("sched", "workers", "shm", "wire", "clients")]
sys.path[:0] = TREE
os.environ["PYTHONPATH"] = os.pathsep.join(TREE)  # of the service, which a bench starts by name
ANSWER_S = 60.0
END_S = 5.0
LINES_MAX = 1_000


class ChildTrouble(Exception):
    """A process of the bench did not do what it was told; the text says which and what."""


class Child:
    """One process of `_load`, by its module; it ends when its standard input does."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._lines: queue.Queue[str] = queue.Queue(LINES_MAX)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=BENCH,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCH), *TREE])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for the bench, which then ends its processes
        )
        self.pid = self._process.pid
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put("")

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process: kindly, then firmly."""
        process = self._process
        assert process.stdin is not None
        try:
            process.stdin.close()
            process.wait(END_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()

    def has_line(self) -> bool:
        """Has it said something that was not read?"""
        return not self._lines.empty()

    def next_line(self, patience_s: float = ANSWER_S) -> str:
        """Return the next line that it says.  Raises ChildTrouble when none comes in time."""
        try:
            line = self._lines.get(timeout=patience_s)
        except queue.Empty:
            raise ChildTrouble(f"{self._module}: no answer within {patience_s:g} s") from None
        if not line:
            raise ChildTrouble(f"{self._module}: ended; what it said last stands above")
        return line

    def say(self, line: str) -> None:
        """Say one line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def ask(self, line: str) -> str:
        """Say one line and return the answer."""
        self.say(line)
        return self.next_line()
