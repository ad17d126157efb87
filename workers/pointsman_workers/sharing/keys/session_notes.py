"""Session notes: what is remembered of a session for the instance that it comes back to.

Its bound pool and language pair, its last node, and where its jobs of each kind are pinned
(sticky).  They are read when a session is opened that is new here, and written when they have
changed; a first job waits for them, as long as it would wait for its own key.
"""

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pointsman_shm.rules.session_pool import SessionBinding
from pointsman_wire.coordination.requests import (
    SessionFound,
    SessionKey,
    SessionNotes,
    SessionRead,
    SessionWrite,
    SessionWritten,
)
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Session
from pointsman_workers.placement.deciding import PINS_MAX

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

Pins = list[tuple[tuple[str, ...], str]]  # types -> node id


class PackedNotes(msgspec.Struct, frozen=True, array_like=True):
    """What only workers read."""

    pins: Pins = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackedNotes).decode


class SessionNotesDesk:
    """Reads and writes them."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._reading: dict[Session, None] = {}
        self._changed: dict[Session, None] = {}

    def is_being_read(self, session: Session) -> bool:
        """Is there no answer yet about this session?"""
        return session in self._reading

    def opened(self, session: Session) -> None:
        """A session is new here: it may have been elsewhere."""
        book = self.sharing.book
        self._reading[session] = None
        key = SessionKey(session.tenant, session.session_id)
        request = SessionRead(book.next_number(), key=key)
        book.ask(request, partial(self._found, session))

    def _found(self, session: Session, answer: SessionFound) -> None:
        self._reading.pop(session, None)
        if answer.outcome == "found":
            self._restore(session, answer.notes)
        self.sharing.binding.session_was_read(session)

    def _restore(self, session: Session, notes: SessionNotes) -> None:
        if notes.pool is not None and session.binding is None:
            session.binding = SessionBinding(notes.source, notes.target, notes.pool)
        session.last_node_id = session.last_node_id or notes.last_node
        try:
            packed = _decode(notes.order_state) if notes.order_state else PackedNotes()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # of another version: the session finds its nodes anew
        session.noted_pins = dict(packed.pins[:PINS_MAX])
        session.noted = notes

    def placed(self, session: Session) -> None:
        """A job of the session has got its node."""
        self._changed[session] = None

    def flush(self) -> None:
        """Write what has changed in this step."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        for session in changed:
            notes = self._notes(session)
            if not _is_same(session.noted, notes):
                session.noted = notes
                self._write(session, notes)

    def _notes(self, session: Session) -> SessionNotes:
        fleet, binding = self.shard.fleet, session.binding
        pins = dict(session.noted_pins)
        for types, (row, generation) in session.pins.items():
            if fleet.lane_generations[row] == generation:
                pins[types] = fleet.node_id(row)
        return SessionNotes(
            pool=binding.pool_id if binding is not None else None,
            source=binding.src if binding is not None else "",
            target=binding.tgt if binding is not None else "",
            last_node=session.last_node_id,
            order=session.order,
            order_state=_encode(PackedNotes([*pins.items()])) if pins else b"",
            owner=self.sharing.book.owner,
        )

    def _write(self, session: Session, notes: SessionNotes) -> None:
        book = self.sharing.book
        key = SessionKey(session.tenant, session.session_id)
        request = SessionWrite(book.next_number(), key=key, notes=notes)
        book.ask(request, partial(self._written, session))

    def _written(self, session: Session, answer: SessionWritten) -> None:
        if answer.outcome != "done":
            session.noted = None  # written again with its next job


def _is_same(noted: SessionNotes | None, notes: SessionNotes) -> bool:
    """Would writing it say nothing new?  That the last node changed, alone, does not count."""
    if noted is None or noted.owner != notes.owner or noted.order != notes.order:
        return False
    before = (noted.pool, noted.source, noted.target, noted.order_state)
    return before == (notes.pool, notes.source, notes.target, notes.order_state)
