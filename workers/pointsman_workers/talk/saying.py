"""Saying: an utterance becomes jobs, made by the one entry for jobs like any other.

What was spoken is never written down: its jobs are kept in memory only, whatever the server's
usual durability is.  A session whose client is away says what it has spoken so far all the same;
its results wait for the client to come back.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from pointsman_shm.rules.languages import AUTO
from pointsman_wire.errors import Code
from pointsman_wire.link import Connection
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import Submit
from pointsman_wire.talk.talk_messages import UiEvent, Utterance, UtteranceJobs
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Key, Peer, Session, away
from pointsman_workers.desks.jobs import JobDesk
from pointsman_workers.ordering.utterances import next_index
from pointsman_workers.talk.awaiting import AwaitingDesk
from pointsman_workers.talk.memory import RETRY_AFTER_MS, SoundMemory
from pointsman_workers.talk.nouns import Ending, Said, Turn, Voice
from pointsman_workers.talk.plans import Leg, directed, is_two_way, legs_of
from pointsman_workers.talk.sound import WAV_TYPE, UnknownSound, sound_file
from pointsman_workers.talk.telling import TellingDesk, shown
from pointsman_workers.talk.voices import Voices

TEXT_TYPE = "text/plain; charset=utf-8"
ASR_SUFFIX = ":asr"


class SayingDesk:
    """Makes jobs of utterances."""

    def __init__(self, shard: Shard, jobs: JobDesk, voices: Voices, telling: TellingDesk) -> None:
        self.shard = shard
        self.jobs = jobs
        self._voices = voices
        self._telling = telling
        self._open_max = shard.config.talk.utterances_open_max
        self.memory = SoundMemory(shard.config.talk)
        self.awaiting = AwaitingDesk(shard, self.memory, say=self.say, refuse=self.refuse)

    def utterance(self, session: Session, message: Utterance, payload: bytes) -> None:
        """Somebody says something whole."""
        voice = self._voices.of(session)
        if not message.utterance_id:
            message = replace(message, utterance_id=self.new_id())
        if (error := self.too_many(voice, message.utterance_id)) is not None:
            self.refuse(voice, message.utterance_id, error)
            return
        try:
            sound = sound_file(payload, message.content_type) if payload else b""
        except UnknownSound as unknown:
            error = error_info(Code.INVALID_MESSAGE, str(unknown))
            self.refuse(voice, message.utterance_id, error)
            return
        if not sound and not message.text.strip():
            error = error_info(Code.INVALID_MESSAGE, "an utterance has text, or sound as payload")
            self.refuse(voice, message.utterance_id, error)
            return
        self.say(Turn(voice=voice, wanted=message, sound=sound, began_ns=self.shard.now_ns))

    def new_id(self) -> str:
        """Return an id for an utterance whose client gave it none."""
        return "u-" + next(self.shard.job_ids)[:12]

    def too_many(self, voice: Voice, utterance_id: str) -> ErrorInfo | None:
        """Is a session at work on as many utterances as it may, this one not among them?"""
        if len(voice.said) + len(voice.hearing) + len(voice.awaiting) < self._open_max:
            return None
        if self.is_known(voice.session, utterance_id) or utterance_id in voice.awaiting:
            return None
        if any(said.utterance_id == utterance_id for said in voice.said.values()):
            return None
        text = f"{self._open_max} utterances of the session are open; let some of them end"
        return error_info(Code.RATE_LIMITED, text, retry_after_ms=RETRY_AFTER_MS)

    def is_known(self, session: Session, utterance_id: str) -> bool:
        """Has the utterance become a job already?"""
        return self.shard.window.find(_key(session, utterance_id)) is not None

    def say(self, turn: Turn) -> None:
        """Make the jobs of an utterance."""
        voice, wanted = turn.voice, turn.wanted
        listeners = self._voices.listeners(voice, wanted.to)
        if isinstance(listeners, ErrorInfo):
            self.refuse(voice, wanted.utterance_id, listeners)
            return
        if not listeners and self.awaiting.is_for_others(voice, wanted):
            self.awaiting.keep(turn)
            return
        line = voice.session.utterances
        if wanted.utterance_index is None and line is not None:
            wanted = replace(wanted, utterance_index=next_index(line))
        if is_two_way(voice, wanted, listeners):
            if turn.sound and not wanted.services:
                self._recognise(replace(turn, wanted=wanted))
                return
            wanted = directed(voice, wanted)
        legs = legs_of(voice, wanted, listeners, is_sound=bool(turn.sound))
        if isinstance(legs, ErrorInfo):
            self.refuse(voice, wanted.utterance_id, legs)
            return
        self._announce(voice, wanted.utterance_id, [leg.request_id for leg in legs])
        for leg in legs:
            self._submit(replace(turn, wanted=wanted), leg)

    def _announce(self, voice: Voice, utterance_id: str, request_ids: list[str]) -> None:
        """Tell the client all the jobs of an utterance, so that it knows when it has its answer."""
        ending = voice.ended.get(utterance_id)
        if ending is not None:
            ending.request_ids = [*dict.fromkeys([*ending.request_ids, *request_ids])]
        session = voice.session
        if session.peer is not None:
            if ending is not None:
                ending.told_on = session.peer.connection
            told = UtteranceJobs(
                session_number=session.number, utterance_id=utterance_id, request_ids=request_ids
            )
            self.shard.outbox.send(session.peer.connection, told)

    def repeat(self, voice: Voice, utterance_id: str, *, is_final: bool) -> None:
        """Tell a client what has become of an utterance whose sound it repeats.

        Who came back is told once, with the first piece: perhaps there is no last one.  Who says
        the end again on the same connection asks for results, as who submits again does.
        """
        ending, peer = voice.end(utterance_id), voice.session.peer
        assert peer is not None, utterance_id
        is_news = peer.connection != ending.told_on
        if ending.error is not None:
            if is_news:
                self.refuse(voice, utterance_id, ending.error)
            return
        if not ending.request_ids and self.is_known(voice.session, utterance_id):
            ending.request_ids = [utterance_id]
        if is_news and ending.request_ids:
            self._announce(voice, utterance_id, ending.request_ids)
        if is_news or is_final:
            for request_id in ending.request_ids:
                self._tell_again(peer, voice.session, ending, request_id)

    def _tell_again(self, peer: Peer, session: Session, ending: Ending, request_id: str) -> None:
        """Its result comes, now or when it is there; if there is none to come, that is told."""
        key = _key(session, request_id)
        job = self.shard.window.find(key)
        if job is not None:
            submit = Submit(session_number=session.number, request_id=request_id)
            self.jobs.repeat(peer, submit, job)
        elif key not in self.shard.talks:  # nor is it on its way to being a job
            text = f"no job {request_id!r} is remembered any more"
            error = ending.refused.get(request_id) or error_info(Code.NOT_FOUND, text)
            self.shard.outbox.error(peer.connection, error, session.number, request_id)

    def refused(self, said: Said, request_id: str, error: ErrorInfo, told_on: Connection) -> None:
        """A job of an utterance is none after all: its speaker may be elsewhere by now."""
        ending = said.voice.ended.get(said.utterance_id)
        if ending is not None:
            ending.refused[request_id] = error
        session = said.voice.session
        if session.peer is not None and session.peer.connection != told_on:
            self.shard.outbox.error(session.peer.connection, error, session.number, request_id)

    def _recognise(self, turn: Turn) -> None:
        """Ask first what was said in which language: that decides the direction."""
        asked = directed(turn.voice, turn.wanted)
        leg = Leg(
            request_id=turn.wanted.utterance_id + ASR_SUFFIX,
            src=AUTO,
            tgt=asked.tgt_lang,
            services=["asr"],
        )
        utterance_id = turn.wanted.utterance_id
        known = [utterance_id] if self.is_known(turn.voice.session, utterance_id) else []
        self._announce(turn.voice, utterance_id, [leg.request_id, *known])
        self._submit(turn, leg, then=turn.wanted)

    def go_on(self, said: Said, job: Job) -> None:
        """What was said is recognised: translate it into the other language."""
        then, result = said.then, job.result
        said.then = None
        if then is None or result is None or job.state is not JobState.COMPLETED:
            return
        text = job.output.decode(errors="replace")
        if not text.strip():
            return
        meta = result.meta or {}
        wanted = directed(said.voice, then, str(meta.get("src_lang", "")))
        wanted = replace(wanted, text=text, utterance_index=result.utterance_index)
        # It was said before the session began to close, and closing waits for what was said.
        session = said.voice.session
        is_closing, session.is_closing = session.is_closing, False
        self.say(Turn(voice=said.voice, wanted=wanted, began_ns=said.began_ns))
        if is_closing:
            session.is_closing, session.terms = True, None

    def _submit(self, turn: Turn, leg: Leg, then: Utterance | None = None) -> None:
        self._follow(turn, leg, then)
        session, wanted, sound = turn.voice.session, turn.wanted, turn.sound
        submit = Submit(
            session_number=session.number,
            request_id=leg.request_id,
            src_lang=leg.src,
            tgt_lang=leg.tgt,
            services=leg.services,
            preferred_node=wanted.preferred_node,
            priority=wanted.priority,
            durability="memory" if sound else None,
            utterance_index=wanted.utterance_index,
            content_type=WAV_TYPE if sound else TEXT_TYPE,
            stream=True,
            explain=wanted.explain,
            trace_id=wanted.trace_id,
        )
        self.jobs.create_job(peer_of(session), submit, sound or wanted.text.encode())

    def _follow(self, turn: Turn, leg: Leg, then: Utterance | None) -> None:
        """Have it told what becomes of the job, unless that is or has been told already."""
        voice, wanted = turn.voice, turn.wanted
        key = _key(voice.session, leg.request_id)
        known = self.shard.window.find(key)
        if key in self.shard.talks or not (known is None or known.is_open):
            return
        said = Said(
            voice=voice,
            utterance_id=wanted.utterance_id,
            lang=leg.tgt,
            began_ns=turn.began_ns,
            listeners=leg.listeners,
            words="" if turn.sound else shown(wanted.text),
            then=then,
        )
        self.shard.talks[key] = voice.said[key] = said
        if said.words:
            self._telling.typed(said, leg.src)

    def refuse(
        self,
        voice: Voice,
        utterance_id: str,
        error: ErrorInfo,
        listeners: Iterable[Session] = (),  # who were told that it had begun
    ) -> None:
        """Answer an utterance that gets no job."""
        session = voice.session
        ending = voice.ended.get(utterance_id)
        if ending is not None:
            ending.error = error
        if session.peer is not None:
            connection = session.peer.connection
            if ending is not None:
                ending.told_on = connection
            self.shard.outbox.error(connection, error, session.number, utterance_id)
        event = UiEvent(utterance_id=utterance_id, event="ERROR", error=error)
        self._telling.tell(voice, listeners, event)


def _key(session: Session, request_id: str) -> Key:
    return session.tenant, session.session_id, request_id


def peer_of(session: Session) -> Peer:
    """Return the session's connection, or one that leads to nobody while its client is away."""
    return session.peer or away(session, session.number)
