"""Interim: what is being spoken is recognised while it is, as far as there is room for that.

An utterance that asks for it (`partials`) is recognised from its beginning when a second of sound
is there, and again whenever a quarter more has come, and a second: so all its looks together hear
at most five times its sound.  A look is a job of the worker's own on a slot that is free while
nobody waits at this worker; it is never queued, bound, journalled or remembered, and is cancelled
when the utterance ends; one that fails is the last.  What it comes to is shown as ASR_PARTIAL and
kept nowhere.
"""

from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.rules.languages import AUTO, normalise
from pointsman_shm.rules.modules import UnknownName
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import Submit
from pointsman_wire.talk.talk_messages import UiEvent
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job, Session
from pointsman_workers.desks.jobs import JobDesk
from pointsman_workers.talk.memory import SoundMemory
from pointsman_workers.talk.nouns import Hearing, Said
from pointsman_workers.talk.sound import SAMPLE_BYTES, WAV_TYPE
from pointsman_workers.talk.telling import PARTIAL_EVERY_NS, TellingDesk, shown
from pointsman_workers.talk.voices import Voices

ASR = "asr"
GROWTH = 4  # a look is worth it when a quarter more than last time has come
NEVER_BYTES = 1 << 62
LASTS_NS = 10 * SECOND_NS


class InterimDesk:
    """Looks into what is being heard."""

    def __init__(
        self, shard: Shard, jobs: JobDesk, voices: Voices, memory: SoundMemory, telling: TellingDesk
    ) -> None:
        self.shard = shard
        self._jobs = jobs
        self._voices = voices
        self._memory = memory
        self._telling = telling

    def consider(self, hearing: Hearing) -> None:
        """More sound has come: have it recognised, if that is wanted and nobody is kept waiting."""
        sound, first = hearing.sound, hearing.first
        if not first.partials or hearing.look is not None or not sound.rate:
            return
        second = sound.rate * SAMPLE_BYTES
        if sound.sound_bytes < (hearing.look_at_bytes or second):
            return
        come = sound.sound_bytes
        hearing.look_at_bytes = come + max(second, come // GROWTH)
        if (not first.services or ASR in first.services) and self._is_idle(hearing):
            self._look(hearing)

    def _is_idle(self, hearing: Hearing) -> bool:
        """Would it take nothing from anybody: no place in a queue, no memory, no right to jobs?

        Of a tenant's rate it takes its share, as any job does; where that is used up there is none.
        """
        shard, tenant = self.shard, hearing.voice.session.tenant
        rules = shard.tenants.rules(tenant)
        return not (
            shard.is_stopping
            or shard.is_drained
            or shard.waiting.count
            or self._jobs.fleet_wide is not None
            or self._jobs.admission.overload.step
            or rules.jobs_max is not None
            or self._memory.refusal(hearing.voice, hearing.sound.sound_bytes) is not None
            or shard.tenants.over_rate(tenant, rules, shard.now_ns) is not None
        )

    def _look(self, hearing: Hearing) -> None:
        shard, voice, first = self.shard, hearing.voice, hearing.first
        submit = self._wish(hearing)
        session = _nobodys(voice.session, "~" + next(shard.job_ids))
        kind = shard.kinds.find(submit, session)
        if isinstance(kind, UnknownName) or self._jobs.placing.wait_elsewhere(kind):
            return
        shard.fleet.prepare(kind)
        shard.last_arrival += 1
        job = Job(
            job_id=next(shard.job_ids),
            key=(session.tenant, session.session_id, first.utterance_id),
            session=session,
            submit=submit,
            payload=hearing.sound.as_file(),
            body=0,
            kind=kind,
            arrival=shard.last_arrival,
            accepted_at_ns=shard.now_ns,
            timeout_ns=shard.timeout_ns,
            ends_at_ns=shard.now_ns + LASTS_NS,
            is_own=True,
        )
        listeners = self._voices.listeners(voice, first.to)
        shard.talks[job.key] = Said(
            voice=voice,
            utterance_id=first.utterance_id,
            lang=submit.src_lang,
            began_ns=hearing.began_ns,
            listeners=() if isinstance(listeners, ErrorInfo) else tuple(listeners),
            hearing=hearing,
        )
        if not self._jobs.placing.place(job):
            del shard.talks[job.key]
            return
        shard.open_job_count += 1
        shard.count(Counter.JOBS_ACCEPTED)
        hearing.look, hearing.look_bytes = job, len(job.payload)
        self._memory.count(voice, hearing.look_bytes)

    def _wish(self, hearing: Hearing) -> Submit:
        voice, first = hearing.voice, hearing.first
        is_open = bool(voice.pair[0]) and first.src_lang in ("", AUTO)
        src = AUTO if is_open else first.src_lang or voice.lang or voice.session.src_lang
        return Submit(
            src_lang=normalise(src),
            tgt_lang=voice.session.tgt_lang,
            services=[ASR],
            preferred_node=first.preferred_node or voice.session.paired_node,
            priority="bulk",
            wait_busy_s=0.0,
            wait_none_s=0.0,
            content_type=WAV_TYPE,
            stream=True,
        )

    def forget(self, hearing: Hearing) -> None:
        """The utterance ends: nobody wants to know any more."""
        if hearing.look is not None:
            self._jobs.reports.attempts.cancel(hearing.look)

    def piece(self, said: Said, text: str, lang: str) -> None:
        """A node tells what it has recognised so far."""
        hearing = said.hearing
        if hearing is None or hearing.is_over or len(text) < len(hearing.shown):
            return  # it begins anew, and has not come to where the last look was
        if text and text != hearing.shown and self.shard.now_ns >= said.partial_at_ns:
            said.partial_at_ns = self.shard.now_ns + PARTIAL_EVERY_NS
            hearing.shown = text
            event = UiEvent(
                utterance_id=said.utterance_id,
                event="ASR_PARTIAL",
                text=shown(text),
                lang=lang or said.lang,
                elapsed_ms=self._telling.elapsed_ms(said.began_ns),
            )
            self._telling.tell(said.voice, said.listeners, event)

    def finished(self, said: Said, job: Job) -> None:
        """A look has ended, in whatever way."""
        del self.shard.talks[job.key]
        hearing = said.hearing
        assert hearing is not None, job.job_id
        if job.state is JobState.COMPLETED:
            meta = (job.result.meta if job.result is not None else None) or {}
            said.partial_at_ns = 0
            self.piece(said, job.output.decode(errors="replace"), str(meta.get("src_lang", "")))
        elif job.state is JobState.FAILED:
            hearing.look_at_bytes = NEVER_BYTES  # its job at the end tries other nodes; a look none
        self._memory.count(said.voice, -hearing.look_bytes)
        hearing.look = None


def _nobodys(session: Session, session_id: str) -> Session:
    """A session like this one that nobody holds: what comes of its jobs is told to nobody."""
    return Session(
        tenant=session.tenant,
        session_id=session_id,
        resume_token="",
        peer=None,
        auto_langs=session.auto_langs,
        features=session.features,
        is_closed=True,
    )
