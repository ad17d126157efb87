"""Real services and their journals: another worker count, a full disk, a disk that fails."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import pytest
from live.raw import RawPeer, raw_role
from live.service import CONFIG, PATIENCE_S, LiveService, started, until
from supervised_service import Place, place

from pointsman_sched.core.events import RegistryEntry
from pointsman_sched.manager.registry_file import encode_record
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import JobAccepted, SessionInit, SessionInitAck, Submit
from pointsman_wire.shards import session_key
from pointsman_wire.sockets.crash_points import VARIABLE

pytestmark = pytest.mark.crash
SESSION_COUNT = 8
PAYLOAD = b"p" * 60_000


@asynccontextmanager
async def session_of(service: LiveService, session_id: str) -> AsyncIterator[RawPeer]:
    """A new session, or the one of this name."""
    async with raw_role(service.port, Role.SESSION, session_key(session_id)) as peer:
        peer.say(SessionInit(session_id=session_id, src_lang="en", tgt_lang="es"))
        await peer.hear(SessionInitAck)
        yield peer


async def submit(peer: RawPeer, request_id: str, payload: bytes = b"x", **more: object) -> str:
    """Submit what no node can do for an hour; return its job id, or the code of the refusal."""
    wish = {"services": ["nmt"], "wait_none_s": 3600, "wait_busy_s": 3600, **more}
    peer.say(Submit(request_id=request_id, **wish), payload)  # type: ignore[arg-type]
    while True:
        message, _ = await peer.hear(Message)
        if isinstance(message, JobAccepted):
            return message.jobs[0].job_id
        if isinstance(message, Error):
            return str(message.error.code)


async def submit_in(service: LiveService, session_id: str) -> str:
    """Submit the one request of a session; return its job id."""
    async with session_of(service, session_id) as peer:
        return await submit(peer, "r")


def kill_all(service: LiveService) -> None:
    """kill -9 of every process, the supervisor first."""
    pids = service.process.pids()
    service.process.process.kill()
    service.process.process.wait()
    for pid in pids.values():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it had seen that the supervisor is gone
            continue


async def test_a_service_that_was_killed_goes_on_with_another_number_of_workers() -> None:
    """I1, P5: every accepted job is found under its key, whichever worker owns it now."""
    with place() as here:
        ids: dict[str, str] = {}
        with started(here, workers=2) as service:
            for number in range(SESSION_COUNT):
                ids[f"s-{number}"] = await submit_in(service, f"s-{number}")
            kill_all(service)
        assert len(set(ids.values())) == SESSION_COUNT
        with started(here, workers=3) as service:
            assert "divided the journals of 2 workers among 3" in service.process.text()
            for session_id, job_id in ids.items():
                assert await submit_in(service, session_id) == job_id
            service.stop()
        with started(here, workers=1) as service:
            assert await submit_in(service, "s-0") == ids["s-0"]
            service.stop()


@pytest.mark.parametrize("point", ["journal-after-roll", "journal-before-sync"])
async def test_p2_a_worker_killed_between_segments_or_before_a_sync_loses_no_job(
    point: str,
) -> None:
    """P2, I1: at the second passing, with jobs that wait for the disk and fill segments."""
    config = CONFIG + "[journal]\nsegment_bytes = 1048576\n"
    environment = {VARIABLE: f"{point}:2"}
    with (
        place() as here,
        started(here, config=config, workers=1, environment=environment) as service,
    ):
        worker = service.process.pids()["worker-0"]
        ids = await submit_until_death(service)
        await service.has_replaced({"worker-0": worker})
        for number, job_id in list(enumerate(ids))[-3:]:
            assert await ask_again(service, f"s-{number}") == job_id
        kill_all(service)


async def ask_again(service: LiveService, session_id: str) -> str:
    """Repeat a request until it is answered: the next lives end at the same point."""
    until_s = monotonic() + PATIENCE_S
    while True:
        try:
            async with session_of(service, session_id) as peer:
                return await submit(peer, "r", PAYLOAD, durability="fsync")
        except (AssertionError, ConnectionError):
            assert monotonic() < until_s, f"{session_id} is not answered"
            await asyncio.sleep(0.05)


async def submit_until_death(service: LiveService) -> list[str]:
    """Submit one job a session until the worker is gone; return those that were accepted."""
    ids: list[str] = []
    try:
        for number in range(200):
            async with session_of(service, f"s-{number}") as peer:
                ids.append(await submit(peer, "r", PAYLOAD, durability="fsync"))
    except (AssertionError, ConnectionError):  # the connection was over before the answer
        assert ids
        return ids
    raise AssertionError("the worker did not die")


# ---- disks that fail


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of its own for the state directory."""
    with TemporaryDirectory(prefix="pm-") as name:
        options = ["-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", name]
        mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"needs root, to mount a small tmpfs: {mounted.stderr.strip()}")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


async def test_a_full_disk_stops_acceptances_only_and_only_while_it_is_full() -> None:
    """C3: refused with QUEUE_FULL at level journal, taken at memory; recovers alone."""
    with place() as here, small_disk("1m") as disk:
        here.state_dir = disk / "s"
        with started(here, workers=1) as service:
            async with session_of(service, "s-0") as peer:
                await fill_and_free(peer, disk, service)
            service.stop()


async def fill_and_free(peer: RawPeer, disk: Path, service: LiveService) -> None:
    answers = [await submit(peer, f"r-{n}", PAYLOAD) for n in range(20)]
    assert answers[-1] == "QUEUE_FULL"
    assert await submit(peer, "m", PAYLOAD, durability="memory") != "QUEUE_FULL"
    pids = service.process.pids()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    async with asyncio.timeout(PATIENCE_S):
        await accepted_again(peer)
    assert service.process.pids() == pids


async def accepted_again(peer: RawPeer) -> None:
    """Submit until a job is taken."""
    number = 20
    while await submit(peer, f"r-{number}", PAYLOAD) == "QUEUE_FULL":
        number += 1
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("process", ["worker-0", "manager"])
def test_a_process_that_dies_while_the_disk_is_full_is_back_when_there_is_room(
    process: str,
) -> None:
    """C3: that is no fault of its own, however long it lasts; nobody gives it up."""
    with place() as here, small_disk("16m") as disk:
        here.state_dir = disk / "s"
        with started(here, workers=1) as service:
            register(here.state_dir / "nodes.journal")
            fill(disk / "filler")
            service.kill(process)
            name = process.replace("-", " ")
            service.process.wait_for(f"{name}: waits: .*No space left")
            (disk / "filler").unlink()
            service.process.wait_for(f"{name}: is ready")
            service.stop()


@pytest.mark.parametrize("process", ["worker-0", "manager"])
def test_a_process_that_dies_while_the_disk_is_read_only_is_back_when_it_can_write(
    process: str,
) -> None:
    """C6: as a kernel leaves a file system that had errors, until somebody has seen to it."""
    with place() as here, small_disk("64m") as disk:
        here.state_dir = disk / "s"
        with started(here, workers=1) as service:
            with read_only(here.state_dir):
                service.kill(process)
                name = process.replace("-", " ")
                service.process.wait_for(f"{name}: waits: .*Read-only file system.*; make it")
            service.process.wait_for(f"{name}: is ready")
            assert "ended with status" not in service.process.text()
            service.stop()


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Who opens something there finds it read-only; what is open already goes on."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def register(registry: Path) -> None:
    """Write a node down, as soon as no worker has all the room for a moment (see `fill`)."""
    entry = encode_record(RegistryEntry("n-1", b"k", 1, True))
    until_s = monotonic() + PATIENCE_S
    while True:
        try:
            with registry.open("ab", buffering=0) as file:
                assert file.write(entry) == len(entry)
            return
        except OSError as error:
            if error.errno != errno.ENOSPC or monotonic() > until_s:
                raise
            sleep(0.02)


def fill(path: Path) -> None:
    """Take all the room that there is.

    A worker that asks for the room of its next segment has all of it for a moment, even if it
    then gets nothing: so again, until nothing has come free for a while.
    """
    command = ["dd", "if=/dev/zero", f"of={path}", "bs=4k", "oflag=append", "conv=notrunc"]
    sizes = [-1]
    while len(sizes) < 4 or sizes[-4] < sizes[-1]:
        assert subprocess.run(command, check=False).returncode == 1
        sizes.append(path.stat().st_size)
        sleep(0.1)


async def test_a_worker_whose_disk_fails_to_sync_ends_and_its_successor_has_all_jobs() -> None:
    """C6: fdatasync fails once, as the kernel reports it: never tried again, replayed instead."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace, to let a system call fail")
    with place() as here, started(here, workers=1) as service:
        async with session_of(service, "s-0") as peer:
            job_id = await submit(peer, "r")
        worker = service.process.pids()["worker-0"]
        inject = ["-f", "-q", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]
        command = ["strace", *inject, "-o", "/dev/null", "-p", str(worker)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
            status = Path(f"/proc/{worker}/status")
            await until(lambda: "TracerPid:\t0" not in status.read_text(), "strace is attached")
            async with session_of(service, "s-0") as peer:
                peer.say(Submit(request_id="r-2", services=["nmt"], durability="fsync"))
                await service.has_replaced({"worker-0": worker})
                tracer.wait(PATIENCE_S)
        assert "ends at once: cannot sync" in said(service)
        async with session_of(service, "s-0") as peer:
            assert await submit(peer, "r") == job_id
        service.stop()


def said(service: LiveService) -> str:
    service.process.wait_for("ends at once")
    return service.process.text()


async def test_a_damaged_journal_stops_the_start_until_its_loss_is_accepted() -> None:
    """C5, with the command line's words."""
    with place() as here:
        with started(here, workers=1) as service:
            async with session_of(service, "s-0") as peer:
                jobs = [await submit(peer, f"r-{number}", PAYLOAD) for number in range(3)]
            kill_all(service)
        flip_a_bit(here)
        config = here.directory / "pointsman.toml"
        with here.service("--workers", "1", "--config", str(config)) as refused:
            refused.wait_for("the journal is damaged in one place .*--accept-loss")
            assert refused.ended() == 1
        with started(here, "--accept-loss", workers=1) as service:
            assert "goes on without 1 damaged places" in service.process.text()
            async with session_of(service, "s-0") as peer:
                again = [await submit(peer, f"r-{number}", PAYLOAD) for number in range(3)]
            assert sum(job in again for job in jobs) == 2
            service.stop()


def flip_a_bit(here: Place) -> None:
    path = here.state_dir / "journal" / "shard-0-of-1" / "0000000001.segment"
    data = bytearray(path.read_bytes())
    data[data.index(PAYLOAD) + 30_000] ^= 1
    path.write_bytes(data)
