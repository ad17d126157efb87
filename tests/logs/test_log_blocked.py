"""A service whose standard error is a full pipe that nobody reads goes on as if it were read."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from supervised_service import PATIENCE_S, Place, place, wait_until

from pointsman import connect
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.order_messages import LogLevel, LogLevelOrder
from pointsman_wire.sockets.admin import ask, give_order

pytestmark = pytest.mark.crash

ORDERS = 1_300  # each makes a line: more than the queue holds


def full_pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    while True:
        try:
            os.write(theirs, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(theirs, True)
    return ours, theirs


async def shout(made: Place, process: str) -> None:
    path = made.runtime_dir / f"admin-{process}.sock"
    for number in range(ORDERS):
        answer = await give_order(path, LogLevelOrder("info" if number % 2 else "debug"))
        assert isinstance(answer, LogLevel), answer


async def lost_count(made: Place, process: str) -> int:
    status = await ask(made.runtime_dir / f"admin-{process}.sock", StatusQuery())
    assert isinstance(status, Status), status
    return status.counters.get("log_lines_lost", 0)


async def opens_a_session(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S), connect(f"127.0.0.1:{port}"):
        pass


def test_nobody_waits_for_who_does_not_read_the_log(tmp_path: Path) -> None:
    """C7: standard error is full; processes start, answer, count what is lost, and stop."""
    config = tmp_path / "c.toml"
    config.write_text("[logs]\nburst = 10000\nlines_per_s = 10000.0\n")
    config.chmod(0o600)
    ours, theirs = full_pipe()
    with place() as made:
        command = made.command("--config", str(config), "--workers", "1")
        service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True)
        try:
            assert service.stdout is not None
            port = int(service.stdout.readline().split(",")[0].rpartition(":")[2])
            for process in ("manager", "worker-0"):
                asyncio.run(shout(made, process))
                wait_until(
                    lambda process=process: asyncio.run(lost_count(made, process)) > 0,  # type: ignore[misc]
                    f"{process} counts the lines that are lost",
                )
            asyncio.run(opens_a_session(port))
            service.send_signal(signal.SIGTERM)
            assert service.wait(PATIENCE_S) == 0
        finally:
            service.kill()
            service.wait()
            assert service.stdout is not None
            service.stdout.close()
            os.close(ours)
            os.close(theirs)


def test_the_level_is_changed_in_every_process_and_an_unknown_one_is_refused() -> None:
    with place() as made, made.service("--workers", "1") as service:
        service.ready()
        where = ["--instance", made.instance, "--runtime-dir", str(made.runtime_dir)]
        done = pointsman("log-level", "warning", "--json", *where)
        assert done.returncode == 0, done.stderr
        change = {"level": "warning", "before": "info"}
        told = json.loads(done.stdout)["processes"]
        assert told == dict.fromkeys(("manager", "worker-0", "supervisor"), change)
        wrong = pointsman("log-level", "debug", "--process", "worker-7", *where)
        assert (wrong.returncode, "no process 'worker-7'" in wrong.stderr) == (2, True)


def pointsman(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pointsman", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
