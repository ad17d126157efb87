"""Rooms: sessions of a worker that hear each other, each in its own language.

A room is there as long as somebody is in it.  Who loses the connection stays for as long as the
session does, and is shown as away; all of a room learn of every change.
"""

from collections.abc import Callable

from pointsman_shm.rules.languages import AUTO, normalise
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_info
from pointsman_wire.session_messages import Moved
from pointsman_wire.shards import shard_of
from pointsman_wire.talk.talk_messages import RoomJoin, RoomMember, RoomState
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Session, listening
from pointsman_workers.talk.awaiting import AwaitingDesk
from pointsman_workers.talk.nouns import Room, Voice
from pointsman_workers.talk.plans import is_no_language
from pointsman_workers.talk.voices import Voices


class RoomDesk:
    """Lets sessions into rooms and out of them.

    `session_id_for` makes a session id that falls on a worker.
    """

    def __init__(
        self,
        shard: Shard,
        voices: Voices,
        awaiting: AwaitingDesk,
        session_id_for: Callable[[int], str],
    ) -> None:
        self.shard = shard
        self._voices = voices
        self._awaiting = awaiting
        self._session_id_for = session_id_for
        self._members_max = shard.config.talk.room_members_max
        self._rooms_max = shard.config.talk.rooms_max
        self.rooms: dict[tuple[str, str], Room] = {}

    def join(self, session: Session, message: RoomJoin) -> None:
        """Somebody comes in, or says anew what they are called and speak."""
        shard = self.shard
        owner = shard_of(message.room, shard.worker_count)
        if message.room and owner != shard.worker_index:
            self._send_away(session, message, owner)
            return
        key = (session.tenant, message.room)
        room = self.rooms.get(key)
        lang = normalise(message.lang or session.src_lang)
        is_inside = room is not None and session in room.members
        refusal: tuple[Code, str] | None = None
        if not message.room:
            refusal = Code.INVALID_MESSAGE, "the room has no name"
        elif lang in ("", AUTO):
            refusal = Code.INVALID_MESSAGE, "who enters a room says which language they speak"
        elif is_no_language(lang):
            refusal = Code.INVALID_MESSAGE, f"lang {lang[:32]!r} is longer than any language's name"
        elif room is not None and not is_inside and len(room.members) >= self._members_max:
            text = f"room {message.room!r} is full: {len(room.members)} are in it, none more may be"
            refusal = Code.QUEUE_FULL, text
        elif room is None and len(self.rooms) >= self._rooms_max:
            refusal = Code.QUEUE_FULL, "this worker has as many rooms as it may have"
        if refusal is not None:
            self._refuse(session, message.room, *refusal)
            return
        voice = self._voices.of(session)
        if not is_inside:
            self.leave(voice)
            room = self.rooms.setdefault(key, Room(key=key))
        assert room is not None, key
        voice.room, voice.lang, voice.name = room, lang, message.name
        room.members[session] = voice
        self.tell(room)
        if self._awaiting.is_open(room):
            self.shard.file(room, self._awaiting.until_ns)
        self._awaiting.look(room)

    def timed(self, room: Room) -> None:
        """Who has not come back by now will not."""
        if self.rooms.get(room.key) is room:
            self._awaiting.look(room)
            self.tell(room)

    def _send_away(self, session: Session, message: RoomJoin, owner: int) -> None:
        if session.peer is not None:
            moved = Moved(
                session_id=self._session_id_for(owner),
                shard=owner,
                worker_count=self.shard.worker_count,
                room=message.room,
                session_number=session.number,
            )
            self.shard.outbox.send(session.peer.connection, moved)

    def _refuse(self, session: Session, room: str, code: Code, text: str) -> None:
        if session.peer is not None:
            error = error_info(code, text)
            self.shard.outbox.error(session.peer.connection, error, session.number, room)

    def leave(self, voice: Voice) -> None:
        """Somebody goes out; who was the last closes the door."""
        room = voice.room
        if room is None:
            return
        self._awaiting.give_up(voice)
        voice.room, voice.lang, voice.name = None, "", ""
        del room.members[voice.session]
        if room.members:
            self.tell(room)
        else:
            del self.rooms[room.key]

    def left(self, session: Session) -> None:
        """The client asked to go out."""
        voice = self._voices.of(session)
        room = voice.room
        self.leave(voice)
        if session.peer is not None:
            state = RoomState(session_number=session.number, room=room.key[1] if room else "")
            self.shard.outbox.send(session.peer.connection, state)

    def tell(self, room: Room) -> None:
        """Tell all who are in it who is; none who was resumed with a token that may not read."""
        members = [
            RoomMember(
                session=session.session_id,
                name=voice.name,
                lang=voice.lang,
                connected=session.peer is not None,
            )
            for session, voice in room.members.items()
        ]
        is_awaited = self._awaiting.is_open(room)
        for session in room.members:
            peer = listening(session)
            if peer is not None:
                state = RoomState(
                    session_number=session.number,
                    room=room.key[1],
                    members=members,
                    awaiting=is_awaited,
                )
                self.shard.outbox.send(peer.connection, state)
