"""The doctor says of each thing how it is and, where it is not well, what to do."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from supervised_service import place

from pointsman_sched.doctor.judging import (
    DirectoryFacts,
    Finding,
    HostFacts,
    OperatorFacts,
    Verdict,
    judge,
)
from pointsman_sched.supervisor.grounds import claim_name

MINE = DirectoryFacts(path="/s", exists=True, mode=0o700, owner=7)
WELL = HostFacts(
    is_running=False,
    descriptors_max=100_000,
    nodes_max=10_000,
    worker_count=2,
    cores=4,
    memory_free_bytes=100,
    memory_needed_bytes=100,
    is_clock_synchronised=True,
    address="127.0.0.1:7400",
    directories=(MINE,),
    user_id=7,
    backlog_max=4_096,
    python=(3, 11),
    libraries=(("msgspec", "1"),),
)
LEFT = ("pointsman.a.rows",)


def finding(name: str, **changes: object) -> Finding:
    found = {one.name: one for one in judge(msgspec.structs.replace(WELL, **changes))}
    return found[name]


def test_a_host_that_is_well_has_nothing_to_do() -> None:
    assert {(one.verdict, one.todo) for one in judge(WELL)} == {(Verdict.OK, "")}


@pytest.mark.parametrize(
    ("name", "verdict", "changes"),
    [
        ("python", Verdict.BAD, {"python": (3, 10)}),
        ("libraries", Verdict.BAD, {"libraries": (("uvloop", ""),)}),
        ("descriptors", Verdict.WARN, {"descriptors_max": 10_255}),
        ("shared memory", Verdict.BAD, {"memory_free_bytes": 99}),
        ("leftovers", Verdict.WARN, {"leftovers": LEFT}),
        ("port", Verdict.BAD, {"port_trouble": "Address already in use"}),
        ("directory", Verdict.BAD, {"user_id": 8}),
        (
            "directory",
            Verdict.BAD,
            {"directories": (msgspec.structs.replace(MINE, mode=0o750),)},
        ),
        ("directory", Verdict.BAD, {"directories": (DirectoryFacts(path="/s", exists=False),)}),
        ("operators", Verdict.BAD, {"operators": OperatorFacts(trouble="there is no group 'x'")}),
        ("clock", Verdict.WARN, {"is_clock_synchronised": False}),
        ("cores", Verdict.WARN, {"cores": 1}),
        ("cores", Verdict.WARN, {"governor": "powersave"}),
        ("backlog", Verdict.WARN, {"backlog_max": 128}),
        ("machine", Verdict.WARN, {"machine": "aarch64"}),
        ("redis", Verdict.WARN, {"redis": "no answer"}),
        ("redis", Verdict.BAD, {"redis": "evicts keys", "redis_is_fatal": True}),
    ],
)
def test_what_is_not_well_is_named_with_what_to_do(
    name: str, verdict: Verdict, changes: dict[str, object]
) -> None:
    found = finding(name, **changes)
    assert found.verdict is verdict
    assert found.todo


def test_what_a_running_service_uses_is_no_trouble() -> None:
    assert finding("leftovers", leftovers=LEFT, is_running=True).verdict is Verdict.OK
    assert finding("shared memory", memory_free_bytes=0, is_running=True).verdict is Verdict.OK


def test_a_service_that_runs_elsewhere_is_told_and_nobody_is_advised_to_remove_its_segments() -> (
    None
):
    found = finding("service", holder="process 7", leftovers=LEFT)
    assert found.verdict is Verdict.WARN
    assert "process 7" in found.words
    assert "--runtime-dir" in found.todo
    assert finding("leftovers", holder="process 7", leftovers=LEFT).todo == ""


def test_u4_the_groups_that_may_ask_or_order_are_told() -> None:
    """U4: a directory that is open to the group of operators, and to nobody else, is well."""
    operators = OperatorFacts(operators="ops", readers="wall", members=("ann",))
    given = msgspec.structs.replace(MINE, mode=0o2750, open_to="wall")
    assert finding("directory", directories=(given,)).verdict is Verdict.OK
    open_to_all = msgspec.structs.replace(given, mode=0o2755)
    assert finding("directory", directories=(open_to_all,)).verdict is Verdict.BAD
    told = finding("operators", operators=operators)
    assert told.words == "group ops may order, group wall may ask (ann)"
    assert finding("directory", user_id=0).words == "/s is user 7's alone"


def test_a_user_who_can_log_out_loses_shared_memory() -> None:
    """U7: logind removes the shared memory of users that are no system users."""
    logs_out = {"user_id": 1_000, "has_logind": True, "directories": ()}
    assert finding("user", **logs_out).verdict is Verdict.WARN
    assert finding("user", **logs_out, keeps_ipc=True).verdict is Verdict.OK
    assert finding("user", user_id=999, has_logind=True, directories=()).verdict is Verdict.OK


def test_the_command_looks_at_this_host_and_ends_with_a_code(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    with place() as made, socket.socket() as taken, claim_name(made.instance):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(f"[server]\nport = {port}\n[nodes]\nmax_nodes = 100\n")
        config.chmod(0o600)
        command = [sys.executable, "-m", "pointsman", "doctor", "--json", "--config", str(config)]
        command += ["--instance", made.instance, "--state-dir", str(made.state_dir)]
        command += ["--runtime-dir", str(made.runtime_dir)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert found["port"]["verdict"] == "bad"
    assert found["directory"]["verdict"] == "ok"
    assert found["python"]["verdict"] == "ok"
    assert f"process {os.getpid()}" in found["service"]["words"]
