"""Who does not read the log holds up nobody (C7): pipes, sockets, broken and slow ones."""

import logging
import os
import socket
import threading
from functools import partial
from pathlib import Path

import pytest

from pointsman_shm.config_load import ConfigError, parse_config
from pointsman_shm.logs.config_logs import LogsConfig
from pointsman_shm.logs.events import Event
from pointsman_shm.logs.process_log import ProcessLog, process_log
from pointsman_shm.logs.writing import JournalSender, LineWriter, is_journal, to_descriptor


def test_a_writer_that_blocks_costs_lines_and_no_time() -> None:
    """C7: what does not fit behind a blocked reader is lost and counted."""
    may_go = threading.Event()
    begun = threading.Event()
    written: list[bytes] = []

    def write(data: bytes) -> None:
        begun.set()
        assert may_go.wait(30)
        written.append(data)

    writer = LineWriter(write, lines_max=10)
    writer.offer(b"first")
    assert begun.wait(30)
    for number in range(50):
        writer.offer(str(number).encode())
    assert writer.lost_count == 40
    may_go.set()
    writer.close(30)
    assert written == [b"first", *(str(number).encode() for number in range(10))]


def test_closing_waits_for_no_reader_for_long() -> None:
    """C7: a process ends although its last words are read by nobody."""
    may_go = threading.Event()

    def write(data: bytes) -> None:
        assert may_go.wait(30)

    writer = LineWriter(write, lines_max=1)
    for _ in range(5):
        writer.offer(b"x")
    writer.close(0.01)
    may_go.set()


def test_a_reader_that_is_gone_or_a_disk_that_is_full_is_counted() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    writer = LineWriter(to_descriptor(theirs))
    writer.offer(b"nobody reads this\n")
    writer.close(30)
    os.close(theirs)
    assert writer.lost_count == 1


def test_a_pipe_that_does_not_block_gets_every_byte() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    data = b"x" * 300_000
    writer = LineWriter(to_descriptor(theirs))
    writer.offer(data)
    got = b""
    while len(got) < len(data):
        got += os.read(ours, 1 << 16)
    writer.close(30)
    os.close(ours)
    os.close(theirs)
    assert (got == data, writer.lost_count) == (True, 0)


def test_journald_is_spoken_to_again_after_it_was_restarted(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")

    def journald() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(path)
        made.settimeout(30)
        return made

    with journald() as first:
        sender = JournalSender(path)
        sender.write(b"one")
        assert first.recv(100) == b"one"
    os.unlink(path)
    with journald() as second:
        sender.write(b"two")
        assert second.recv(100) == b"two"
    sender.close()


def test_journald_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with open(tmp_path / "stream", "wb") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(f"{status.st_dev}:{status.st_ino}", stream.fileno())
        assert not is_journal(f"{status.st_dev}:{status.st_ino + 1}", stream.fileno())
        assert not is_journal("", stream.fileno())


def test_libraries_are_logged_in_our_form_and_sampled_by_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = LogsConfig(format="human", burst=2, lines_per_s=0.1)
    with process_log(settings, process="manager", instance="t"):
        for _ in range(5):
            logging.getLogger("some.library").warning("trouble %d", 1)
        logging.getLogger("other.library").error("trouble")
        logging.getLogger("other.library").info("chatter")
    told = capfd.readouterr().err
    assert told.count("trouble 1 [WARNING library logger=some.library]") == 2
    assert "trouble [ERROR library logger=other.library]" in told
    assert "and 3 more of library some.library" in told
    assert "chatter" not in told


def test_the_level_can_be_changed_while_it_runs(capfd: pytest.CaptureFixture[str]) -> None:
    with process_log(LogsConfig(level="warning"), process="worker-0", instance="t") as log:
        log.tell(Event.NODE_READY, "not this")
        assert (log.set_level("info"), log.level_name) == ("warning", "info")
        log.tell(Event.NODE_READY, "but this", (("node_id", "n1"),))
        assert log.look() == 0
    told = capfd.readouterr().err
    assert "not this" not in told
    assert "the level of this log is info now, it was warning" in told
    assert "pointsman worker 0: but this [node.ready node_id=n1]" in told


def test_under_systemd_lines_go_to_journald_with_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "journal")
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(path)
        journald.settimeout(30)
        there = partial(JournalSender, path)
        monkeypatch.setattr("pointsman_shm.logs.process_log.JournalSender", there)
        log = ProcessLog(LogsConfig(), process="manager", instance="t")
        log.open()
        log.tell(Event.FLEET_ALARM, "half the fleet is silent")
        told = journald.recv(10_000).splitlines()
        log.close()
    assert b"PRIORITY=3" in told
    assert b"POINTSMAN_EVENT=fleet.alarm" in told


@pytest.mark.parametrize(
    "text", ['level = "loud"', 'format = "xml"', "lines_per_s = 0.0", "burst = 0", "burst = 10001"]
)
def test_the_section_of_the_configuration_has_bounds(text: str) -> None:
    with pytest.raises(ConfigError, match="logs"):
        parse_config(f"[logs]\n{text}", "test")
