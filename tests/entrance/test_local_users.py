"""Another user of this host, really another: what is there for it at sockets, segments, files.

The test becomes that user for the length of a call: the kernel then judges as it would its own
processes, and tells the other end of a socket the uid that connected.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live.service import LiveService, live_service
from supervised_service import wait_until

from pointsman_shm.memory.segment import attach_segment
from pointsman_wire.admin_messages import StatusQuery
from pointsman_wire.framing import encode_frame

NOBODY = 65_534
ROOT_ALONE = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(workers=1) as started:
        yield started


@contextmanager
def another_user() -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


def test_u1_u4_u6_all_that_a_service_makes_is_its_users_alone(service: LiveService) -> None:
    here = service.here
    for folder in (here.state_dir, here.runtime_dir):
        found = modes(folder)
        assert found[folder.name] == 0o700, "what lies in it is out of reach for others"
        secret = {name: mode for name, mode in found.items() if name.endswith((".key", ".sock"))}
        assert secret
        assert all(not mode & 0o007 for mode in secret.values()), secret
    assert modes(here.state_dir)["journal"] == 0o700
    segments = here.segments()
    assert len(segments) >= 4
    assert {Path("/dev/shm", name).stat().st_mode & 0o777 for name in segments} == {0o600}


def test_u2_a_worker_can_only_read_what_is_not_its_to_write(service: LiveService) -> None:
    pid = service.process.pids()["worker-0"]
    rights: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if f"pointsman.{service.here.instance}." in line:
            rights[line.rpartition(".")[2]] = line.split()[1][:2]
    assert rights.items() >= {"catalog": "r-", "rows": "r-", "ledger": "rw"}.items()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        name = os.readlink(entry)
        if name.endswith((".catalog", ".rows")):
            info = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
            flags = int(info.split("flags:")[1].split()[0], 8)
            assert flags & os.O_ACCMODE == os.O_RDONLY, name
            assert flags & os.O_CLOEXEC, name


@ROOT_ALONE
def test_u1_another_user_cannot_open_a_segment(service: LiveService) -> None:
    for name in service.here.segments():
        with another_user(), pytest.raises(PermissionError):
            os.open(f"/dev/shm/{name}", os.O_RDONLY)
    with attach_segment(f"/{service.here.segments()[0]}", writable=False):
        pass


@ROOT_ALONE
def test_u4_another_user_is_answered_nothing_even_where_the_files_let_it_in(
    service: LiveService,
) -> None:
    """First as it is; then with every mode opened, so that only SO_PEERCRED is left."""
    here = service.here
    paths = [here.runtime_dir / f"admin-{name}.sock" for name in ("manager", "worker-0")]
    for path in paths:
        with another_user(), pytest.raises(PermissionError):
            connected(path)
    opened = (here.directory, here.runtime_dir, *paths)
    before = [path.stat().st_mode for path in opened]
    try:
        for path in opened:
            path.chmod(0o777)
        for path in paths:
            with another_user():
                sock = connected(path)
            with sock:
                assert answer(sock) == b"", path
            with connected(path) as ours:
                assert answer(ours), "its own user is answered"
    finally:
        for path, mode in zip(opened, before, strict=True):
            path.chmod(mode & 0o7777)


def connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    try:
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise
    return sock


def answer(sock: socket.socket) -> bytes:
    """What is said to a query; nothing where it was hung up on."""
    try:
        sock.sendall(encode_frame(StatusQuery()))
        return sock.recv(1 << 16)
    except (BrokenPipeError, ConnectionResetError):
        return b""


def test_a6_a_secret_of_the_service_is_in_no_command_line_and_in_nothing_that_it_says(
    service: LiveService,
) -> None:
    """The key of the lane tickets, raw and in hexadecimal digits; environments of all processes."""
    key = (service.here.state_dir / "ticket.key").read_bytes()
    pids = [service.process.process.pid, *service.process.pids().values()]
    wait_until(lambda: bool(service.process.said), "it says something")
    for pid in pids:
        for what in ("cmdline", "environ"):
            told = Path(f"/proc/{pid}/{what}").read_bytes()
            assert key not in told
            assert key.hex().encode() not in told
    assert key.hex() not in service.process.text()
