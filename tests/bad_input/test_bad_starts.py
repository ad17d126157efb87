"""What `pointsman serve` cannot start with: one clear message, an exit status, nothing left."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from live.bystander import bystander
from live.service import LiveService, live_service
from supervised_service import Place, place

SERVE = (sys.executable, "-m", "pointsman", "serve")
# What it becomes, and what says all the rest: half a second sooner.
SUPERVISOR = (sys.executable, "-m", "pointsman_sched.supervisor")
REFUSED_S = 30.0
FAILED, USAGE, NO_MEMORY = 1, 2, 75


class Refusal(NamedTuple):
    """How a start ended."""

    status: int
    words: str


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started


def refused(here: Place, *options: str, program: tuple[str, ...] = SUPERVISOR) -> Refusal:
    """Try to start; it must end by itself, say why on stderr alone, and leave nothing."""
    chosen = [*options]
    for name, value in (
        ("--instance", here.instance),
        ("--state-dir", str(here.state_dir)),
        ("--runtime-dir", str(here.runtime_dir)),
        ("--port", "0"),
    ):
        chosen += [] if name in options else [name, value]
    ended = subprocess.run(
        [*program, *chosen],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=REFUSED_S,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"},
    )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stdout == ""
    assert here.segments() == here.sockets() == []
    return Refusal(ended.returncode, " ".join(ended.stderr.split()))


# ---- configuration


CONFIGS = {
    "an unknown key": ("[nodes]\nmax_noods = 5\n", "did you mean nodes.max_nodes?"),
    "a key of another section": ("[server]\nmax_nodes = 5\n", "did you mean nodes.max_nodes?"),
    "an unknown section": ("[serverr]\nport = 1\n", "did you mean server?"),
    "a text for a number": ('[server]\nport = "7400"\n', "server.port: Expected `int`, got `str`"),
    "a number out of bounds": ("[server]\nworkers = 0\n", "server.workers: Expected `int` >= 1"),
    "a word that is none of them": (
        '[pools]\nmode = "three_level"\n',
        "pools.mode: Invalid enum value 'three_level': take one of two_level, single_level",
    ),
    "values that do not fit": (
        "[nodes]\nsuspect_intervals = 9\n",
        "offline_intervals must be larger than suspect_intervals",
    ),
    "no TOML": ("port: 7400\n", "not TOML"),
    "a cycle": (
        '[catalogue.dependencies]\nvoice_cloning = ["persona"]\npersona = ["voice_cloning"]\n',
        "catalogue",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_wrong_configuration_is_named_with_file_key_and_advice(here: Place, name: str) -> None:
    text, advice = CONFIGS[name]
    config = here.directory / "pointsman.toml"
    config.write_text(text)
    config.chmod(0o600)
    status, words = refused(here, "--config", str(config))
    assert status == USAGE
    assert str(config) in words
    assert advice in words


def test_a_configuration_that_others_may_write_is_refused(here: Place) -> None:
    """U6; said through the command line as well."""
    config = here.directory / "pointsman.toml"
    config.write_text("[nodes]\nmax_nodes = 5\n")
    config.chmod(0o666)
    status, words = refused(here, "--config", str(config), program=SERVE)
    assert status == USAGE
    assert f"group or others may write this file (mode 0666): chmod go-w {config}" in words


@pytest.mark.parametrize("kind", ["missing", "directory", "binary", "large"])
def test_a_configuration_that_cannot_be_read_is_named(here: Place, kind: str) -> None:
    config = here.directory / "pointsman.toml"
    match kind:
        case "directory":
            config.mkdir(mode=0o700)
        case "binary":
            config.write_bytes(b"\xff\xfe\x00")
        case "large":
            config.write_bytes(b"#" * (1024 * 1024 + 1))
    if config.is_file():
        config.chmod(0o600)
    status, words = refused(here, "--config", str(config))
    assert status == USAGE
    assert str(config) in words
    assert any(w in words for w in ("cannot be read", "not a regular file", "not UTF-8", "larger"))


# ---- names and places (other options: tests/cli/test_cli_usage.py)


NAMES = {
    "a name with blanks": (["--instance", "My Service"], "use 1 to 32 of a-z, 0-9 and -"),
    "a name that climbs": (["--instance", "../x"], "use 1 to 32 of a-z, 0-9 and -"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_can_be_none_is_refused_with_what_would_be(here: Place, name: str) -> None:
    options, told = NAMES[name]
    status, words = refused(here, *options)
    assert status == USAGE
    assert told in words


def test_a_path_too_long_for_sockets_is_refused_with_advice(here: Place) -> None:
    status, words = refused(here, "--runtime-dir", str(here.directory / ("d" * 90)))
    assert status == USAGE
    assert "too long" in words
    assert "shorter" in words


def test_an_address_beyond_this_host_needs_a_word(here: Place) -> None:
    """X1: no plain text off loopback by accident."""
    status, words = refused(here, "--host", "0.0.0.0")
    assert status in (FAILED, USAGE)
    assert "--insecure-plaintext" in words


@pytest.mark.parametrize("kind", ["a file", "world-writable", "another format"])
def test_a_state_directory_that_cannot_be_used_is_named(here: Place, kind: str) -> None:
    match kind:
        case "a file":
            here.state_dir.write_text("")
        case "world-writable":
            here.state_dir.mkdir()
            here.state_dir.chmod(0o777)
        case "another format":
            here.state_dir.mkdir(mode=0o700)
            (here.state_dir / "format").write_text("99\n")
    status, words = refused(here)
    assert status in (FAILED, USAGE)
    assert str(here.state_dir) in words


def test_a_full_shared_memory_ends_with_75_and_advice(here: Place) -> None:
    """S6: a /dev/shm of 1 MiB, in a mount namespace of its own."""
    can = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if can.returncode != 0:
        pytest.skip("a small /dev/shm of its own needs the right to unshare mounts (root)")
    small = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    program = ("unshare", "--mount", "sh", "-c", small, "sh", *SERVE)
    status, words = refused(here, program=program)
    assert status == NO_MEMORY
    assert "no room in shared memory" in words
    assert "enlarge /dev/shm" in words


# ---- beside a service that runs


async def test_what_belongs_to_a_running_service_is_refused_and_it_goes_on(
    service: LiveService, here: Place, tmp_path: Path
) -> None:
    """P8, N16: its port, its name, its state directory, its runtime directory."""
    first = service.here
    async with bystander(service, tmp_path) as someone:
        done = list(someone.done)
        port = await asyncio.to_thread(refused, here, "--port", str(service.port))
        assert port.status == FAILED
        assert f"port {service.port} on 127.0.0.1 is in use" in port.words
        assert "--port" in port.words

        sockets, segments = set(first.sockets()), set(first.segments())
        name, state = ("--instance", first.instance), ("--state-dir", str(first.state_dir))
        runtime = ("--runtime-dir", str(first.runtime_dir))
        for options in ((*name, *state, *runtime), name):
            twin = await asyncio.to_thread(refused, here, *options)
            assert twin.status == FAILED
            pid = service.process.process.pid
            assert f"'{first.instance}' is running already (process {pid})" in twin.words
            assert "--instance" in twin.words
        for option, directory in (state, runtime):
            neighbour = await asyncio.to_thread(refused, here, option, directory)
            assert neighbour.status == FAILED
            assert f"directory {directory} is in use by another service" in neighbour.words
            assert f"choose another {option}" in neighbour.words
        assert (set(first.sockets()), set(first.segments())) == (sockets, segments)
        await someone.goes_on(done)


def test_a_port_that_a_stranger_holds_is_named(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, words = refused(here, "--port", str(port))
    assert status == FAILED
    assert f"port {port} on 127.0.0.1 is in use" in words
    assert "another --port" in words


def test_a_tls_port_that_a_stranger_holds_is_named_by_its_key(here: Place, tmp_path: Path) -> None:
    config = tmp_path / "tls.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(f'[tls]\nenabled = true\nhost = "127.0.0.1"\nport = {port}\n')
        config.chmod(0o600)
        status, words = refused(here, "--config", str(config))
    assert status == FAILED
    assert f"port {port} on 127.0.0.1 is in use" in words
    assert "another tls.port" in words
