"""The README's Python programs run as they stand there, against a throw-away service."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live.commands import run

from pointsman.testing import RunningService

README = Path(__file__).resolve().parents[2] / "README.md"
USUAL_ADDRESS = "127.0.0.1:7400"


def programs(address: str) -> list[str]:
    """Return the Python programs of the README, with the address of a service of ours."""
    text = README.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert all(USUAL_ADDRESS in block for block in blocks)
    return [block.replace(USUAL_ADDRESS, address) for block in blocks]


@contextmanager
def started(program: str) -> Iterator[subprocess.Popen[str]]:
    """A program that runs until SIGTERM, and then ends in good order."""
    process = subprocess.Popen([sys.executable, "-c", program], text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def output_of(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def wait_for_a_ready_node(service: RunningService) -> None:
    until_s = time.monotonic() + 30
    asked = ["nodes", "--json", "--runtime-dir", str(service.runtime_dir)]
    while True:
        nodes = json.loads(run(*asked).stdout)["nodes"]
        if any(node["state"] == "ready" for node in nodes):
            return
        assert time.monotonic() < until_s, nodes


def test_the_programs_of_the_readme_do_what_it_says(service: RunningService) -> None:
    node, client, blocking = programs(service.address)
    with started(node):
        wait_for_a_ready_node(service)
        assert output_of(client).startswith("buenos días from ")
        assert output_of(blocking) == "buenos días\n"
