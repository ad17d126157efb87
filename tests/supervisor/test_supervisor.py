"""A real service: how it starts, what it refuses, what it survives, and that it leaves nothing."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from time import sleep

import pytest
from plain_node import PlainNode
from supervised_service import Place, Service, is_running, place, wait_until

from pointsman_shm.state_files import TICKET_KEY_SIZE
from pointsman_wire.admin_messages import (
    Nodes,
    NodesQuery,
    Status,
    StatusQuery,
)
from pointsman_wire.sockets.admin import ask

pytestmark = pytest.mark.crash


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as made:
        yield made


async def nodes_of(here: Place, process: str) -> Nodes:
    answer = await ask(here.runtime_dir / f"admin-{process}.sock", NodesQuery())
    assert isinstance(answer, Nodes)
    return answer


async def status_of(here: Place, process: str) -> Status:
    answer = await ask(here.runtime_dir / f"admin-{process}.sock", StatusQuery())
    assert isinstance(answer, Status)
    return answer


def replaced(service: Service, name: str, pid: int) -> bool:
    return service.pids().get(name, pid) != pid


async def is_seen_or_not(node_id: str, manager: int, here: Place) -> None:
    """Wait until a worker knows the node, or the manager is dead."""
    while is_running(manager):
        answer = await nodes_of(here, "worker-0")
        if any(line.node_id == node_id for line in answer.nodes):
            return


async def all_seen(names: set[str], here: Place) -> None:
    """Wait until a worker has seen each of these alive."""
    async with asyncio.timeout(30):
        while names:
            answer = await nodes_of(here, "worker-0")
            names = names - {line.node_id for line in answer.nodes if line.state != "offline"}


# ---- start and stop


async def test_a_service_says_when_it_is_ready_answers_and_leaves_nothing(here: Place) -> None:
    with here.service("--workers", "2") as service:
        port = service.ready()
        line = service.said[-1]
        assert line == (
            f"pointsman ready: 127.0.0.1:{port}, 2 workers, instance {here.instance} "
            f"(pid {service.process.pid}); open on loopback, no tokens needed"
        )
        assert sorted(here.segments())
        supervisor = await status_of(here, "supervisor")
        states = {child["name"]: child["state"] for child in supervisor.children}
        assert states == dict.fromkeys(("manager", "worker-0", "worker-1"), "ready")
        assert (await status_of(here, "manager")).address == f"127.0.0.1:{port}"
        pids = service.pids()

        service.signal(signal.SIGTERM)
        assert service.ended() == 0, service.text()
    assert not any(map(is_running, pids.values()))
    assert here.segments() == here.sockets() == []


def test_ctrl_c_stops_and_a_second_one_forces(here: Place) -> None:
    with here.service("--workers", "1") as service:
        service.ready()
        worker = service.pids()["worker-0"]
        os.kill(worker, signal.SIGSTOP)
        service.signal(signal.SIGINT)
        sleep(0.6)  # two signals within half a second are one wish
        service.signal(signal.SIGINT)
        assert service.ended() == 0
        assert "kills what did not stop: manager, worker-0" in service.text()
        assert not is_running(worker)
    assert here.segments() == here.sockets() == []


# ---- what it refuses (files, directories, ports and memory: tests/bad_input/test_bad_starts.py)


USAGE = {
    "no such option": (["--wrokers", "2"], "unrecognized arguments: --wrokers"),
    "workers": (["--workers", "65"], "1 to 64 are possible"),
    "port": (["--port", "70000"], "0 for any free one"),
    "instance": (["--instance", "Not A Name"], "instance name 'Not A Name'"),
    "beyond this machine": (["--host", "0.0.0.0"], "--insecure-plaintext"),
    "no such config": (["--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_ends_with_2_and_says_what_to_do(here: Place, case: str) -> None:
    options, words = USAGE[case]
    with here.service(*options) as service:
        assert service.ended() == 2
        assert words in service.text()
        assert "Traceback" not in service.text()


def test_a_host_that_is_not_ours_is_named(here: Place) -> None:
    with here.service("--host", "192.0.2.1", "--insecure-plaintext") as service:
        assert service.ended() == 1
        assert "192.0.2.1 is no address of this machine" in service.text()


def test_a_child_that_cannot_become_ready_is_given_up_after_five_deaths(here: Place) -> None:
    """P9."""
    here.state_dir.mkdir(mode=0o700)
    (here.state_dir / "ticket.key").write_bytes(b"short" * (TICKET_KEY_SIZE + 1))
    with here.service("--workers", "1") as service:
        assert service.ended() == 1
        assert "gives up" in service.text()
        assert "ticket.key is damaged" in service.text()
        assert service.text().count("manager ended with status 1") <= 5
    assert here.segments() == here.sockets() == []


# ---- what it survives


async def test_a_killed_manager_comes_back_and_the_fleet_with_it(here: Place) -> None:
    """P1: nobody is declared dead, the snapshot goes on from where it was."""
    with here.service("--workers", "2") as service:
        port = service.ready()
        nodes = [PlainNode(port, f"n{count}") for count in range(3)]
        try:
            for node in nodes:
                await node.reach("ready")
            before = await nodes_of(here, "worker-0")
            while {line.state for line in before.nodes} != {"ready"} or before.total < 3:
                before = await nodes_of(here, "worker-0")
            manager = service.pids()["manager"]
            os.kill(manager, signal.SIGKILL)
            during = await nodes_of(here, "worker-1")
            assert {line.state for line in during.nodes} == {"ready"}, "workers go on without it"
            for node in nodes:
                await node.registered(2)
                await node.reach("ready")
            for node in nodes:
                first, second = node.registrations[:2]
                assert (first.row, first.generation) == (second.row, second.generation)
                assert second.epoch == first.epoch + 1
            after = await nodes_of(here, "manager")
            assert {line.node_id: line.state for line in after.nodes} == {
                f"n{count}": "ready" for count in range(3)
            }
            assert after.snapshot_version > before.snapshot_version
            assert replaced(service, "manager", manager)
        finally:
            for node in nodes:
                await node.close()
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.ended) == 0
        assert "manager was killed by SIGKILL" in service.text()
    assert here.segments() == here.sockets() == []


async def test_a_killed_worker_is_replaced_and_the_others_go_on(here: Place) -> None:
    """P2, the supervisor's half."""
    with here.service("--workers", "2") as service:
        service.ready()
        before = service.pids()
        os.kill(before["worker-1"], signal.SIGKILL)
        wait_until(lambda: replaced(service, "worker-1", before["worker-1"]), "a new worker-1")

        after = service.pids()
        assert (after["manager"], after["worker-0"]) == (before["manager"], before["worker-0"])
        status = await status_of(here, "supervisor")
        starts = {child["name"]: child["starts"] for child in status.children}
        assert starts == {"manager": "1", "worker-0": "1", "worker-1": "2"}


def test_children_of_a_killed_supervisor_stop_and_the_next_start_cleans_up(here: Place) -> None:
    with here.service("--workers", "2") as service:
        service.ready()
        pids = service.pids()
        assert len(pids) == 3
        service.signal(signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, pids.values())), "the children stop")
    assert here.segments(), "nobody was left to remove them"
    with here.service("--workers", "2") as service:
        service.ready()
        service.signal(signal.SIGTERM)
        assert service.ended() == 0
    assert here.segments() == here.sockets() == []


# How often each life of the manager passes a point before it dies there, chosen so that it gets
# something done in every life: a new node's row, and some pages or versions after its start.
CRASH_POINTS = ["manager-mid-registration:2", "catalog-mid-payload:10", "catalog-before-version:5"]


def may_go_first() -> bool:
    """May we give a process a higher priority than ours?"""
    with subprocess.Popen(["sleep", "5"]) as child:
        try:
            os.setpriority(os.PRIO_PROCESS, child.pid, -5)
        except OSError:
            return False
        finally:
            child.kill()
    return True


def test_the_manager_goes_before_the_workers_also_after_its_death(here: Place) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = -5 if may_go_first() else ours

    def goes_first() -> bool:
        return os.getpriority(os.PRIO_PROCESS, service.pids()["manager"]) == wanted

    with here.service("--workers", "1") as service:
        service.ready()
        pids = service.pids()
        assert goes_first()
        assert os.getpriority(os.PRIO_PROCESS, pids["worker-0"]) == ours
        os.kill(pids["manager"], signal.SIGKILL)
        wait_until(lambda: replaced(service, "manager", pids["manager"]), "a new manager")
        wait_until(goes_first, "the new manager's priority")


@pytest.mark.parametrize("point", CRASH_POINTS)
async def test_a_manager_killed_at_a_crash_point_loses_nobody(here: Place, point: str) -> None:
    """P1 with real SIGKILL, in every life of the manager again."""
    killer = {"POINTSMAN_CRASHPOINT": point}
    with here.service("--workers", "1", environment=killer) as service:
        port = service.ready()
        manager = service.pids()["manager"]
        nodes: list[PlainNode] = []
        try:
            while is_running(manager):
                assert len(nodes) < 10, f"{point} is never passed"
                nodes.append(PlainNode(port, f"n{len(nodes)}"))
                await nodes[-1].registered(1)
                await is_seen_or_not(nodes[-1].node_id, manager, here)
            await all_seen({node.node_id for node in nodes}, here)
        finally:
            for node in nodes:
                await node.close()
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.ended) == 0
        assert "manager was killed by SIGKILL" in service.text()
    assert here.segments() == here.sockets() == []


async def test_removed_segments_are_made_anew_and_the_fleet_comes_again(here: Place) -> None:
    """S8: somebody removed the files under /dev/shm."""
    with here.service("--workers", "1") as service:
        port = service.ready()
        node = PlainNode(port, "n0")
        try:
            await node.reach("ready")
            manager = service.pids()["manager"]
            here.remove_segments()
            wait_until(lambda: replaced(service, "manager", manager), "a new manager")
            await node.registered(2)
            await all_seen({"n0"}, here)
        finally:
            await node.close()
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.ended) == 0
        assert "is gone or cut" in service.text()
    assert here.segments() == here.sockets() == []
