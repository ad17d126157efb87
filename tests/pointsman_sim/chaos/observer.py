"""Who looks on: samples processes, asks workers for their versions, counts slots at rest."""

import asyncio
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

from pointsman.recording.facts import Fact
from pointsman.recording.history_file import HistoryFile
from pointsman_sim.chaos.processes import Service
from pointsman_wire.admin_messages import SnapshotQuery, SnapshotView
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminError, ask

PERIOD_S = 0.5
NAP_S = 0.05
REST_S = 15.0
RSS_BYTES_MAX = 512 * 1024 * 1024
THREADS_MAX = 64
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measured(pid: int) -> dict[str, int]:
    """Return memory in bytes, descriptors and threads of a process.  Raises OSError."""
    folder = Path(f"/proc/{pid}")
    status = (folder / "status").read_text()
    threads = next(line for line in status.splitlines() if line.startswith("Threads:"))
    return {
        "memory": int((folder / "statm").read_text().split()[1]) * PAGE_BYTES,
        "descriptors": len(os.listdir(folder / "fd")),
        "threads": int(threads.split()[1]),
    }


class Observer:
    """Writes what it sees into a history of its own."""

    def __init__(self, service: Service, path: Path) -> None:
        self.service = service
        self._file = HistoryFile(path)
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._bounds = {
            "memory": RSS_BYTES_MAX,
            "descriptors": descriptors * 8 // 10,
            "threads": THREADS_MAX,
        }
        self.samples: dict[str, list[tuple[float, dict[str, int]]]] = {}

    def note(self, what: str, **more: Any) -> None:
        """Write one fact."""
        fact = Fact(at_ns=monotonic_ns(), by="observer", who="observer", what=what, **more)
        self._file.write([fact])

    async def look(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            parts = self.service.parts()
            self._count_segments()
            self._sample("supervisor", self.service.pid)
            for name, pid in parts.items():
                self._sample(name, pid)
                if name.startswith("worker"):
                    await self._ask(name, pid)
            await asyncio.sleep(PERIOD_S)

    async def nap(self) -> None:
        """Sleep briefly again and again, until cancelled, and note how late each waking is.

        That is what the machine costs whoever wants to run, whatever the service does.
        """
        while True:
            due_ns = monotonic_ns() + int(NAP_S * 1e9)
            await asyncio.sleep(NAP_S)
            self.note("woke", seconds=max(0, monotonic_ns() - due_ns) / 1e9)

    def _count_segments(self) -> None:
        count = len(self.service.segments())
        self.samples.setdefault("host", []).append((monotonic_ns() / 1e9, {"segments": count}))

    def _sample(self, name: str, pid: int) -> None:
        try:
            amounts = measured(pid)
        except OSError:
            return  # it ended meanwhile
        self.samples.setdefault(name, []).append((monotonic_ns() / 1e9, amounts))
        for word, amount in amounts.items():
            self.note("sample", node=name, number=amount, bound=self._bounds[word], words=word)

    async def _ask(self, name: str, pid: int) -> SnapshotView | None:
        path = admin_socket(self.service.runtime_dir, name)
        try:
            async with asyncio.timeout(1.0):
                view = await ask(path, SnapshotQuery())
        except (AdminError, TimeoutError):
            return None  # it is stopped, or dead: the next look may find it
        if not isinstance(view, SnapshotView):
            return None
        # A successor begins with what it reads first: versions are compared within a life.
        self.note("version", node=f"{name}/{pid}", number=view.version)
        return view

    async def at_rest(self) -> None:
        """Nothing is asked any more: note what is still held when patience ends, or nothing is."""
        ends_ns = monotonic_ns() + int(REST_S * 1e9)
        held: list[int] = []
        while monotonic_ns() < ends_ns:
            view = await self._any_view()
            held = view.slots_held if view is not None else held
            if view is not None and not any(held):
                break
            await asyncio.sleep(0.05)
        self.note("rest")
        for index, count in enumerate(held):
            self.note("slots", node=f"worker-{index}", number=count)

    async def _any_view(self) -> SnapshotView | None:
        parts = self.service.parts()
        for name in self._workers(parts):
            if (view := await self._ask(name, parts[name])) is not None:
                return view
        return None

    def _workers(self, parts: dict[str, int]) -> Iterator[str]:
        return (name for name in sorted(parts) if name.startswith("worker"))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
