"""Real worker processes: they come up, share one port, answer, stop, and follow each other."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from shells.worker_process import (
    Caller,
    PretendedManager,
    WorkerHome,
    session_hello,
    worker_home,
)

from pointsman_shm.memory.ownership import acquire_lock
from pointsman_shm.state_files import StateFileError, begin_epoch, epoch_file
from pointsman_shm.uplink import FromWorker, WorkerHello
from pointsman_wire.admin_messages import (
    Nodes,
    NodesQuery,
    Sessions,
    SessionsQuery,
    SnapshotQuery,
    SnapshotView,
    Status,
    StatusQuery,
)
from pointsman_wire.messages import Error, Message
from pointsman_wire.session_messages import GoingAway, SessionInit, SessionInitAck
from pointsman_wire.shards import session_key, shard_of
from pointsman_wire.sockets.admin import ask
from pointsman_wire.sockets.handover import HandoverLimits


def status_of(home: WorkerHome, index: int) -> Status:
    status = asyncio.run(ask(home.paths.admin(f"worker-{index}"), StatusQuery()))
    assert isinstance(status, Status)
    return status


def leftovers(home: WorkerHome) -> list[str]:
    return sorted(path.name for path in home.paths.runtime_dir.iterdir() if path.is_socket())


def test_two_workers_share_the_port_and_each_session_meets_its_own(tmp_path: Path) -> None:
    with worker_home(tmp_path, 2) as home:
        home.memory.make()
        workers = [home.start(index).wait_until_ready() for index in range(2)]
        callers = []
        for number in range(40):
            session_id = f"session-{number}"
            caller = home.dial(session_hello(session_key(session_id)))
            caller.say(SessionInit(ref=number, session_id=session_id))
            callers.append(caller)
        shards = set()
        for number, caller in enumerate(callers):
            answer = caller.hear()
            assert isinstance(answer, SessionInitAck)
            assert answer.ref == number
            assert answer.shard == shard_of(f"session-{number}", 2)
            shards.add(answer.shard)
        assert shards == {0, 1}
        status = [status_of(home, index) for index in range(2)]
        assert sum(one.counters["sessions_opened"] for one in status) == 40
        assert sum(one.counters["handovers"] for one in status) > 0
        assert status[0].address == "{}:{}".format(*home.address)
        assert [worker.stop() for worker in workers] == [0, 0]
        assert leftovers(home) == []


def test_a_worker_waits_for_its_segments_and_says_so(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        worker = home.start(0)
        worker.wait_until_said("waits: no segment")
        home.memory.make()
        worker.wait_until_ready()
        assert worker.stop() == 0


def test_a_worker_that_waits_can_be_stopped(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        worker = home.start(0)
        worker.wait_until_said("waits: no segment")
        assert worker.stop() == 0


def test_each_start_has_a_higher_epoch_that_is_on_disk_first(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        manager = PretendedManager(home.paths.manager_uplink)
        for epoch in (1, 2):
            worker = home.start(0)
            sock, hello = manager.accept(FromWorker)
            assert hello == WorkerHello(worker_index=0, pid=worker.process.pid, epoch=epoch)
            assert epoch_file(home.paths, 0).read_text() == f"{epoch}\n"
            worker.wait_until_ready()
            worker.process.kill()
            assert worker.wait_for_end() == -signal.SIGKILL
            sock.close()
        manager.close()


def test_a_damaged_epoch_is_never_guessed(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        epoch_file(home.paths, 0).write_text("seven\n")
        with pytest.raises(StateFileError, match="remove it together"):
            begin_epoch(home.paths, 0)
        worker = home.start(0)
        assert worker.wait_for_end() == 1
        assert "cannot start" in worker.said()


def test_p7_a_successor_waits_for_the_lock_of_the_shard_and_says_so(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        lock = acquire_lock(home.paths.shard_lock(0))
        worker = home.start(0)
        worker.wait_until_said("is held by pid")
        assert not epoch_file(home.paths, 0).exists(), "nothing is touched without the lock"
        lock.release()
        worker.wait_until_ready()
        assert worker.stop() == 0


def test_a_worker_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        worker = home.start(0).wait_until_ready()
        worker.supervisor_dies()
        assert worker.wait_for_end() == 0
        assert "the supervisor is gone" in worker.said()
        assert leftovers(home) == []


def test_a_stop_says_goodbye_to_clients_and_takes_no_more(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        worker = home.start(0).wait_until_ready()
        caller = home.dial(session_hello(None))
        caller.say(SessionInit(ref=1))
        assert isinstance(caller.hear(), SessionInitAck)
        worker.process.send_signal(signal.SIGTERM)
        assert isinstance(caller.hear(), GoingAway)
        assert worker.wait_for_end() == 0


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        worker = home.start(0).wait_until_ready()
        worker.process.send_signal(signal.SIGINT)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait_for_end() == 0


def test_a_killed_workers_queued_connections_are_served_by_its_successor(tmp_path: Path) -> None:
    """Those that another worker accepted wait with it until the owner's successor is there.

    Not for ever: where starting it takes too long they are ended, and dial again as clients do.
    """
    with worker_home(tmp_path, 2) as home:
        home.memory.make()
        home.start(0).wait_until_ready()
        second = home.start(1).wait_until_ready()
        second.process.kill()
        second.wait_for_end()
        callers = []
        began_s = time.monotonic()
        for number in range(20):
            caller = home.dial(session_hello(1))
            caller.say(SessionInit(ref=number))
            callers.append(caller)
        home.start(1).wait_until_ready()
        for number, caller in enumerate(callers):
            answer = heard_or_ended(caller)
            if answer is None:
                assert time.monotonic() - began_s > HandoverLimits().silence_s
                again = home.dial(session_hello(1))
                again.say(SessionInit(ref=number))
                answer = again.hear()
            assert isinstance(answer, SessionInitAck)
            assert (answer.ref, answer.shard) == (number, 1)


def heard_or_ended(caller: Caller) -> Message | None:
    """The next message, None when the connection was ended instead."""
    try:
        return caller.hear()
    except ConnectionResetError:
        return None


def test_bad_input_disturbs_nobody_else(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        home.start(0).wait_until_ready()
        good = home.dial(session_hello(None))
        halves = [home.dial(session_hello(None)[:7]) for _ in range(100)]
        oversized = home.dial(session_hello(None) + b"\xff\xff\xff\x7f\x08\x00\x00\x00")
        answer = oversized.hear()
        assert isinstance(answer, Error)
        assert oversized.hear() is None
        web = home.dial(b"GET / HTTP/1.1\r\n\r\n")
        assert b"404 Not Found" in web.rest(), "no console runs"
        noise = home.dial(os.urandom(3000).replace(b"\xab", b"x"))
        assert b"INVALID_MESSAGE" in noise.rest()
        good.say(SessionInit(ref=3))
        assert isinstance(good.hear(), SessionInitAck)
        before_s = cpu_s(home)
        time.sleep(0.5)
        assert cpu_s(home) - before_s < 0.15, "half preambles cost nothing"
        assert all(half.sock.fileno() >= 0 for half in halves)


def cpu_s(home: WorkerHome) -> float:
    """CPU seconds that worker 0 has used."""
    pid = status_of(home, 0).pid
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_queries_are_answered_with_the_manager_dead(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        home.start(0).wait_until_ready()
        path = home.paths.admin("worker-0")

        async def ask_all() -> None:
            assert isinstance(await ask(path, SessionsQuery()), Sessions)
            assert isinstance(await ask(path, NodesQuery()), Nodes)
            view = await ask(path, SnapshotQuery())
            assert isinstance(view, SnapshotView)
            assert view.manager_alive is False

        asyncio.run(ask_all())
        end_s = time.monotonic() + 20
        while not (status := status_of(home, 0)).timings_us["turn"]["count"]:
            assert time.monotonic() < end_s, "turns are told at the next beat"
            time.sleep(0.05)
        assert status.process == "worker-0"
        assert status.timings_us["turn"]["max"] >= status.timings_us["turn"]["p95"] > 0
        assert 60_000 <= status.snapshot_age_ms < 120_000


def test_s8_a_worker_follows_the_manager_to_new_segments(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        worker = home.start(0).wait_until_ready()
        home.memory.remove()
        caller = home.dial(session_hello(None))
        caller.say(SessionInit(ref=1))
        assert isinstance(caller.hear(), SessionInitAck), "the mapping lives on"
        time.sleep(1.2)
        assert worker.process.poll() is None
        home.memory.make()
        assert worker.wait_for_end() == 1
        assert "was replaced" in worker.said()
        home.start(0).wait_until_ready()


def test_wrong_usage_is_told_from_failure(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.config_file.write_text("[nodes]\nmax_nods = 3\n", encoding="utf-8")
        worker = home.start(0)
        assert worker.wait_for_end() == 2
        assert "max_nodes" in worker.said()


def test_two_workers_of_one_index_never_serve_together(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        first = home.start(0).wait_until_ready()
        second = home.start(0)
        second.wait_until_said(f"is held by pid {first.process.pid}")
        assert first.stop() == 0
        second.wait_until_ready()
        assert epoch_file(home.paths, 0).read_text() == "2\n"


def test_a_listening_socket_that_is_none_is_a_clear_failure(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        with open(tmp_path / "file", "w+b") as file:
            real = home.listener
            home.listener = file  # type: ignore[assignment]
            try:
                worker = home.start(0)
            finally:
                home.listener = real
            assert worker.wait_for_end() == 1
            assert "cannot start" in worker.said()


def test_sockets_of_a_killed_worker_do_not_stand_in_the_way(tmp_path: Path) -> None:
    with worker_home(tmp_path) as home:
        home.memory.make()
        worker = home.start(0).wait_until_ready()
        worker.process.kill()
        worker.wait_for_end()
        assert "bell-0.sock" in leftovers(home)
        again = home.start(0).wait_until_ready()
        with socket.create_connection(home.address):
            assert again.stop() == 0
        assert leftovers(home) == []
