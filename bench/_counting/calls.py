"""What a worker asks of the system for a job: strace's count, of a service under load."""

import signal
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from _load.orders import Order
from _load.systems import Line

ATTACH_S = 0.5
RUN_S = 1.0
CALLS = ("read", "write", "pwrite64", "epoll_pwait")


def calls_of(line: Line, depth: int) -> dict[str, float]:
    """Return how often the server of a line makes each call of the system for one job."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "calls"
        command = ["strace", "-c", "-f", "-p", str(line.server_pid), "-o", str(path)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            time.sleep(ATTACH_S)
            outcome = line.run(Order(depth=depth, warm_s=0.0, run_s=RUN_S))
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        counts = _counts(path.read_text(encoding="ascii"))
    return {name: counts.get(name, 0) / outcome.jobs for name in CALLS}


def _counts(table: str) -> dict[str, int]:
    """Read the column of calls of strace's table."""
    rows = [line.split() for line in table.splitlines()]
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}
