"""The scripts in pure Python, over dicts and a clock that is passed in.

It stands for Redis where a test has no server, and is what a real one is compared with.  Its faults
are switches: `down` and `deaf` (the request is done, the answer lost), `flush`, and `snapshot` with
`fail_over` (to a copy that is behind).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from redis_model.bindings import BINDING_SCRIPTS
from redis_model.buckets import BUCKET_SCRIPTS
from redis_model.fleet import FLEET_SCRIPTS
from redis_model.inboxes import INBOX_SCRIPTS, claim, receive
from redis_model.sessions import SESSION_SCRIPTS
from redis_model.store import Store

from pointsman_wire.coordination.inbox_requests import Entry, Place
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.requests import Answer, Request, failed
from pointsman_wire.coordination.terms import Terms

ENTRIES_MAX = 2_000_000

Script = Callable[[Store, Any], Answer]
SCRIPTS: dict[type[Request], Script] = {
    **BINDING_SCRIPTS,
    **BUCKET_SCRIPTS,
    **SESSION_SCRIPTS,
    **INBOX_SCRIPTS,
    **FLEET_SCRIPTS,
}


class Model:
    """A Redis that holds what the scripts would; `answer` is one pipeline."""

    def __init__(self, terms: Terms | None = None, prefix: str = "pointsman") -> None:
        self.store = Store(keys=Keys(prefix), terms=terms or Terms(), entries_max=ENTRIES_MAX)
        self.down = ""  # says why, while it is
        self.deaf = False

    def answer(self, requests: Iterable[Request], now_ms: int) -> list[Answer]:
        """Answer every request, in order, as of `now_ms`, which may jump like any clock."""
        if self.down:
            return [failed(request, "down", self.down) for request in requests]
        self.store.now_ms = now_ms
        answers = [self._run(request) for request in requests]
        if self.deaf:
            return [failed(request, "unknown", "the answer was lost") for request in requests]
        return answers

    def _run(self, request: Request) -> Answer:
        if self.store.is_full():
            return failed(request, "down", "OOM command not allowed when used memory > 'maxmemory'")
        return SCRIPTS[type(request)](self.store, request)

    def receive(self, place: Place, now_ms: int, *, count_max: int = 100) -> list[Entry]:
        """Entries of a shard's inbox that were not given out yet."""
        self.store.now_ms = now_ms
        name = self.store.keys.inbox(place.instance, place.shard)
        return [] if self.down else receive(self.store, name, count_max)

    def claim(self, place: Place, now_ms: int, *, after: int = 0) -> list[Entry]:
        """Entries of a shard's inbox that were given out and not acknowledged."""
        self.store.now_ms = now_ms
        name = self.store.keys.inbox(place.instance, place.shard)
        return [] if self.down else claim(self.store, name, after, 100)

    # ---- faults

    def flush(self) -> None:
        """Forget everything."""
        self.store.entries.clear()

    def snapshot(self) -> dict[str, Any]:
        """What a replica that stops hearing of changes keeps."""
        return copy.deepcopy(self.store.entries)

    def fail_over(self, snapshot: dict[str, Any] | None = None) -> None:
        """Begin another reign, with that state (or with what is there, as after a restart)."""
        if snapshot is not None:
            self.store.entries = copy.deepcopy(snapshot)
        self.store.reign_number += 1
