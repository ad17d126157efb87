"""The desk of talk: what people send, and what becomes of it, handed to those whose task it is."""

from collections.abc import Callable
from typing import Any

from pointsman_shm.rules.languages import normalise
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import NodePartial
from pointsman_wire.link import Connection
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import SessionInit
from pointsman_wire.talk.talk_messages import (
    AudioChunk,
    RoomJoin,
    RoomLeave,
    UiEvent,
    Utterance,
)
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Key, Lane, Peer, Session
from pointsman_workers.desks.jobs import JobDesk
from pointsman_workers.desks.refusing import not_open
from pointsman_workers.desks.sessions import SessionDesk
from pointsman_workers.talk.hearing import HearingDesk
from pointsman_workers.talk.hooks import Watcher
from pointsman_workers.talk.nouns import Hearing, Room, Said, Voice
from pointsman_workers.talk.plans import is_no_language
from pointsman_workers.talk.rooms import RoomDesk
from pointsman_workers.talk.saying import SayingDesk
from pointsman_workers.talk.telling import PARTIAL_EVERY_NS, TellingDesk, shown
from pointsman_workers.talk.voices import Voices

PLAYED = ("TTS_PLAY_STARTED", "TTS_PLAY_ENDED")


class TalkDesk(Watcher):
    """Everything of people who talk."""

    def __init__(self, shard: Shard, jobs: JobDesk, sessions: SessionDesk) -> None:
        self.shard = shard
        self._jobs = jobs
        self.voices = Voices(shard)
        self.telling = TellingDesk(shard, sessions.delivery)
        self.saying = SayingDesk(shard, jobs, self.voices, self.telling)
        self.hearing = HearingDesk(shard, self.voices, self.saying, self.telling)
        self.rooms = RoomDesk(shard, self.voices, self.saying.awaiting, sessions.new_session_id)
        shard.talk = self

    def handlers(self) -> dict[type, Callable[..., None]]:
        """What is done about which message of a client."""
        return {
            Utterance: self._of_session(self.saying.utterance),
            AudioChunk: self._of_session(self.hearing.chunk),
            RoomJoin: self._of_session(
                lambda session, message, _: self.rooms.join(session, message)
            ),
            RoomLeave: self._of_session(lambda session, message, _: self.rooms.left(session)),
            UiEvent: self._of_session(lambda session, message, _: self._played(session, message)),
        }

    def _of_session(self, act: Callable[[Session, Any, bytes], None]) -> Callable[..., None]:
        """Find the session that a message names, or refuse it."""

        def handle(peer: Peer, message: Any, payload: bytes) -> None:
            session = peer.sessions.get(message.session_number)
            if session is None:
                number = message.session_number
                name = getattr(message, "utterance_id", "")
                self.shard.outbox.error(peer.connection, not_open(number), number, name)
                return
            session.touched_at_ns = self.shard.now_ns
            act(session, message, payload)

        return handle

    def _played(self, session: Session, message: UiEvent) -> None:
        """A client plays what it heard: who spoke and the room may see that."""
        if message.event not in PLAYED:
            text = f"a client tells {' and '.join(PLAYED)} only, not {message.event}"
            error = error_info(Code.INVALID_MESSAGE, text)
            self.saying.refuse(self.voices.of(session), message.utterance_id, error)
            return
        room = self.voices.of(session).room
        told = dict.fromkeys(room.members if room is not None else ())
        speaker = self.shard.sessions.get((session.tenant, message.speaker))
        if speaker is not None and speaker in self.voices.by_session:
            told[speaker] = None
        event = UiEvent(
            utterance_id=message.utterance_id,
            event=message.event,
            speaker=message.speaker,
            listener=session.session_id,
            lang=message.lang,
        )
        for other in told:
            if other is not session:
                self.telling.show(other, event)

    def timed(self, entry: Hearing | Room) -> None:
        """Somebody may have stopped speaking, or will not come back any more."""
        if isinstance(entry, Hearing):
            self.hearing.timed(entry)
        else:
            self.rooms.timed(entry)

    def closing(self, session: Session, *, flush: bool) -> None:
        """Its client is done: what it was saying is said, or dropped."""
        voice = self.voices.by_session.get(session)
        if voice is None:
            return
        for hearing in [*voice.hearing.values()]:
            if flush:
                self.hearing.end(hearing)
            else:
                self.hearing.forget(hearing)
        self.saying.awaiting.give_up(voice)

    def withdraw(self, session: Session, request_id: str) -> bool:
        """Cancel what is being said, waits for somebody to hear it, or has become other jobs.

        False when it is nothing of that.
        """
        voice = self.voices.by_session.get(session)
        if voice is None:
            return False
        hearing = voice.hearing.get(request_id)
        if hearing is None:
            return self.saying.awaiting.withdraw(voice, request_id) or self._stop(voice, request_id)
        self.hearing.cancel(hearing)
        return True

    def _stop(self, voice: Voice, utterance_id: str) -> bool:
        """Cancel the jobs of an utterance; False when there are none under other ids than its."""
        keys = [
            key
            for key, said in voice.said.items()
            if said.utterance_id == utterance_id and key[2] != utterance_id
        ]
        for key in keys:
            voice.said[key].then = None  # nothing follows what is only recognised
            job, session = self.shard.window.find(key), voice.session
            if job is not None and job.is_open:
                self._jobs.reports.attempts.cancel(job)
            elif job is None and session.peer is not None:
                self._jobs.withdraw(session.peer, session, key[2])
        return bool(keys)

    # -- sessions -----------------------------------------------------------------------------

    def joined(self, session: Session, message: SessionInit) -> None:
        """The session was opened or resumed on a connection."""
        pair = (normalise(message.lang_a), normalise(message.lang_b))
        is_two_way = message.mode == "two_way" and all(pair) and not any(map(is_no_language, pair))
        voice = self.voices.by_session.get(session)
        if voice is None and not (is_two_way or message.hears):
            return
        voice = self.voices.of(session)
        hears = normalise(message.hears)
        voice.hears = "" if is_no_language(hears) else hears
        voice.pair = pair if is_two_way else ("", "")
        if session.utterances is None or not session.utterances.held:
            self._forget_untold(voice)
        if voice.room is not None:
            self.rooms.tell(voice.room)

    def _forget_untold(self, voice: Voice) -> None:
        """What has ended and was not told will never be: the session was begun anew."""
        self._forget(voice, [key for key in voice.said if not self._is_to_come(key)])

    def _forget(self, voice: Voice, keys: list[Key]) -> None:
        for key in keys:
            del voice.said[key]
            self.shard.talks.pop(key, None)

    def left(self, session: Session) -> None:
        """Its connection is gone: the room sees that."""
        voice = self.voices.by_session.get(session)
        if voice is not None and voice.room is not None:
            self.rooms.tell(voice.room)

    def ended(self, session: Session) -> None:
        """It is over: nothing of it is kept, but for those who still hear what it said."""
        voice = self.voices.by_session.get(session)
        if voice is None:
            return
        self.rooms.leave(voice)
        for hearing in [*voice.hearing.values()]:
            self.hearing.forget(hearing)
        self._forget(voice, [key for key in voice.said if not self._runs(key)])
        del self.voices.by_session[session]

    def _runs(self, key: Key) -> bool:
        job = self.shard.window.find(key)
        return job is not None and job.is_open

    def _is_to_come(self, key: Key) -> bool:
        return self._runs(key) or self._jobs.is_pending(key)

    # -- jobs ---------------------------------------------------------------------------------

    def dispatched(self, job: Job, pool_id: int | None) -> None:
        """The job was handed to a node."""
        said = self.shard.talks[job.key]
        if said.hearing is not None:
            return
        pools = self.shard.fleet.snapshot.pool_view.pools
        pool = pools.get(pool_id) if pool_id is not None else None
        said.is_accepted = said.is_heard = said.is_translated = False
        assert job.hold is not None, job.job_id
        node_id = job.hold.lane.node_id
        pool_name = pool.name if pool is not None else ""
        event = UiEvent(event="DISPATCHED", node_id=node_id, pool=pool_name, lang=said.lang)
        self.telling.step(said, job, event)

    def started(self, job: Job) -> None:
        """The node has taken it."""
        said = self.shard.talks[job.key]
        if not said.is_accepted and said.hearing is None:
            said.is_accepted = True
            node_id = job.hold.lane.node_id if job.hold is not None else ""
            self.telling.step(said, job, UiEvent(event="NODE_ACCEPTED", node_id=node_id))

    def watching(self, pass_on: Callable[..., None]) -> Callable[..., None]:
        """Return a handler of partial results that shows what they tell of an utterance."""

        def handle(lane: Lane, message: NodePartial, payload: bytes) -> None:
            pass_on(lane, message, payload)
            if not self.shard.talks:
                return
            hold = lane.hold_of(message)
            if hold is not None and hold.job is not None and hold.job.key in self.shard.talks:
                self._piece(hold.job, message.meta or {}, payload)

        return handle

    def _piece(self, job: Job, meta: dict[str, Any], payload: bytes) -> None:
        said = self.shard.talks[job.key]
        text = payload.decode(errors="replace")
        if said.hearing is not None:
            self.hearing.interim.piece(said, text, str(meta.get("src_lang", "")))
            return
        match meta.get("stage"):
            case "asr_partial":
                if self.shard.now_ns >= said.partial_at_ns + PARTIAL_EVERY_NS:
                    said.partial_at_ns = self.shard.now_ns
                    lang = str(meta.get("src_lang", ""))
                    event = UiEvent(event="ASR_PARTIAL", text=shown(text), lang=lang)
                    self.telling.step(said, job, event)
            case "asr":
                self._heard(said, job, text, str(meta.get("src_lang", "")))
            case "nmt":
                self._translated(said, job, text)

    def _heard(self, said: Said, job: Job, text: str, lang: str) -> None:
        if not said.is_heard:
            said.is_heard = True
            event = UiEvent(event="ASR_FINAL", text=shown(text), lang=lang)
            self.telling.step(said, job, event)

    def _translated(self, said: Said, job: Job, text: str) -> None:
        if not said.is_translated:
            said.is_translated = True
            event = UiEvent(event="NMT_DONE", text=shown(text), lang=said.lang)
            self.telling.step(said, job, event)

    def refused(self, key: Key, error: ErrorInfo, told_on: Connection) -> None:
        """It is no job after all, and that was told; a known one, asked for wrongly, goes on."""
        if self._runs(key):
            return
        said = self.shard.talks.pop(key)
        said.voice.said.pop(key, None)
        self.saying.refused(said, key[2], error, told_on)
        self.telling.failed(said, key[2], error)

    def finished(self, job: Job) -> None:
        """It has a result, which may wait for those before it."""
        said, result = self.shard.talks[job.key], job.result
        assert result is not None, job.job_id
        if said.hearing is not None:
            self.hearing.interim.finished(said, job)
            return
        if result.error is not None:
            self.telling.failed(said, job.key[2], result.error)
        meta = result.meta or {}
        if isinstance(heard := meta.get("heard"), str):
            self._heard(said, job, heard, str(meta.get("src_lang", "")))
        if isinstance(translation := meta.get("translation"), str):
            self._translated(said, job, translation)
        if said.then is not None and not said.voice.session.is_closed:
            self.saying.go_on(said, job)
        if job.session.is_closed:
            self.told(job)

    def told(self, job: Job) -> None:
        """Its result goes to its session now, and to all who hear it."""
        said = self.shard.talks.pop(job.key)
        said.voice.said.pop(job.key, None)
        self.telling.give(said, job)
