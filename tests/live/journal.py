"""What nodes really ran: a file to which handlers of any process append, and its checkers."""

import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple

from live.service import until

from pointsman import Job


class Entry(NamedTuple):
    """A handler started or ended a job; `end` of `stopped` was by cancellation."""

    what: str  # start, end, stopped
    node_id: str
    request_id: str
    job_id: str
    attempt: int
    at_ns: int


class Journal:
    """One line an entry; lines of different processes never mix (O_APPEND, one write)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def note(self, what: str, node_id: str, job: Job) -> None:
        """Append an entry."""
        words = (what, node_id, job.request_id, job.job_id, str(job.attempt), str(monotonic_ns()))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, ("\t".join(words) + "\n").encode())
        finally:
            os.close(descriptor)

    def entries(self, what: str = "") -> list[Entry]:
        """All entries, or those that say this."""
        found = []
        for line in self.path.read_text().splitlines():
            kind, node_id, request_id, job_id, attempt, at_ns = line.split("\t")
            found.append(Entry(kind, node_id, request_id, job_id, int(attempt), int(at_ns)))
        return [entry for entry in found if what in ("", entry.what)]

    async def has(self, what: str, *, count: int = 1) -> None:
        """Wait until there are so many entries that say this."""
        await until(lambda: len(self.entries(what)) >= count, f"{count} entries {what!r}")

    def starts(self) -> dict[str, list[Entry]]:
        """Request id -> every time that it was started."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries("start"):
            found[entry.request_id].append(entry)
        return found

    def check_one_job_each(self) -> None:
        """I2: no request id ever starts under two job ids."""
        for request_id, starts in self.starts().items():
            assert len({entry.job_id for entry in starts}) == 1, (request_id, starts)

    def check_never_twice_at_once(self) -> None:
        """I2 as far as the level `memory` goes: a request starts under another job id only after
        its former job had ended, its result lost with a worker that had taken it."""
        ended = {entry.job_id: entry.at_ns for entry in self.entries() if entry.what != "start"}
        for request_id, starts in self.starts().items():
            for former, later in pairwise(starts):
                is_over = ended.get(former.job_id, later.at_ns) < later.at_ns
                assert is_over or former.job_id == later.job_id, (request_id, starts)

    def most_at_once(self, node_id: str) -> int:
        """I4: the most jobs that a node ran at the same instant, by its own clock."""
        running = most = 0
        entries = (entry for entry in self.entries() if entry.node_id == node_id)
        for entry in sorted(entries, key=lambda e: (e.at_ns, e.what == "start")):
            running += 1 if entry.what == "start" else -1
            most = max(most, running)
        return most
