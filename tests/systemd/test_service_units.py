"""The service as units under a real systemd: installed, killed, frozen, restarted, stopped."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from supervised_service import wait_until
from systemd.booted import ENVIRONMENT, EVERYBODY, WORKERS, Booted, installed, why_not

REASON = why_not()
pytestmark = [pytest.mark.systemd, pytest.mark.skipif(bool(REASON), reason=REASON)]

ADDRESS = "127.0.0.1:7400"
SESSIONS = 6


@pytest.fixture(scope="module")
def system() -> Iterator[Booted]:
    with installed() as made:
        yield made


@contextmanager
def load(system: Booted, folder: Path) -> Iterator["Progress"]:
    """Jobs one after another by several sessions; none may fail by the end."""
    file = folder / "progress"
    program = system.start(
        *(f"{ENVIRONMENT}/bin/python", "-I"),
        *(str(Path(__file__).with_name("steady_load.py")), ADDRESS, str(SESSIONS), str(file)),
    )
    progress = Progress(file, program)
    try:
        progress.wait_for_more()
        yield progress
        progress.wait_for_more()
    finally:
        file.with_suffix(".stop").touch()
    said, _ = program.communicate(timeout=60)
    assert said.startswith("failed 0:"), said


class Progress:
    """What the load has written down."""

    def __init__(self, file: Path, program: subprocess.Popen[str]) -> None:
        self._file = file
        self._program = program

    def done(self) -> int:
        """How many results every session has had at least."""
        return int(self._file.read_text()) if self._file.exists() else 0

    def wait_for_more(self) -> None:
        wanted = self.done() + 3
        wait_until(lambda: self._has(wanted), "every session has more results")

    def _has(self, wanted: int) -> bool:
        assert self._program.poll() is None, "the load has ended by itself"
        return self.done() >= wanted


def test_the_installed_service_is_ready_and_its_processes_may_do_nothing(system: Booted) -> None:
    """U1, U7: no rights, a filter of calls, a system user; shared memory is its own alone."""
    system.wait_ready()
    for pid in system.pids().values():
        status = dict(
            line.split(":\t", 1)
            for line in system.run("cat", f"/proc/{pid}/status").splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert all(int(status[name], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"))
        assert 0 < int(status["Uid"].split()[0]) < 1000
        assert "max core file size" in system.run("cat", f"/proc/{pid}/limits").lower()
    modes = set(system.shell("stat -c '%a %U' /dev/shm/pointsman.*").splitlines())
    assert modes == {"600 pointsman"}
    places = "/var/lib/pointsman /run/pointsman /run/pointsman/default"
    assert system.shell(f"stat -c '%a %G' {places}").splitlines() == [
        "700 pointsman",
        "755 pointsman",
        "2750 pointsman-admin",
    ]
    assert "desk" not in system.pointsman("nodes")


def test_u4_members_of_the_operators_group_need_no_root(system: Booted) -> None:
    """U4: the sockets are the group's, and nobody else's; what an operator did says who he is."""
    system.wait_ready()
    modes = set(system.shell("stat -c '%a %U %G' /run/pointsman/default/a*.sock").splitlines())
    assert modes == {"660 pointsman pointsman-admin"}
    member = (
        "setpriv --reuid=4711 --regid=4711 --groups=$(getent group pointsman-admin | cut -d: -f3)"
    )
    command = f"{ENVIRONMENT}/bin/pointsman"
    assert "worker-1" in system.shell(f"{member} {command} status")
    system.shell(f"{member} {command} pause && {member} {command} resume")
    assert "uid 4711, pid " in system.pointsman("audit")
    stranger = "setpriv --reuid=4712 --regid=4712 --clear-groups"
    refused = system.shell(f"{stranger} {command} status 2>&1 || true")
    assert "become a member of pointsman-admin" in refused


def test_h3_the_manager_is_the_last_to_be_killed_for_memory(system: Booted) -> None:
    pids = system.pids()
    scores = {
        unit: int(system.run("cat", f"/proc/{pid}/oom_score_adj")) for unit, pid in pids.items()
    }
    assert scores.pop("manager") < min(scores.values())
    for unit in EVERYBODY:
        assert system.property(unit, "MemoryMax").isdecimal()
        assert system.property(unit, "TasksMax").isdecimal()
        assert system.property(unit, "WatchdogUSec") == "5s"
        assert system.property(unit, "Restart") == "always"
        assert system.property(unit, "LimitCORE") == "0"


def test_killed_under_load_each_comes_back_and_the_others_stay(
    system: Booted, tmp_path: Path
) -> None:
    """kill -9 of a worker and of the manager; no submit fails."""
    system.wait_ready()
    with load(system, tmp_path) as progress:
        for unit in ("worker@1", "manager"):
            before = system.pids()
            system.run("kill", "-KILL", str(before[unit]))
            system.wait_for_another(unit, before[unit])
            after = system.pids()
            assert after.pop(unit) != before.pop(unit)
            assert after == before
            progress.wait_for_more()


def test_h3_the_watchdog_bites_a_frozen_worker_alone(system: Booted) -> None:
    system.wait_ready()
    before = system.pids()
    frozen = before["worker@0"]
    system.run("kill", "-STOP", str(frozen))
    system.wait_for_another("worker@0", frozen)
    after = system.pids()
    assert after.pop("worker@0") != before.pop("worker@0")
    assert after == before
    assert "Watchdog timeout" in system.run("journalctl", "-u", "pointsman-worker@0", "-q")


def test_clients_wait_at_the_open_port_while_everything_restarts(
    system: Booted, tmp_path: Path
) -> None:
    system.wait_ready()
    before = system.pids()
    client = (
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', 7400), 30)\n"
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: here\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "print(s.recv(12).decode())\n"
    )
    system.run("systemctl", "restart", "--no-block", "pointsman.target")
    wait_until(
        lambda: not any(system.is_ready(f"worker@{index}") for index in range(2)),
        "no worker is there",
    )
    answered = system.run(f"{ENVIRONMENT}/bin/python", "-c", client)
    assert answered.startswith("HTTP/1.1 "), "it waited, and was not refused"
    system.wait_ready()
    after = system.pids()
    assert all(after[unit] != before[unit] for unit in EVERYBODY)


def test_stop_leaves_nothing_and_start_brings_all_back(system: Booted) -> None:
    system.wait_ready()
    assert system.segments()
    system.run("systemctl", "stop", "pointsman.target", "pointsman-prepare.service")
    assert system.segments() == []
    assert system.run("find", "/run/pointsman", "-type", "s") == ""
    assert system.shell("ss -ltnH 'sport = :7400'") == ""
    system.run("systemctl", "start", "pointsman.target")
    system.wait_ready()
    system.pointsman("status")


def test_rolling_restart_under_load_fails_no_submit(system: Booted, tmp_path: Path) -> None:
    """P13: every unit is restarted, in order, each when the one before is ready."""
    system.wait_ready()
    before = system.pids()
    with load(system, tmp_path):
        said = system.pointsman("rolling-restart")
    after = system.pids()
    assert all(after[unit] != before[unit] for unit in EVERYBODY)
    restarted = [line.split(":")[0] for line in said.splitlines() if "ready again" in line]
    assert restarted == ["worker-0", "worker-1", "manager", "console"]


def test_it_is_upgraded_and_rolled_back_under_load(system: Booted, tmp_path: Path) -> None:
    """P14: another installation beside this one; its units, then one process after another."""
    newer = f"{ENVIRONMENT}-next"
    system.shell(
        f"cp -a {ENVIRONMENT} {newer}\n"
        f"sed -i s,{ENVIRONMENT}/,{newer}/, {newer}/bin/pointsman\n"
        f"sed -i 's/^Version: .*/Version: 7.1.0/' {newer}/lib/python3*/site-packages/"
        "pointsman-*.dist-info/METADATA"
    )
    refused = system.run(
        f"{newer}/bin/pointsman", "rolling-restart", may_fail=True, with_errors=True
    )
    assert f"the units start {ENVIRONMENT}/bin/python" in refused
    with load(system, tmp_path) as progress:
        for environment, version in ((newer, "7.1.0"), (ENVIRONMENT, "0.1.0")):
            command = f"{environment}/bin/pointsman"
            system.run(command, "systemd", "install", "--no-start", "--workers", str(WORKERS))
            said = system.run(command, "rolling-restart")
            assert f"version {version} runs" in said.splitlines()[-1]
            progress.wait_for_more()
    assert system.shell("cat /var/lib/pointsman/default/format") == "2\nby 0.1.0"


def test_a_node_is_installed_by_name_serves_comes_back_and_is_removed(system: Booted) -> None:
    """H1: as a user of its own, which reads neither the offer's file nor the service's state."""
    offer = ("--exec", "tr a-z A-Z", "--services", "nmt", "--nmt", "en:de", "--no-report-load")
    named = ("--name", "tr", "--connect", ADDRESS)
    system.pointsman("node", "install", *named, *offer, "--token", "s3cret")
    wait_until(lambda: "ready" in listed(system, "tr"), "the node is ready")
    submit = ("submit", "--server", ADDRESS, "--src", "en", "--tgt", "de", "--text", "abc")
    assert "ABC" in system.pointsman(*submit)
    pid = system.property("node@tr", "MainPID")
    assert "s3cret" not in system.run("cat", f"/proc/{pid}/cmdline")
    assert system.shell("stat -c '%a %U' /etc/pointsman/node-tr.conf") == "600 root"
    assert system.shell("stat -c '%a %U' /var/lib/pointsman-node") == "700 pointsman-node"
    system.run("kill", "-KILL", pid)
    wait_until(lambda: system.property("node@tr", "MainPID") not in ("0", pid), "a successor")
    wait_until(lambda: "ready" in listed(system, "tr"), "it is ready again")
    system.pointsman("node", "uninstall", "--name", "tr")
    assert system.property("node@tr", "ActiveState") == "inactive"
    assert system.run("find", "/etc/systemd", "/etc/pointsman", "-name", "*node*") == ""
    assert system.shell("ls /var/lib/pointsman-node/tr")


def listed(system: Booted, name: str) -> str:
    """Return the line of this node in the list of nodes, or ""."""
    lines = system.pointsman("nodes").splitlines()
    return next((line for line in lines if line.startswith(name)), "")


SECRETS = ("POINTSMAN_REDIS_PASSWORD", "POINTSMAN_SENTINEL_PASSWORD", "POINTSMAN_CLUSTER_KEY")
# What the service's processes read their secrets with.
READER = f"""
import os
from pointsman_shm.secret_files import read_secret
for name in {SECRETS}:
    print(read_secret(None, name, what="a secret", environment=os.environ))
"""


def test_u6_secrets_come_as_credentials_that_the_service_reads_and_nobody_else(
    system: Booted,
) -> None:
    """U6, A6: files of root's; in no environment, on no command line, closed to other users."""
    for name in SECRETS:
        system.shell(
            f"mkdir -p /etc/credstore && umask 077 && printf 'of {name}' > /etc/credstore/{name}"
        )
    system.pointsman("rolling-restart")
    reader = f"{ENVIRONMENT}/bin/python", "-c", READER
    for unit in ("manager", "worker@0"):
        pid = str(system.pids()[unit])
        folder = f"/run/credentials/pointsman-{unit}.service"
        inside = ("nsenter", "-m", "-t", pid, "setpriv", "--clear-groups", "--no-new-privs")
        read = ("env", f"CREDENTIALS_DIRECTORY={folder}", *reader)
        ours = system.run(*inside, "--reuid=pointsman", "--regid=pointsman", *read)
        assert ours.split("\n") == [f"of {name}" for name in SECRETS]
        theirs = ("--reuid=pointsman-node", "--regid=pointsman-node", "cat")
        for name in SECRETS:
            stolen = system.run(*inside, *theirs, f"{folder}/{name}", may_fail=True)
            assert stolen == ""
        shown = system.shell(f"tr '\\0' '\\n' < /proc/{pid}/environ; cat /proc/{pid}/cmdline")
        assert folder in shown
        assert "of POINTSMAN" not in shown


def test_uninstalled_it_is_gone_and_its_state_is_kept(system: Booted) -> None:
    system.pointsman("systemd", "uninstall")
    assert system.segments() == []
    assert system.run("find", "/etc/systemd/system", "-name", "pointsman*") == ""
    assert system.shell("ls /var/lib/pointsman/default/instance_uid")
