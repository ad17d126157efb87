"""The unit files, as they lie here and as an installation writes them: sound, and closed enough."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pointsman.cli.endings import Trouble
from pointsman.cli.units import surroundings
from pointsman.cli.units.service import worker_count
from pointsman.cli.units.writing import (
    SERVICE_FILES,
    TLS_FILE,
    Installation,
    node_unit,
    service_unit,
    tls_unit,
)
from pointsman_shm.units.starting import START_S

UNITS = Path(__file__).parents[2] / "systemd"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
INSTALLATION = Installation(python=Path(sys.executable))
SERVICES = sorted(name for name in SERVICE_FILES if name.endswith(".service"))


def analyze(*words: str, runtime_dir: str = "/run/user/0") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": runtime_dir}
    return subprocess.run(
        ["systemd-analyze", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_h1_a_process_of_the_service_is_exposed_by_1_5_at_most(name: str) -> None:
    done = analyze("security", "--offline=yes", "--threshold=15", str(UNITS / name))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_systemd
def test_h1_a_node_which_runs_jobs_is_exposed_by_4_at_most() -> None:
    done = analyze(
        "security", "--offline=yes", "--threshold=40", str(UNITS / "pointsman-node@.service")
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize(
    "installation",
    [
        INSTALLATION,
        msgspec.structs.replace(
            INSTALLATION,
            worker_count=64,
            host="::1",
            port=7999,
            config=Path("/etc/pointsman/config.toml"),
            tls_place="[::]:7443",
            tls_key="/etc/pointsman/server.key",
            environment={"PYTHONPATH": "/opt/a:/opt/b"},
            is_in_home=True,
        ),
        msgspec.structs.replace(INSTALLATION, is_users=True, state_dir="/home/me/.local/state/p"),
    ],
    ids=["plain", "everything", "user"],
)
def test_systemd_understands_every_unit_that_is_written(
    installation: Installation, tmp_path: Path
) -> None:
    for name in SERVICE_FILES:
        (tmp_path / name).write_text(service_unit(name, installation))
    if installation.tls_place:
        (tmp_path / TLS_FILE).write_text(tls_unit(installation))
    names = [name.replace("@", "@0") for name in SERVICE_FILES]
    files = [str(tmp_path / name) for name in names]
    for file, name in zip(files, SERVICE_FILES, strict=True):
        if not Path(file).exists():
            Path(file).symlink_to(tmp_path / name)
    mode = "--user" if installation.is_users else "--system"
    words = ("verify", mode, "--man=no", "--recursive-errors=yes", *files)
    done = analyze(*words, runtime_dir=str(tmp_path))
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "pointsman" in line]
    assert not ours


@pytest.mark.parametrize("name", [*SERVICES, "pointsman-node@.service"])
def test_x3_no_unit_runs_code_that_lies_where_it_is_run(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    commands = [line for line in lines if line.startswith("Exec") and "python" in line]
    assert commands
    assert all("/python -P " in line for line in commands), commands


@pytest.mark.parametrize("name", ["pointsman-manager.service", "pointsman-worker@.service"])
def test_h3_a_process_that_hangs_at_its_start_is_ended(name: str) -> None:
    """It asks for as much time again and again while it gets on."""
    lines = (UNITS / name).read_text().splitlines()
    assert f"TimeoutStartSec={START_S:.0f}" in lines
    assert "TimeoutStartFailureMode=abort" in lines


def test_what_an_installation_has_other_stands_in_every_unit() -> None:
    installation = msgspec.structs.replace(
        INSTALLATION,
        python=Path("/srv/p/bin/python"),
        worker_count=5,
        port=7999,
        config=Path("/etc/p.toml"),
        service_user="speech",
        service_group="audio",
    )
    texts = {name: service_unit(name, installation) for name in SERVICE_FILES}
    assert "ListenStream=127.0.0.1:7999" in texts["pointsman.socket"]
    for name in SERVICES:
        started = [line for line in texts[name].splitlines() if line.startswith("Exec")]
        own = [line for line in started if "/bin/kill" not in line]
        assert all("=/srv/p/bin/python" in line for line in own)
        assert all("--workers 5" in line and "--config /etc/p.toml" in line for line in own)
        assert "User=speech\nGroup=audio\n" in texts[name]
        assert "7400" not in texts[name]
        assert "/opt/pointsman" not in texts[name]


def test_workers_have_the_tls_port_and_its_key_where_there_is_one_and_nobody_else() -> None:
    with_tls = msgspec.structs.replace(
        INSTALLATION, tls_place="10.0.0.1:8443", tls_key="/etc/pointsman/server.key"
    )
    assert "ListenStream=10.0.0.1:8443\nFileDescriptorName=tls\n" in tls_unit(with_tls)
    texts = {name: service_unit(name, with_tls) for name in SERVICES}
    worker = texts.pop("pointsman-worker@.service")
    assert "Sockets=pointsman.socket pointsman-tls.socket\n" in worker
    assert "LoadCredential=POINTSMAN_TLS_KEY:/etc/pointsman/server.key\n" in worker
    for text in (*texts.values(), *(service_unit(name, INSTALLATION) for name in SERVICES)):
        assert "tls" not in text.lower()
    users = msgspec.structs.replace(with_tls, is_users=True, state_dir="/home/me/s")
    assert "LoadCredential" not in service_unit("pointsman-worker@.service", users)


def test_u7_no_unit_lets_go_of_shared_memory_and_none_writes_cores() -> None:
    for name in SERVICES:
        lines = (UNITS / name).read_text().splitlines()
        assert {"RemoveIPC=no", "LimitCORE=0", "User=pointsman"} <= set(lines)


def test_a_worker_that_starts_lets_no_other_block_at_the_socket_that_they_share() -> None:
    """H3: the watchdog bit workers that stood in accept, while another one was being started."""
    lines = (UNITS / "pointsman-worker@.service").read_text().splitlines()
    assert "NonBlocking=yes" in lines


@needs_systemd
def test_systemd_understands_the_unit_of_a_node(tmp_path: Path) -> None:
    file = tmp_path / "pointsman-node@asr.service"
    file.write_text(node_unit(INSTALLATION))
    done = analyze("verify", "--man=no", "--recursive-errors=no", str(file))
    assert "pointsman" not in done.stderr, done.stderr


def said_in(name: str) -> dict[str, list[str]]:
    """What a unit says, by key: some may be said several times, and count together."""
    said: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, is_said, value = line.partition("=")
        if is_said and not line.startswith("#"):
            said.setdefault(key, []).append(value)
    return said


def test_h3_every_process_is_watched_and_bounded() -> None:
    """And started again whatever ends it, however often; of a hung one the trace has its time."""
    badness = {}
    for process in ("manager", "worker@", "console"):
        said = said_in(f"pointsman-{process}.service")
        assert (said["Type"], said["Restart"]) == (["notify"], ["always"])
        assert (said["StartLimitIntervalSec"], said["RestartSec"]) == (["0"], ["100ms"])
        assert (said["WatchdogSec"], said["TimeoutAbortSec"]) == (["5"], ["5"])
        assert [value[-1] for value in said["MemoryMax"]] == ["%"]
        [tasks], [descriptors] = said["TasksMax"], said["LimitNOFILE"]
        assert (int(tasks) <= 64, int(descriptors) <= 65_536) == (True, True)
        [badness[process]] = map(int, said["OOMScoreAdjust"])
    assert badness["manager"] < 0 < badness["worker@"] < badness["console"]


@pytest.mark.parametrize("name", [*SERVICES, "pointsman-node@.service"])
def test_h2_every_process_is_without_rights_and_writes_nothing_of_the_system(name: str) -> None:
    """The score alone would let some of it go, and cannot be taken everywhere."""
    said = said_in(name)
    assert said["NoNewPrivileges"] == ["yes"]
    assert (said["CapabilityBoundingSet"], said["AmbientCapabilities"]) == ([""], [""])
    assert said["ProtectSystem"] == ["strict"]
    is_node = "node" in name
    assert said["User"] == (["pointsman-node"] if is_node else ["pointsman"])
    allowed, denied = said["SystemCallFilter"]
    assert allowed == "@system-service"
    assert denied.startswith("~")
    sets = {"@privileged", "@mount", "@debug", "@cpu-emulation", "@obsolete"}
    assert sets | (set() if is_node else {"@resources"}) <= set(denied[1:].split())
    assert said["SystemCallArchitectures"] == ["native"]
    for path in " ".join(said.get("ReadWritePaths", [])).split():
        assert path in {"/var/lib/pointsman", "/run/pointsman"}


def test_the_manager_alone_goes_before_the_others_where_processors_are_short() -> None:
    """A user's systemd may not do that: its units have no such line."""
    users = msgspec.structs.replace(INSTALLATION, is_users=True, state_dir="/home/me/s")
    for name in SERVICES:
        lines = service_unit(name, INSTALLATION).splitlines()
        wanted = ["Nice=-5"] if name == "pointsman-manager.service" else []
        assert [line for line in lines if line.startswith("Nice=")] == wanted
        assert "Nice=" not in service_unit(name, users)


def test_a_users_units_ask_for_no_rights() -> None:
    installation = msgspec.structs.replace(INSTALLATION, is_users=True, state_dir="/home/me/s")
    for name in SERVICES:
        text = service_unit(name, installation)
        assert "User=" not in text
        assert "ProtectSystem" not in text
        assert "--state-dir /home/me/s --runtime-dir %t/pointsman/default" in text


def test_an_environment_that_others_cannot_read_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(Trouble, match=r"temporary|closed to them"):
        surroundings.check_for_system([closed / "bin"])


@pytest.mark.parametrize("wish", ["0", "65", "-1", "many", ""])
def test_a_worker_count_that_cannot_be_is_refused(wish: str) -> None:
    with pytest.raises(Trouble, match="auto, or 1 to 64"):
        worker_count(wish)


def test_auto_means_the_configuration_or_a_worker_for_each_processor() -> None:
    assert worker_count("auto", 7) == 7
    assert 1 <= worker_count("auto") <= 64


@pytest.mark.parametrize("word", ["/a b", "/a%i", "/a$b", '/a"', "/a\\"])
def test_a_path_that_a_unit_would_read_otherwise_is_refused(word: str) -> None:
    with pytest.raises(Trouble, match="unit file"):
        surroundings.check_words([word])
