"""Two instances of real processes over one Redis: each shows the other's nodes, and outlives it.

Each has two workers, so that what two say to each other has to find its way among four.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.travellers import Traveller, Trip
from faults.proxy import proxy_to
from federation.services import (
    config_for,
    listing,
    redis_at,
    two_services,
    until_node,
    until_so,
)
from live.commands import invoke
from live.journal import Journal
from live.nodes import live_node
from live.service import PATIENCE_S, LiveService, live_service, until
from redis_yard.server import RedisServer
from supervised_service import place

from pointsman import PointsmanError, SessionError, connect
from pointsman.recording.facts import Fact
from pointsman_sim.checker.judging import judge
from pointsman_sim.checker.recording import load
from pointsman_wire.admin_messages import Sessions, SessionsQuery, Status, StatusQuery
from pointsman_wire.errors import Code
from pointsman_wire.order_messages import PairingCode, PairOrder
from pointsman_wire.sockets.admin import give_order

Pair = tuple[LiveService, LiveService]
SESSIONS_MAX = 32
SESSIONS = 4
# Both are on this host, so each may send people to the other's loopback address.
ADVERTISE = '[server]\nadvertise = "127.0.0.1"\n'


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with two_services(tmp_path_factory.mktemp("fleet"), ADVERTISE, workers=2) as services:
        yield services


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


async def test_a_node_of_one_service_is_shown_by_the_manager_and_workers_of_the_other(
    pair: Pair, journal: Journal
) -> None:
    here, there = pair
    async with live_node(here.address, journal, "es", node_id="n-here"):
        await until_node(there, "n-here", "ready")
        line = (await there.nodes())["n-here"]
        assert line.instance == here.here.instance
        assert (await there.nodes("worker-0"))["n-here"].instance == here.here.instance
        assert (await here.nodes())["n-here"].instance == ""
        await until_so(lambda told: bool(told.settings_version), there, "settings rule")
        told = await listing(there)
        assert (told.shared, told.trouble) == (True, "")
        assert sum(line.leads for line in told.instances) == 1
    await until_node(there, "n-here", "offline")


async def test_the_command_line_lists_instances_and_the_home_of_nodes(
    pair: Pair, journal: Journal
) -> None:
    here, there = pair
    place = ("--instance", there.here.instance, "--runtime-dir", str(there.here.runtime_dir))
    async with live_node(here.address, journal, "fr", node_id="n-listed"):
        await until_node(there, "n-listed", "ready")
        shown = await asyncio.to_thread(invoke, "instances", *place)
        assert here.here.instance in shown.output
        assert "pools and catalogue: version 1" in shown.output
        nodes = await asyncio.to_thread(invoke, "nodes", *place)
        assert "n-listed" in nodes.output
        assert here.here.instance in nodes.output


async def test_a_code_for_a_node_of_one_service_pairs_a_session_of_the_other(
    pair: Pair, journal: Journal
) -> None:
    """Ordered where the node is not, used where it is not, and again where it is."""
    here, there = pair
    async with live_node(here.address, journal, "sv", node_id="n-mine"):
        await until_node(there, "n-mine", "ready")
        socket = there.here.runtime_dir / "admin-manager.sock"
        issued = await give_order(socket, PairOrder("n-mine"))
        assert isinstance(issued, PairingCode), issued
        wish = {"src": "en", "tgt": "sv", "session_id": "s-mine", "pairing_code": issued.code}
        for service in (there, here):
            async with connect(service.address, **wish) as session:  # type: ignore[arg-type]
                assert session.paired_node == "n-mine"
                result = await session.submit("mine", services=["nmt"], explain=True)
                assert result.placement is not None
                assert result.placement.selector == "preferred"
        for service in pair:
            assert await refusal_of(service, issued.code) == Code.INVALID_PAIRING_CODE


async def refusal_of(service: LiveService, code: str) -> str:
    """With which error a session is refused that comes with a code."""
    with pytest.raises(SessionError) as refused:
        async with connect(service.address, pairing_code=code):
            raise AssertionError("a used code opened a session")
    return refused.value.code


async def sessions_at(service: LiveService) -> list[float]:
    """How many sessions each of its workers has."""
    found = []
    for number in range(service.worker_count):
        status = await service.ask(f"worker-{number}", StatusQuery())
        assert isinstance(status, Status)
        found.append(status.gauges["sessions"])
    return found


async def spread(pair: Pair, trip: Trip) -> list[Traveller]:
    """Sessions at both services, until each of the four workers has one that has had a job."""
    travellers: list[Traveller] = []
    while min(counts := [n for service in pair for n in await sessions_at(service)]) < 1:
        assert len(travellers) < SESSIONS_MAX, counts
        travellers.append(Traveller(f"s-{len(travellers)}", trip, at=len(travellers) % 2))
        await travellers[-1].ask("r-0")
    return travellers


async def test_sessions_that_move_get_what_was_not_delivered_although_its_worker_was_killed(
    pair: Pair, journal: Journal, tmp_path: Path
) -> None:
    """P2, R10, N11, I1, I2: sessions at all four workers, nodes of both, one way that breaks."""
    here, there = pair
    parts = [tmp_path / f"{name}.jsonl" for name in ("a", "b", "clients")]
    async with (
        proxy_to(here.port) as way,
        live_node(here.address, journal, "es", node_id="n-a", history=parts[0]),
        live_node(there.address, journal, "es", node_id="n-b", history=parts[1]),
    ):
        await until_node(here, "n-b", "ready")
        await until_node(there, "n-a", "ready")
        trip = Trip(addresses=(way.address, there.address), history=parts[2], job_s=0.5)
        travellers = await spread(pair, trip)
        asked = [asyncio.create_task(each.ask("r-1")) for each in travellers]
        await journal.has("start", count=2 * len(travellers))
        way.partition()
        await journal.has("end", count=2 * len(travellers))
        killed = here.kill("worker-0")
        assert sum(each.leave(way.address) for each in travellers) >= 2
        async with asyncio.timeout(PATIENCE_S):
            results = await asyncio.gather(*asked)
        await here.has_replaced(killed)
        way.heal()
        for each in travellers:
            await each.close()
    assert {result.status for result in results} == {"completed"}
    assert len(journal.entries("start")) == 2 * len(travellers), "none ran twice"
    assert {entry.node_id for entry in journal.entries()} == {"n-a", "n-b"}
    judgement = judge(load(parts))
    assert judgement.is_kept, judgement.verdicts


async def test_a_manager_that_is_killed_loses_no_remote_node(pair: Pair, journal: Journal) -> None:
    """Both a killed manager's own nodes at the other, and the other's nodes at its successor."""
    here, there = pair
    async with live_node(here.address, journal, "it", node_id="n-kept"):
        await until_node(there, "n-kept", "ready")
        await there.has_replaced(there.kill("manager"))
        line = (await there.nodes()).get("n-kept")
        assert line is not None
        assert line.state == "ready"
        await here.has_replaced(here.kill("manager"))
        await until_node(there, "n-kept", "ready")
        await until_so(lambda told: told.instances[1].state == "alive", here, "it is heard again")


class Load:
    """Sessions that each submit one job after the other; what fails is kept."""

    def __init__(self, address: str, history: Path) -> None:
        self.failures: list[str] = []
        self.done_count = 0
        self.is_over = False
        self._address = address
        self._history = history

    async def ask(self, number: int) -> None:
        options = {"src": "en", "tgt": "da", "session_id": f"s-load-{number}"}
        async with connect(self._address, history=self._history, **options) as session:  # type: ignore[arg-type]
            while not self.is_over:
                try:
                    await session.submit(b"abc", services=["nmt"], meta={"sleep_s": 0.1 * number})
                    self.done_count += 1
                except PointsmanError as error:
                    self.failures.append(repr(error))

    async def goes_on(self) -> None:
        """Wait until each session has had more results."""
        enough = self.done_count + 4 * SESSIONS
        await until(lambda: self.done_count >= enough, "more results")


async def test_a_service_that_is_drained_and_stopped_hands_its_sessions_and_nodes_to_the_other(
    pair: Pair, journal: Journal, tmp_path: Path
) -> None:
    """I1, I2, P13: told where to go, nobody's submit fails, and every job runs once.

    The last test of these two services: one of them is gone after it.
    """
    here, there = pair
    parts = [tmp_path / "node.jsonl", tmp_path / "clients.jsonl"]
    load_of = Load(here.address, parts[1])
    async with live_node(here.address, journal, "da", node_id="n-goes", history=parts[0]):
        await until_node(there, "n-goes", "ready")
        asking = [asyncio.create_task(load_of.ask(number)) for number in range(SESSIONS)]
        await load_of.goes_on()
        place = ("--instance", here.here.instance, "--runtime-dir", str(here.here.runtime_dir))
        drained = await asyncio.to_thread(invoke, "drain", "--service", "--wait", *place)
        assert drained.exit_code == 0, drained.output
        await nobody_is_at(here)
        await load_of.goes_on()  # at the other one, with the node still where it was
        await asyncio.to_thread(here.stop)
        await is_own(there, "n-goes")
        await load_of.goes_on()
        load_of.is_over = True
        await asyncio.gather(*asking)
    assert load_of.failures == []
    several = Fact(at_ns=0, by="nemesis", who="test", what="instances", number=len(pair))
    judgement = judge([several, *load(parts)])
    assert judgement.is_kept, judgement.verdicts
    assert judgement.starts == judgement.accepted == load_of.done_count


async def is_own(service: LiveService, node_id: str) -> None:
    """Wait until a node is registered at this service itself, and ready."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            line = (await service.nodes())[node_id]
            if line.instance == "" and line.state == "ready":
                return
            await asyncio.sleep(0.05)


async def nobody_is_at(service: LiveService) -> None:
    """Wait until no session is connected; some may be kept to be resumed."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if not await connected_at(service):
                return
            await asyncio.sleep(0.05)


async def connected_at(service: LiveService) -> list[str]:
    """The sessions that are on a connection."""
    found: list[str] = []
    for number in range(service.worker_count):
        told = await service.ask(f"worker-{number}", SessionsQuery())
        assert isinstance(told, Sessions)
        found += [line.session_id for line in told.sessions if line.connected]
    return found


def test_a_second_instance_of_one_name_refuses_to_start(tmp_path: Path) -> None:
    with redis_at(tmp_path / "redis") as server, place() as here:
        key = f"pointsman:{{fleet}}:instance:{here.instance}"
        assert server.command("HSET", key, "uid", "another") == 1
        path = here.directory / "pointsman.toml"
        path.write_text(config_for(server, tmp_path))
        path.chmod(0o600)
        with here.service("--workers", "1", "--config", str(path)) as second:
            assert second.ended() == 1
            assert f"another instance named {here.instance!r} (uid another) lives" in second.text()
        here.remove_segments()


async def test_an_instance_whose_name_another_one_has_leaves_it_what_is_sent_there(
    alone: tuple[RedisServer, LiveService],
) -> None:
    """P8: where both live already, as one had lost Redis for longer than its presence lasts."""
    server, service = alone
    presence = f"pointsman:{{fleet}}:instance:{service.here.instance}"
    inbox, dead = (
        f"pointsman:{{i:{service.here.instance}/0}}:{what}" for what in ("inbox", "dead")
    )
    await until_so(lambda told: told.settings_version == 1, service, "it is heard")
    server.command("HSET", presence, "uid", "another")
    server.command("PERSIST", presence)  # it tells on and on
    await until_so(lambda told: "is named" in told.trouble, service, "it is told")
    assert (await service.nodes()) == {}, "it goes on by itself"
    await asyncio.sleep(1.5)  # a read that had begun is over by then
    server.command("XADD", inbox, "*", "blob", "for the other one")
    await asyncio.sleep(1.5)
    assert server.command("XPENDING", inbox, "shard")[0] == server.command("XLEN", dead) == 0
    killed = service.kill("manager")
    await service.has_replaced(killed)
    await until_so(lambda told: "is named" in told.trouble, service, "its successor goes on so")
    server.command("DEL", presence)
    await until_so(lambda told: not told.trouble, service, "the other one is gone")
    await until(lambda: server.command("XLEN", dead) == 1, "it is read, and buried as unsigned")


async def test_a_worker_that_begins_while_its_manager_hangs_reads_what_is_sent_to_it(
    alone: tuple[RedisServer, LiveService],
) -> None:
    """Redis says whose the name is, where the manager cannot."""
    server, service = alone
    inbox, dead = (
        f"pointsman:{{i:{service.here.instance}/0}}:{what}" for what in ("inbox", "dead")
    )
    await until_so(lambda told: told.settings_version == 1, service, "it is heard")
    before = server.command("XLEN", dead)
    manager = service.process.pids()["manager"]
    os.kill(manager, signal.SIGSTOP)
    try:
        await service.has_replaced(service.kill("worker-0"))
        server.command("XADD", inbox, "*", "blob", "not signed")
        await until(lambda: server.command("XLEN", dead) == before + 1, "it is read", patience_s=8)
        assert service.process.pids()["manager"] == manager
    finally:
        os.kill(manager, signal.SIGCONT)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, LiveService]]:
    """A service that has its Redis for itself."""
    directory = tmp_path_factory.mktemp("alone")
    with redis_at(directory / "redis") as server:
        config = config_for(server, directory, more="timeout_ms = 100\n")
        with live_service(config=config, workers=1) as service:
            yield server, service


async def test_a_redis_that_is_paused_stalls_no_manager_and_is_heard_again(
    alone: tuple[RedisServer, LiveService], journal: Journal
) -> None:
    """R6: while Redis does not answer at all, heartbeats are taken as before."""
    server, service = alone
    async with live_node(service.address, journal, "pt", node_id="n-own"):
        await until_so(lambda told: told.settings_version == 1, service, "it is heard")
        assert server.command("CLIENT", "PAUSE", "4000", "ALL") == b"OK"
        await until_so(lambda told: bool(told.trouble), service, "it is missed")
        before = (await _status(service)).counters["heartbeats"]
        await asyncio.sleep(1.5)  # what is counted is what happens in this time
        assert (await _status(service)).counters["heartbeats"] > before
        assert (await service.nodes())["n-own"].state == "ready"
        await until_so(lambda told: not told.trouble, service, "it is heard again")


async def test_a_redis_that_is_set_up_to_drop_keys_while_in_use_is_told_of_until_it_is_not(
    alone: tuple[RedisServer, LiveService],
) -> None:
    """R3: keys that vanish by themselves are bindings that vanish; the words say what to do."""
    server, service = alone
    assert "redis_unfit" not in (await _status(service)).gauges
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    words = "maxmemory-policy is allkeys-lru.*CONFIG SET maxmemory-policy noeviction"
    await asyncio.to_thread(service.process.wait_for, words)
    assert (await _status(service)).gauges["redis_unfit"] == 1
    server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await asyncio.to_thread(service.process.wait_for, "it drops no keys")
    assert "redis_unfit" not in (await _status(service)).gauges


async def _status(service: LiveService) -> Status:
    status = await service.ask("manager", StatusQuery())
    assert isinstance(status, Status)
    return status
