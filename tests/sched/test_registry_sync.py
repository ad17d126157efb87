"""The registry's group commit: the loop goes on, what comes meanwhile goes to disk together."""

import asyncio
import errno
from threading import Event

import pytest

from pointsman_sched.core.events import Record, RegistryEntry
from pointsman_sched.manager.registry_sync import RegistryHooks, RegistrySync

WAIT_S = 30.0


class Disk:
    """Takes what it is given when it may."""

    def __init__(self) -> None:
        self.is_free = Event()
        self.has_begun = Event()
        self.written: list[tuple[str, ...]] = []
        self.told: list[int] = []
        self.error: OSError | None = None
        self.failures: list[OSError] = []
        self.said: list[str] = []
        self.news = asyncio.Event()

    def append(self, entries: tuple[RegistryEntry, ...]) -> None:
        self.has_begun.set()
        assert self.is_free.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        self.written.append(tuple(entry.node_id for entry in entries))

    def recorded(self, number: int) -> None:
        self.told.append(number)
        self.news.set()

    def failed(self, error: OSError) -> None:
        self.failures.append(error)
        self.news.set()

    def sync(self) -> RegistrySync:
        hooks = RegistryHooks(self.append, self.recorded, self.failed, self.said.append)
        return RegistrySync(hooks)


def record(number: int) -> Record:
    return Record(number, (RegistryEntry(f"n{number}", b"h" * 32, 1),))


async def begun(disk: Disk) -> None:
    assert await asyncio.to_thread(disk.has_begun.wait, WAIT_S)


async def test_records_that_come_while_the_disk_is_busy_are_written_together_in_order() -> None:
    disk = Disk()
    sync = disk.sync()
    sync.record(record(1))
    await begun(disk)
    sync.record(record(2))
    sync.record(record(3))
    assert (disk.written, disk.told) == ([], []), "the loop has not waited for the disk"
    disk.is_free.set()
    async with asyncio.timeout(WAIT_S):
        while disk.told != [1, 3]:
            disk.news.clear()
            await disk.news.wait()
    assert disk.written == [("n1",), ("n2", "n3")]
    sync.close()


async def test_a_disk_that_fails_is_told_once_and_not_tried_again() -> None:
    """C6: what was not written is never answered."""
    disk = Disk()
    disk.error = OSError(5, "Input/output error")
    disk.is_free.set()
    sync = disk.sync()
    sync.record(record(1))
    async with asyncio.timeout(WAIT_S):
        await disk.news.wait()
    sync.record(record(2))
    sync.close()
    assert (disk.written, disk.told, disk.failures) == ([], [], [disk.error])


async def test_a_disk_that_is_full_is_tried_until_it_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C3: one node that registers then must not cost the service its manager."""
    monkeypatch.setattr("pointsman_sched.manager.registry_sync.ROOM_RETRY_S", 0.01)
    disk = Disk()
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    disk.is_free.set()
    sync = disk.sync()
    sync.record(record(1))
    await asyncio.sleep(0.1)
    sync.record(record(2))
    assert (disk.written, disk.told, disk.failures) == ([], [], [])
    disk.error = None
    async with asyncio.timeout(WAIT_S):
        while disk.told[-1:] != [2]:
            disk.news.clear()
            await disk.news.wait()
    sync.close()
    assert [node_id for part in disk.written for node_id in part] == ["n1", "n2"]
    assert ["No space left" in disk.said[0], "room again" in disk.said[1]] == [True, True]
    assert len(disk.said) == 2


async def test_a_manager_that_ends_writes_what_still_waits() -> None:
    disk = Disk()
    sync = disk.sync()
    sync.record(record(1))
    await begun(disk)
    sync.record(record(2))
    disk.is_free.set()
    sync.close()
    assert disk.written == [("n1",), ("n2",)]
    await asyncio.sleep(0)
    assert disk.told in ([], [1])


async def test_without_room_for_a_thread_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """P11."""

    def nothing_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", nothing_left)
    with pytest.raises(OSError, match="registry"):
        Disk().sync()
