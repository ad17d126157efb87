"""serve, node, submit and nodes as people use them: real processes, one service."""

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from live.commands import pointsman, run, started_node

from pointsman.testing import RunningService

UPPER = ["--exec", "tr a-z A-Z", "--services", "nmt", "--nmt", "en:es"]


def at(service: RunningService) -> list[str]:
    return ["--instance", service.instance, "--runtime-dir", str(service.runtime_dir)]


def submit(service: RunningService, *options: str) -> subprocess.CompletedProcess[str]:
    return run("submit", "--server", service.address, "--src", "en", *options)


def test_a_text_goes_in_and_what_the_program_made_of_it_comes_out(
    service: RunningService, tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    with started_node(service, tmp_path / "state", "--node-id", "upper", *UPPER):
        ended = submit(service, "--tgt", "es", "--text", "good morning", "--out", str(out))
        assert ended.returncode == 0, ended.stderr
        assert "upper, attempt 1" in ended.stdout
        assert "µs to place" in ended.stdout
        assert "the tightest pool that can" in ended.stdout
        assert "the journal: survives kill -9" in ended.stdout
        assert out.read_bytes() == b"GOOD MORNING"
        listed = json.loads(run("nodes", "--json", *at(service)).stdout)
        states = {node["node_id"]: node["state"] for node in listed["nodes"]}
        assert states["upper"] == "ready"
    table = run("nodes", *at(service))
    assert "upper" in table.stdout


@pytest.mark.parametrize("level", ["memory", "journal", "fsync"])
def test_a_job_is_held_as_safely_as_was_asked_for(
    service: RunningService, tmp_path: Path, level: str
) -> None:
    asked = ["--durability", level, "--priority", "bulk", "--idempotent", "--json"]
    with started_node(service, tmp_path / "state", *UPPER):
        ended = submit(service, "--tgt", "es", "--text", "safe", *asked)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["durability"] == level


def test_the_same_request_id_gets_the_same_job(service: RunningService, tmp_path: Path) -> None:
    request_id = f"r-{os.urandom(4).hex()}"
    wanted = ["--tgt", "es", "--text", "once", "--request-id", request_id, "--json"]
    with started_node(service, tmp_path / "state", *UPPER):
        first, second = submit(service, *wanted), submit(service, *wanted)
        assert first.returncode == second.returncode == 0, second.stderr
        jobs = [json.loads(ended.stdout) for ended in (first, second)]
        assert jobs[0]["job_id"] == jobs[1]["job_id"]
        assert jobs[1]["text"] == "ONCE"
        wanted[3] = "twice"
        other = submit(service, *wanted)
        assert other.returncode == 1
        assert json.loads(other.stdout)["error"]["code"] == "CONFLICT"


def test_what_nobody_can_do_ends_with_3_and_says_why(
    service: RunningService, tmp_path: Path
) -> None:
    with started_node(service, tmp_path / "state", "--node-id", "only-es", *UPPER):
        ended = submit(service, "--tgt", "ja", "--text", "hello", "--wait", "0")
    assert ended.returncode == 3, ended.stdout
    assert "NO_AVAILABLE_NODE" in ended.stderr
    assert "lang pair unsupported" in ended.stderr
    assert "only-es" in ended.stderr
    assert "what to do" in ended.stderr
    assert ended.stdout == ""


def test_a_program_that_fails_ends_with_1_and_its_last_words(
    service: RunningService, tmp_path: Path
) -> None:
    grumpy = ["--exec", "sh -c 'echo not today >&2; exit 4'", "--services", "nmt", "--nmt", "en:fr"]
    with started_node(service, tmp_path / "state", *grumpy):
        ended = submit(service, "--tgt", "fr", "--text", "hello")
    assert ended.returncode == 1
    assert "not today" in ended.stderr


def test_a_node_may_keep_to_itself_how_busy_its_machine_is(
    service: RunningService, tmp_path: Path
) -> None:
    silent = ["--node-id", "silent", "--no-report-load", *UPPER]
    with (
        started_node(service, tmp_path / "open", "--node-id", "open", *UPPER),
        started_node(service, tmp_path / "silent", *silent),
    ):
        listed = json.loads(run("nodes", "--json", *at(service)).stdout)
        memory = {node["node_id"]: node["memory_percent"] for node in listed["nodes"]}
        assert memory["open"] > 0
        assert memory["silent"] is None


def test_a_function_does_the_jobs(service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def turn(job):\n    return job.text[::-1]\n")
    command = ["--handler", "mine:turn", "--services", "nmt", "--nmt", "en:de"]
    place = os.getcwd()
    os.chdir(tmp_path)
    try:
        with started_node(service, tmp_path / "state", *command):
            ended = submit(service, "--tgt", "de", "--text", "abc", "--json")
    finally:
        os.chdir(place)
    assert json.loads(ended.stdout)["text"] == "cba"


def test_input_may_come_from_standard_input(service: RunningService, tmp_path: Path) -> None:
    arguments = ["submit", "--server", service.address, "--src", "en", "--tgt", "es", "--file", "-"]
    with started_node(service, tmp_path / "state", *UPPER):
        ended = run(*arguments, given="from a pipe")
    assert "FROM A PIPE" in ended.stdout


def test_a_node_that_is_interrupted_finishes_its_job_and_leaves(
    service: RunningService, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    slow = ["--exec", f"sh -c 'touch {started}; sleep 1; cat'", "--services", "nmt"]
    with started_node(service, tmp_path / "state", *slow, "--nmt", "en:it") as node:
        wanted = ["--src", "en", "--tgt", "it", "--text", "still here"]
        client = subprocess.Popen(
            pointsman("submit", "--server", service.address, *wanted),
            stdout=subprocess.PIPE,
            text=True,
        )
        until_s = time.monotonic() + 30
        while not started.exists():
            assert time.monotonic() < until_s, "the job did not start"
            time.sleep(0.02)
        node.send_signal(signal.SIGINT)
        assert "still here" in client.communicate(timeout=60)[0]
        assert node.wait(60) == 0


def test_a_node_without_a_service_says_so_and_keeps_trying(tmp_path: Path) -> None:
    command = pointsman("node", "--server", "127.0.0.1:1", *UPPER)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], 30)[0], "it says nothing"
        assert "cannot reach the server" in process.stderr.readline()
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_submit_without_a_service_ends_with_1_and_says_what_to_start() -> None:
    ended = run("submit", "--server", "127.0.0.1:1", "--text", "hello")
    assert ended.returncode == 1
    assert "cannot connect to 127.0.0.1:1" in ended.stderr
    assert "pointsman serve" in ended.stderr


def test_snapshot_status_and_sessions_tell_of_every_process(service: RunningService) -> None:
    for command in ("snapshot", "status"):
        data = json.loads(run(command, "--json", *at(service)).stdout)
        assert {"manager", "worker-0", "worker-1"} <= set(data["processes"])
        assert data["no_answer"] == {}
        assert run(command, *at(service)).returncode == 0
    assert run("sessions", *at(service)).returncode == 0


def test_serve_says_when_it_is_ready_and_ends_with_0(tmp_path: Path) -> None:
    instance = f"cli-{os.getpid()}"
    place = ["--state-dir", str(tmp_path / "s"), "--runtime-dir", f"/tmp/{instance}"]
    options = ["--port", "0", "--workers", "1", "--instance", instance]
    process = subprocess.Popen(
        pointsman("serve", *options, *place), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("pointsman ready: 127.0.0.1:")
        assert f"1 workers, instance {instance}" in line or f"instance {instance}" in line
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert not list(Path("/dev/shm").glob(f"pointsman.{instance}.*"))


def test_serve_refuses_a_wrong_configuration_with_2(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text("[server]\nworker = 2\n")
    config.chmod(0o600)
    ended = run("serve", "--config", str(config), "--instance", f"wrong-{os.getpid()}")
    assert ended.returncode == 2
    assert "worker" in ended.stderr
