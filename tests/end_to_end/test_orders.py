"""What an operator orders a real service to do: pair a session with a node, reload the file."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.service import CONFIG, PATIENCE_S, LiveService, live_service

from pointsman import Code, JobRefused, Session, SessionError, blocking, connect
from pointsman_wire.admin_messages import SnapshotQuery, SnapshotView
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import ConfigDiff, ConfigDiffQuery, PairingCode, PairOrder
from pointsman_wire.sockets.admin import give_order

NMT = ["nmt"]
POOLS = "[[pools.pools]]\nid = 3\nname = 'translators'\nrequired_services = ['nmt']\n"


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def pointsman(service: LiveService, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line on this service."""
    at = ["--instance", service.here.instance, "--runtime-dir", str(service.here.runtime_dir)]
    command = [sys.executable, "-m", "pointsman", *words, *at]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S + 10, check=False
    )


async def told(service: LiveService, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(pointsman, service, *words)


# ---- pairing


async def test_a_person_pairs_a_session_with_their_own_node(
    service: LiveService, journal: Journal
) -> None:
    async with (
        live_node(service.address, journal, "qa", node_id="q-mine", max_concurrency=1) as mine,
        live_node(service.address, journal, "qa", node_id="q-others", max_concurrency=50),
    ):
        ended = await told(service, "pair", mine.node_id)
        assert ended.returncode == 0, ended.stderr
        code = ended.stdout.split()[0]
        assert len(code) == 9
        options = {"src": "en", "tgt": "qa", "pairing_code": code.lower()}
        async with connect(service.address, **options) as session:  # type: ignore[arg-type]
            assert session.paired_node == "q-mine"
            for _ in range(5):
                result = await session.submit("mine", services=NMT, explain=True)
                assert result.node_id == "q-mine"
                assert result.placement is not None
                assert result.placement.selector == "preferred"
            long = asyncio.create_task(
                session.submit("long", services=NMT, meta={"sleep_s": 1.0}, request_id="long")
            )
            await journal.has("start", count=6)
            assert (await session.submit("more", services=NMT)).node_id == "q-others"
            assert (await long).node_id == "q-mine"
        with pytest.raises(SessionError) as refused:
            async with connect(service.address, **options):  # type: ignore[arg-type]
                raise AssertionError("a used code opened a session")
        assert refused.value.code == Code.INVALID_PAIRING_CODE


async def test_a_blocking_session_can_be_paired_too(service: LiveService, journal: Journal) -> None:
    async with live_node(service.address, journal, "qb"):
        socket = service.here.runtime_dir / "admin-manager.sock"
        issued = await give_order(socket, PairOrder("n-qb"))
        assert isinstance(issued, PairingCode)

        def converse() -> str:
            with blocking.connect(service.address, pairing_code=issued.code) as session:
                return session.paired_node

        assert await asyncio.to_thread(converse) == "n-qb"


def test_a_node_that_nobody_knows_cannot_be_paired_with(service: LiveService) -> None:
    ended = pointsman(service, "pair", "nobody")
    assert ended.returncode == 2
    assert "nobody" in ended.stderr


async def test_a_paired_session_stays_paired_when_its_worker_dies(
    service: LiveService, journal: Journal
) -> None:
    """The manager knows whom it gave the node to."""
    async with live_node(service.address, journal, "qc"):
        socket = service.here.runtime_dir / "admin-manager.sock"
        issued = await give_order(socket, PairOrder("n-qc"))
        assert isinstance(issued, PairingCode)
        options = {"src": "en", "tgt": "qc", "pairing_code": issued.code}
        async with connect(service.address, **options) as session:  # type: ignore[arg-type]
            await service.has_replaced(service.kill(f"worker-{session.shard}"))
            result = await session.submit("back", services=NMT, explain=True)
            assert result.placement is not None
            assert result.placement.selector == "preferred"
            assert session.paired_node == "n-qc"


# ---- another configuration


class ReloadedService:
    """A service of its own, whose file is written anew."""

    def __init__(self, service: LiveService) -> None:
        self.service = service
        self.path = service.here.directory / "pointsman.toml"

    def write(self, more: str) -> None:
        written = self.path.with_suffix(".new")
        written.write_text(CONFIG + more)
        written.chmod(0o600)
        os.replace(written, self.path)

    async def pools(self, process: str) -> dict[str, int]:
        view = await self.service.ask(process, SnapshotQuery())
        assert isinstance(view, SnapshotView)
        return view.pools

    async def has_pools(self, names: set[str]) -> None:
        """Wait until manager and workers see exactly these."""
        for process in ("manager", "worker-0", "worker-1"):
            async with asyncio.timeout(PATIENCE_S):
                while set(await self.pools(process)) != names:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def reloaded() -> Iterator[ReloadedService]:
    with live_service() as started:
        yield ReloadedService(started)


async def test_pools_change_while_jobs_run_and_no_session_notices(
    reloaded: ReloadedService, journal: Journal
) -> None:
    service = reloaded.service
    async with (
        live_node(service.address, journal, "ra", max_concurrency=8),
        connect(service.address, src="en", tgt="ra") as session,
    ):
        seen: set[str] = set()
        is_over = False

        async def work() -> None:
            while not is_over:
                result = await session.submit("steady", services=NMT, explain=True)
                assert result.text == "ydaets"
                assert result.placement is not None
                seen.add(result.placement.pool or result.placement.selector)

        working = asyncio.create_task(work())
        for more in (POOLS, "[pools]\nmode = 'single_level'\n", ""):
            reloaded.write(more)
            ended = await told(service, "reload")
            assert ended.returncode == 0, ended.stderr
            assert "in force since version" in ended.stdout
            before = len(journal.entries("end"))
            await journal.has("end", count=before + 50)
        is_over = True
        await working
        assert seen == {"en-ra", "translators", "single_level"}
    await reloaded.has_pools({"en-ra"} & set(await reloaded.pools("manager")))


async def test_a_diff_tells_and_changes_nothing_and_a_fault_changes_nothing(
    reloaded: ReloadedService, tmp_path: Path
) -> None:
    service = reloaded.service
    other = tmp_path / "other.toml"
    other.write_text(CONFIG + POOLS)
    other.chmod(0o600)
    ended = await told(service, "config", "diff", str(other), "--json")
    assert ended.returncode == 0, ended.stderr
    difference = json.loads(ended.stdout)
    assert difference["changes"] == [
        "pools.pools.translators: (none) -> {id = 3, name = translators, required_services = [nmt]}"
    ]
    assert (difference["applied"], difference["needs_restart"]) == (False, [])
    assert "translators" not in await reloaded.pools("manager")
    faults = {"modus = 1": "unknown key pools.modus", f"sample_size = {'9' * 5_000}": "digits"}
    for line, words in faults.items():
        reloaded.write(f"[pools]\n{line}\n")
        ended = await told(service, "reload")
        assert ended.returncode == 2
        assert words in ended.stderr
    reloaded.write(
        "[pools]\nsample_size = 3\n[tenants.others]\nweight = 2.0\n[sessions]\nidle_s = 9.0\n"
    )
    ended = await told(service, "reload")
    assert ended.returncode == 1
    assert "sessions.idle_s: 60.0 -> 9.0" in ended.stderr
    socket = service.here.runtime_dir / "admin-manager.sock"
    asked = await give_order(socket, ConfigDiffQuery(str(reloaded.path)))
    assert isinstance(asked, ConfigDiff)
    assert isinstance(await give_order(socket, ConfigDiffQuery("a\0b")), Error)
    assert asked.changes == [
        "pools.sample_size: 8 -> 3",
        "tenants.others.weight: 1.0 -> 2.0",
    ], "nothing was applied"


async def test_the_level_of_the_log_follows_the_file_in_every_process(
    reloaded: ReloadedService,
) -> None:
    """P13: and what was told to a single process stands until the file says something else."""
    service = reloaded.service
    # The supervisor speaks for the service as a whole, by no name.
    everybody = ("pointsman", "pointsman manager", "pointsman worker 0", "pointsman worker 1")
    for more, words in (('[logs]\nlevel = "debug"\n', "debug now"), ("", "info now")):
        reloaded.write(more)
        ended = await told(service, "reload")
        assert ended.returncode == 0, ended.stderr
        left = set(everybody)
        while left:
            line = rf"Z ({'|'.join(left)}): the level of this log is {words}"
            found = await asyncio.to_thread(service.process.wait_for, line)
            left.remove(found[1])


async def test_a_rate_of_tenants_holds_in_every_worker_at_a_reload(
    reloaded: ReloadedService, journal: Journal
) -> None:
    """P13: the first submits after it, at each of the workers, are judged by the new rate."""
    service = reloaded.service
    bounded = "[tenants.others]\njobs_per_s = 0.01\nburst = 1\n"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(live_node(service.address, journal, "rt"))
        sessions: dict[int, Session] = {}
        while len(sessions) < 2:  # a place at each worker
            opening = connect(service.address, src="en", tgt="rt")
            session = await stack.enter_async_context(opening)
            sessions[session.shard] = session
        for more, refused in ((bounded, [False, True]), ("", [False, False])):
            reloaded.write(more)
            ended = await told(service, "reload")
            assert ended.returncode == 0, ended.stderr
            for session in sessions.values():
                assert [await is_over_rate(session) for _ in range(2)] == refused
        # Listed while it is here, it may do over both workers what it might at each.
        reloaded.write("[[tenants.listed]]\nname = ''\njobs_per_s = 0.01\nburst = 3\n")
        ended = await told(service, "reload")
        assert ended.returncode == 0, ended.stderr
        tried = [await is_over_rate(session) for session in [*sessions.values()] * 3]
        assert tried.count(False) == 3
        reloaded.write("")
        assert (await told(service, "reload")).returncode == 0
        assert not await is_over_rate(sessions[0])


async def is_over_rate(session: Session) -> bool:
    """Submit a job: was it refused for its tenant's rate?"""
    try:
        await session.submit("more", services=NMT)
    except JobRefused as refused:
        return refused.code == Code.RATE_LIMITED
    return False


async def test_a_storm_of_sighup_ends_with_the_newest_file(reloaded: ReloadedService) -> None:
    """P13: 100 a second; old or new, never something in between, and nobody dies of it."""
    service = reloaded.service
    pids = service.process.pids()
    reloaded.write(POOLS)
    os.kill(pids["manager"], signal.SIGHUP)
    await reloaded.has_pools({"translators"})
    for number in range(100):
        if number % 10 == 0:
            reloaded.write(POOLS if number % 20 else "[pools]\nauto_language_pools = false\n")
        os.kill(pids["manager"], signal.SIGHUP)
        await asyncio.sleep(0.01)
    reloaded.write("[pools]\nauto_language_pools = false\npool_count = 3\n")
    os.kill(pids["manager"], signal.SIGHUP)
    await reloaded.has_pools({"bucket-0", "bucket-1", "bucket-2"})
    assert service.process.pids() == pids


async def test_the_supervisor_passes_sighup_on_and_a_new_manager_reads_the_file_itself(
    reloaded: ReloadedService,
) -> None:
    service = reloaded.service
    reloaded.write("[pools]\nauto_language_pools = false\npool_count = 2\n")
    service.process.signal(signal.SIGHUP)
    await reloaded.has_pools({"bucket-0", "bucket-1"})
    await service.has_replaced(service.kill("manager"))
    await reloaded.has_pools({"bucket-0", "bucket-1"})


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("[pools]\nmode = 'single_level'\n", 0, "pools.mode: two_level -> single_level"),
        ("", 0, "0 of the defaults"),
        ("[pools]\nmode = 'three'\n", 2, "two_level"),
        ("[catalogue]\nservices = ['chat']\ncore_types = ['x']\n", 2, "core_types"),
    ],
)
def test_a_file_is_checked_without_a_service(
    tmp_path: Path, text: str, status: int, words: str
) -> None:
    path = tmp_path / "some.toml"
    path.write_text(text)
    path.chmod(0o600)
    command = [sys.executable, "-m", "pointsman", "config", "check", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == status, ended.stderr
    assert words in ended.stdout + ended.stderr
