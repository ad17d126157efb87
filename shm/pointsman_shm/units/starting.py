"""A start that may take long, as systemd is told of it.

A unit has a limit for its start (TimeoutStartSec=), but how long a journal is, or how long a disk
stays full, nobody knows.  So a thread asks for more time as long as the process gets on: whatever
it does or waits for, it computes or wakes up now and then, which the kernel counts.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path

# What the units grant, and what is asked for each time.
START_S = 120.0
LOOKS_PER_LIMIT = 4
_SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)
_THREADS = Path("/proc/self/task")


def sign_in(directory: Path) -> int | None:
    """Return what grows in /proc/PID (or one of its threads) while it does anything: processor
    time, and how often it slept; None where it is gone.
    """
    try:
        times = (directory / "stat").read_text().rpartition(")")[2].split()[11:13]
        switches = _SWITCHES.findall((directory / "status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return sum(map(int, [*times, *switches]))


class StartWatch:
    """Says `tell` now and then, until it is closed, while another thread than its own gets on."""

    def __init__(self, tell: Callable[[str], None], limit_s: float = START_S) -> None:
        self._tell = tell
        self._limit_s = limit_s
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, name="start-watch", daemon=True).start()

    def close(self) -> None:
        """The start is over, in one way or another."""
        self._is_over.set()

    def _watch(self) -> None:
        before = _signs()
        while not self._is_over.wait(self._limit_s / LOOKS_PER_LIMIT):
            try:
                signs = _signs()
            except OSError:  # no descriptor left, for now
                continue
            if signs != before:
                before = signs
                self._tell(f"EXTEND_TIMEOUT_USEC={int(self._limit_s * 1e6)}")


def _signs() -> dict[str, int | None]:
    own = str(threading.get_native_id())
    return {task.name: sign_in(task) for task in _THREADS.iterdir() if task.name != own}
