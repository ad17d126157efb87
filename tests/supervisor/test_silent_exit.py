"""Processes whose standard error nobody reads any more still end when their supervisor is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from supervised_service import is_running, wait_until

pytestmark = pytest.mark.crash


def test_children_end_though_nobody_reads_what_they_say(tmp_path: Path) -> None:
    instance = f"t-{os.getpid()}-{os.urandom(3).hex()}"
    service = subprocess.Popen(
        [
            *(sys.executable, "-m", "pointsman_sched.supervisor", "--port", "0", "--no-console"),
            *("--instance", instance, "--state-dir", str(tmp_path / "s")),
            *("--runtime-dir", str(tmp_path / "r")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stderr is not None
    try:
        assert "ready" in service.stdout.readline()
        task = Path(f"/proc/{service.pid}/task/{service.pid}/children")
        children = [int(pid) for pid in task.read_text().split()]
        assert len(children) == 3
        service.stdout.close()
        service.stderr.close()
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        wait_until(lambda: not any(is_running(pid) for pid in children), "all have ended")
    finally:
        service.kill()
        service.wait()
        for segment in Path("/dev/shm").glob(f"pointsman.{instance}.*"):
            segment.unlink()
