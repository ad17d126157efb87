"""The voices of a shard: made when a session first talks, gone when it ends."""

from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Session
from pointsman_workers.talk.nouns import Voice


class Voices:
    """Finds voices, and who hears them.  At most one for each session."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.by_session: dict[Session, Voice] = {}

    def of(self, session: Session) -> Voice:
        """Return the voice of a session that is open."""
        assert not session.is_closed, session.session_id
        voice = self.by_session.get(session)
        if voice is None:
            voice = self.by_session[session] = Voice(session=session)
        return voice

    def listeners(self, voice: Voice, named: list[str]) -> dict[Session, str] | ErrorInfo:
        """Return who hears the voice and in what language: those named, or else its room."""
        if not named:
            members = voice.room.members if voice.room is not None else {}
            return {who: heard.lang for who, heard in members.items() if heard is not voice}
        found: dict[Session, str] = {}
        for session_id in named:
            session = self.shard.sessions.get((voice.session.tenant, session_id))
            heard = self.by_session.get(session) if session is not None else None
            lang = "" if heard is None else self._language(heard, voice)
            if session is None or not lang:
                return self._unheard(session_id, is_there=session is not None)
            if heard is not voice:
                found[session] = lang
        return found

    @staticmethod
    def _language(heard: Voice, speaker: Voice) -> str:
        is_near = heard.room is not None and heard.room is speaker.room
        return heard.lang if is_near else heard.hears

    def _unheard(self, session_id: str, *, is_there: bool) -> ErrorInfo:
        if is_there:
            why = "has not said in session_init what language it hears"
        elif self.shard.worker_count > 1:
            why = "is not open at this worker: sessions that hear each other share one (a room)"
        else:
            why = "is not open"
        return error_info(Code.NOT_FOUND, f"session {session_id!r} {why}")
