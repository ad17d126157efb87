"""Hearing: pieces of sound are gathered until their utterance ends, and then it is said.

An utterance ends with its final piece, once all before it are there; when no piece came for a
while; or when it is as long as one may be.  Nothing of its sound is kept here after that.
"""

from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.talk.talk_messages import AudioChunk, EventName, UiEvent, Utterance
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Session
from pointsman_workers.desks.refusing import cancelled
from pointsman_workers.talk.interim import InterimDesk
from pointsman_workers.talk.memory import RETRY_AFTER_MS
from pointsman_workers.talk.nouns import Hearing, Turn, Voice
from pointsman_workers.talk.saying import SayingDesk
from pointsman_workers.talk.sound import SoundBounds, SoundBuffer, UnknownSound
from pointsman_workers.talk.telling import TellingDesk
from pointsman_workers.talk.voices import Voices

_SHARED_FIELDS = (
    *("session_number", "utterance_id", "src_lang", "tgt_lang", "tgt_langs", "to", "services"),
    *("utterance_index", "content_type", "priority", "preferred_node", "explain", "trace_id"),
)


class HearingDesk:
    """Listens to those who speak."""

    def __init__(
        self, shard: Shard, voices: Voices, saying: SayingDesk, telling: TellingDesk
    ) -> None:
        self.shard = shard
        self._voices = voices
        self._saying = saying
        self._telling = telling
        talk = shard.config.talk
        self._bounds = SoundBounds(talk.sound_bytes_max, talk.sound_s)
        self._silence_ns = int(talk.silence_s * SECOND_NS)
        self._pieces_max = talk.pieces_per_second_max
        self._pieces_ahead = int(max(1.0, talk.sound_s) * self._pieces_max) * SECOND_NS
        self.memory = saying.memory
        self.interim = InterimDesk(shard, saying.jobs, voices, self.memory, telling)

    def chunk(self, session: Session, message: AudioChunk, payload: bytes) -> None:
        """A piece of an utterance came."""
        voice = self._voices.of(session)
        if not self._is_in_time(voice, message.utterance_id):
            return
        hearing = voice.hearing.get(message.utterance_id)
        if hearing is None:
            if self._is_late(voice, message.utterance_id):
                self._saying.repeat(voice, message.utterance_id, is_final=message.is_final)
                return
            hearing = self._begin(voice, message)
            if hearing is None:
                return
        hearing.piece_at_ns = self.shard.now_ns
        sound = hearing.sound
        if sound.is_new(message.seq) and (full := self.memory.refusal(voice, len(payload))):
            self.forget(hearing)  # what came of it goes, the others stay
            self._saying.refuse(voice, message.utterance_id, full)
            return
        before_bytes = sound.held_bytes
        sound.add(message.seq, payload, is_final=message.is_final)
        self.memory.count(voice, sound.held_bytes - before_bytes)
        if sound.is_over:
            self.end(hearing)
        else:
            self.interim.consider(hearing)

    def _is_in_time(self, voice: Voice, utterance_id: str) -> bool:
        """Take one of the pieces that a session may send; those above are dropped, and told.

        A whole utterance may come at once: so it does after a lost connection, or from a client
        that begins anew at another worker.
        """
        now_ns = self.shard.now_ns
        earned = (now_ns - voice.pieces_at_ns) * self._pieces_max
        left = voice.pieces_left + earned if voice.pieces_at_ns else self._pieces_ahead
        voice.pieces_left = min(self._pieces_ahead, left)
        voice.pieces_at_ns = now_ns
        if voice.pieces_left >= SECOND_NS:
            voice.pieces_left -= SECOND_NS
            return True
        if now_ns >= voice.too_fast_at_ns + SECOND_NS:
            voice.too_fast_at_ns = now_ns
            text = f"more than {self._pieces_max} pieces of sound a second; those are dropped"
            error = error_info(Code.RATE_LIMITED, text, retry_after_ms=RETRY_AFTER_MS)
            self._saying.refuse(voice, utterance_id, error)
        return False

    def _is_late(self, voice: Voice, utterance_id: str) -> bool:
        """Has the utterance ended already?"""
        return utterance_id in voice.ended or self._saying.is_known(voice.session, utterance_id)

    def _begin(self, voice: Voice, message: AudioChunk) -> Hearing | None:
        error = self._refusal(voice, message)
        sound = None
        try:
            sound = SoundBuffer(message.content_type, self._bounds)
        except UnknownSound as unknown:
            error = error_info(Code.INVALID_MESSAGE, str(unknown))
        if error is not None or sound is None:
            voice.end(message.utterance_id)  # told once, and not for every piece
            assert error is not None, message.utterance_id
            self._saying.refuse(voice, message.utterance_id, error)
            return None
        now_ns = self.shard.now_ns
        hearing = Hearing(
            voice=voice, sound=sound, first=message, began_ns=now_ns, piece_at_ns=now_ns
        )
        voice.hearing[message.utterance_id] = hearing
        self.shard.file(hearing, now_ns + self._silence_ns)
        self._tell(hearing, "INPUT_STARTED")
        return hearing

    def _refusal(self, voice: Voice, message: AudioChunk) -> ErrorInfo | None:
        if self.shard.is_stopping:
            text = "this worker takes no new jobs"
            return error_info(Code.SHUTTING_DOWN, text, retry_after_ms=500)
        if voice.session.is_closing:
            return error_info(Code.SESSION_CLOSED, "the session is being closed")
        if not message.utterance_id:
            return error_info(Code.INVALID_MESSAGE, "a piece of sound names its utterance_id")
        listeners = self._voices.listeners(voice, message.to)
        if isinstance(listeners, ErrorInfo):
            return listeners
        return self._saying.too_many(voice, message.utterance_id)

    # -- the end ------------------------------------------------------------------------------

    def timed(self, hearing: Hearing) -> None:
        """Its timer fired: end it, if it was silent for long enough."""
        if hearing.is_over:
            return
        ends_at_ns = hearing.piece_at_ns + self._silence_ns
        if ends_at_ns > self.shard.now_ns:
            self.shard.file(hearing, ends_at_ns)
        else:
            self.end(hearing)

    def end(self, hearing: Hearing) -> None:
        """Say what was heard, and keep nothing of it."""
        sound = hearing.sound.as_file()
        voice, first = hearing.voice, hearing.first
        self.forget(hearing)
        self._tell(hearing, "INPUT_ENDED")
        if not sound:
            error = error_info(Code.INVALID_MESSAGE, "no sound came that could be read")
            self._saying.refuse(voice, first.utterance_id, error)
            return
        wanted = Utterance(**{name: getattr(first, name) for name in _SHARED_FIELDS})
        self._saying.say(Turn(voice=voice, wanted=wanted, sound=sound, began_ns=hearing.began_ns))

    def cancel(self, hearing: Hearing) -> None:
        """Its client wants nothing of it any more."""
        voice, first = hearing.voice, hearing.first
        listeners = self._voices.listeners(voice, first.to)
        self.forget(hearing)
        error = cancelled()
        told = () if isinstance(listeners, ErrorInfo) else (*listeners,)
        self._saying.refuse(voice, first.utterance_id, error, told)

    def forget(self, hearing: Hearing) -> None:
        """Let go of its sound."""
        voice, utterance_id = hearing.voice, hearing.first.utterance_id
        hearing.is_over = True
        self.interim.forget(hearing)
        del voice.hearing[utterance_id]
        voice.end(utterance_id)
        self.memory.count(voice, -hearing.sound.held_bytes)
        hearing.sound.clear()

    def _tell(self, hearing: Hearing, name: EventName) -> None:
        listeners = self._voices.listeners(hearing.voice, hearing.first.to)
        event = UiEvent(
            utterance_id=hearing.first.utterance_id,
            event=name,
            elapsed_ms=self._telling.elapsed_ms(hearing.began_ns),
        )
        heard_by = () if isinstance(listeners, ErrorInfo) else tuple(listeners)
        self._telling.tell(hearing.voice, heard_by, event)
