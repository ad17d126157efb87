"""The model's scripts about sessions."""

from collections.abc import Callable
from typing import Any

import msgspec
from redis_model.store import Store

from pointsman_wire.coordination.requests import (
    Answer,
    Request,
    SessionFound,
    SessionNotes,
    SessionRead,
    SessionWrite,
    SessionWritten,
)
from pointsman_wire.coordination.terms import SESSION_MS, SESSION_OWNER_MS


class SessionRow(msgspec.Struct):
    """A session's notes, and when they were written."""

    notes: SessionNotes
    written_ms: int


def session_read(store: Store, request: SessionRead) -> SessionFound:
    """See `requests.SessionRead`."""
    row = store.get(store.keys.session(request.key), SessionRow)
    if row is None:
        return SessionFound(number=request.number, outcome="missing")
    notes = row.notes
    if not 0 <= store.now_ms - row.written_ms < SESSION_OWNER_MS:
        notes = msgspec.structs.replace(notes, owner=None)
    return SessionFound(number=request.number, outcome="found", notes=notes)


def session_write(store: Store, request: SessionWrite) -> SessionWritten:
    """See `requests.SessionWrite`."""
    row = SessionRow(request.notes, store.now_ms)
    store.put(store.keys.session(request.key), row, SESSION_MS)
    return SessionWritten(number=request.number, outcome="done")


SESSION_SCRIPTS: dict[type[Request], Callable[[Store, Any], Answer]] = {
    SessionRead: session_read,
    SessionWrite: session_write,
}
