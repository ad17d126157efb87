"""Telling: the steps of an utterance to those who look on, and its results to those who listen.

A listener gets the result as one of its own: numbered, acknowledged, sent again after a lost
connection.  It is a copy that no window remembers, so what a listener may have waiting is bounded
here, as its own results are by the window.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import Submit
from pointsman_wire.talk.talk_messages import UiEvent
from pointsman_workers.core.held import copy_bytes, extra_bytes
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.shard import MILLISECOND_NS, Shard
from pointsman_workers.core.state import Job, Session
from pointsman_workers.ordering.delivering import DeliveryDesk
from pointsman_workers.talk.nouns import Said, Voice

TEXT_SHOWN_MAX = 4_096
# Nobody reads faster: what is recognised so far is shown at most so often, and then ASR_FINAL.
PARTIAL_EVERY_NS = 100 * MILLISECOND_NS
_FORGOTTEN = Submit()


class TellingDesk:
    """Speaks to speakers and listeners."""

    def __init__(self, shard: Shard, delivery: DeliveryDesk) -> None:
        self.shard = shard
        self._delivery = delivery
        self._unread_bytes_max = shard.config.limits.results_queue_bytes_max

    def step(self, said: Said, job: Job, event: UiEvent) -> None:
        """Tell a step of a job to who speaks and who hears it."""
        self._of(said, job.key[2], event)

    def typed(self, said: Said, lang: str) -> None:
        """Tell those who listen what was typed; who typed it knows."""
        event = UiEvent(
            utterance_id=said.utterance_id,
            event="INPUT_ENDED",
            speaker=said.voice.session.session_id,
            lang=lang,
            text=said.words,
        )
        for listener in said.listeners:
            self.show(listener, event)

    def failed(self, said: Said, request_id: str, error: ErrorInfo) -> None:
        """Tell that a job of an utterance came to nothing."""
        self._of(said, request_id, UiEvent(event="ERROR", lang=said.lang, error=error))

    def _of(self, said: Said, request_id: str, event: UiEvent) -> None:
        told = replace(
            event,
            utterance_id=said.utterance_id,
            request_id=request_id,
            elapsed_ms=self.elapsed_ms(said.began_ns),
        )
        self.tell(said.voice, said.listeners, told)

    def elapsed_ms(self, began_ns: int) -> float:
        """How long ago that was."""
        return (self.shard.now_ns - began_ns) / MILLISECOND_NS

    def tell(self, voice: Voice, listeners: Iterable[Session], event: UiEvent) -> None:
        """Send an event to who speaks, and to listeners with the speaker's id."""
        self.show(voice.session, event)
        for listener in listeners:
            self.show(listener, replace(event, speaker=voice.session.session_id))

    def show(self, session: Session, event: UiEvent) -> None:
        """Send an event, if its client is there and reads: none is kept."""
        peer = session.peer
        if peer is not None and not peer.is_congested and session.may_read:
            told = replace(event, session_number=session.number)
            self.shard.outbox.send(peer.connection, told)

    def give(self, said: Said, job: Job) -> None:
        """Give everybody who listens what was said."""
        if job.state is not JobState.COMPLETED:
            return
        for listener in said.listeners:
            if not listener.is_closed:
                self._give(listener, said, job)

    def _give(self, listener: Session, said: Said, job: Job) -> None:
        assert job.result is not None, job.job_id
        result = replace(
            job.result,
            session_number=listener.number,
            number=listener.next_result,
            utterance_index=None,
            speaker=said.voice.session.session_id,
            meta={**(job.result.meta or {}), "said": said.words} if said.words else job.result.meta,
        )
        copy = Job(
            job_id=job.job_id,
            key=(listener.tenant, listener.session_id, job.key[2]),
            session=listener,
            submit=_FORGOTTEN,
            payload=b"",
            body=job.body,
            kind=job.kind,
            arrival=job.arrival,
            accepted_at_ns=job.accepted_at_ns,
            state=job.state,
            attempt=job.attempt,
            result=result,
            output=job.output,
            extra_bytes=extra_bytes(result),
            ended_at_ns=job.ended_at_ns,
        )
        if self._has_enough(listener, copy):
            listener.forgotten += 1
            return
        listener.next_result += 1
        self._delivery.hand_over(listener, copy)

    def _has_enough(self, listener: Session, copy: Job) -> bool:
        """Does so much wait for this listener already that no more may?"""
        if not listener.held:
            return False
        return listener.copies_bytes + copy_bytes(copy) > self._unread_bytes_max


def shown(text: str) -> str:
    """Return as much of a text as an event shows."""
    return text[:TEXT_SHOWN_MAX]
