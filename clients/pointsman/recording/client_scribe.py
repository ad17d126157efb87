"""What a client adds to a history: what it sent, what it was promised, what came of it."""

from collections.abc import Callable, Sequence
from typing import Any

from pointsman.recording.facts import Fact
from pointsman.session_core.events import (
    CancelWished,
    OpenSession,
    RequestFailed,
    ResultCame,
    SessionEnded,
    SessionOpened,
    SubmitWished,
)
from pointsman_wire.link import Connection, Received, Send
from pointsman_wire.session_messages import (
    JobAccepted,
    Result,
    SessionInit,
    SessionInitAck,
    Submit,
)

Turn = list[Fact]
# Tickets whose end is not told yet; a client's core holds no more.
TICKETS_MAX = 200_000


class ClientScribe:
    """Looks at every turn of one life of a client's core."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._is_begun = False
        self._now_ns = 0
        self._session_by_number: dict[tuple[Connection, int], str] = {}
        self._session_by_handle: dict[int, str] = {}
        self._orders: dict[int, str] = {}  # by ref
        # Ticket -> (handle, request id); those with an acceptance, by (session, request).
        self._asked: dict[int, tuple[int, str]] = {}
        self._jobs: dict[tuple[str, str], str] = {}
        self._happened: dict[type, Callable[[Turn, Any], None]] = {
            OpenSession: self._wished_to_open,
            Received: self._received,
            SubmitWished: self._wished_for,
            CancelWished: self._cancelled,
        }
        self._did: dict[type, Callable[[Turn, Any], None]] = {
            Send: self._sent,
            SessionOpened: self._opened,
            SessionEnded: self._session_ended,
            ResultCame: lambda turn, command: self._asked.pop(command.ticket, None) and None,
            RequestFailed: self._failed,
        }

    def turn(self, now_ns: int, events: Sequence[Any], commands: Sequence[Any]) -> Turn:
        """Return what one turn adds."""
        self._now_ns = now_ns
        turn = Turn()
        if not self._is_begun:
            self._is_begun = True
            turn.append(self._fact("begin"))
        for event in events:
            if (note := self._happened.get(type(event))) is not None:
                note(turn, event)
        for command in commands:
            if (note := self._did.get(type(command))) is not None:
                note(turn, command)
        return turn

    def _fact(self, what: str, **more: Any) -> Fact:
        return Fact(at_ns=self._now_ns, by="client", who=self._who, what=what, **more)

    # ---- what the user wants

    def _wished_for(self, turn: Turn, event: SubmitWished) -> None:
        if len(self._asked) < TICKETS_MAX:
            self._asked[event.ticket] = (event.handle, event.submit.request_id)

    def _cancelled(self, turn: Turn, event: CancelWished) -> None:
        if (about := self._about(event.ticket)) is not None:
            turn.append(self._fact("cancel", **about))

    def _wished_to_open(self, turn: Turn, event: OpenSession) -> None:
        """A request may be given up before its session stands: of which one, is known by then."""
        if event.init.session_id:
            self._session_by_handle[event.handle] = event.init.session_id

    def _about(self, ticket: int) -> dict[str, str] | None:
        """Return which request a ticket is of."""
        handle, request = self._asked.get(ticket, (0, ""))
        session = self._session_by_handle.get(handle, "")
        if not request or not session:
            return None
        found = {"session": session, "request": request}
        return {**found, "job_id": self._jobs.get((session, request), "")}

    # ---- what it sends

    def _sent(self, turn: Turn, command: Send) -> None:
        message = command.message
        if type(message) is Submit:
            session = self._session_by_number.get((command.connection, message.session_number), "")
            fact = self._fact(
                "submit",
                session=session,
                request=message.request_id,
                level=message.durability or "",
                kind=kind_of(message),
                seconds=message.deadline_s or 0.0,
            )
            turn.append(fact)
        elif type(message) is SessionInit:
            self._orders[message.ref] = message.order

    # ---- what it is told

    def _received(self, turn: Turn, event: Received) -> None:
        for message, _ in event.frames:
            if type(message) is SessionInitAck:
                place = (event.connection, message.session_number)
                self._session_by_number[place] = message.session_id
                if len(self._session_by_number) > TICKETS_MAX:
                    del self._session_by_number[next(iter(self._session_by_number))]
            elif type(message) is JobAccepted:
                self._accepted(turn, event.connection, message)
            elif type(message) is Result:
                self._result(turn, event.connection, message)

    def _accepted(self, turn: Turn, connection: Connection, message: JobAccepted) -> None:
        for job in message.jobs:
            session = self._session_by_number.get((connection, job.session_number), "")
            self._jobs[session, job.request_id] = job.job_id
            if len(self._jobs) > TICKETS_MAX:
                del self._jobs[next(iter(self._jobs))]
            fact = self._fact(
                "accepted",
                session=session,
                request=job.request_id,
                job_id=job.job_id,
                level=job.durability,
                status="duplicate" if job.duplicate else "",
                seconds=job.window_s,
            )
            turn.append(fact)

    def _result(self, turn: Turn, connection: Connection, result: Result) -> None:
        session = self._session_by_number.get((connection, result.session_number), "")
        placement = result.placement
        # A handler may say under which fence it ran: [job_id, epoch, dispatch].
        _, epoch, dispatch = (result.meta or {}).get("fence", ("", 0, 0))
        fact = self._fact(
            "result",
            session=session,
            request=result.request_id,
            job_id=result.job_id,
            status=result.status,
            node=result.node_id,
            attempt=result.attempt,
            epoch=epoch,
            dispatch=dispatch,
            number=placement.snapshot_version if placement else 0,
            seconds=placement.snapshot_age_ms / 1000 if placement else 0.0,
            kind=("stale" if placement.stale else "fresh") if placement else "",
            words=result.error.code if result.error else "",
        )
        turn.append(fact)

    def _opened(self, turn: Turn, command: SessionOpened) -> None:
        ack = command.ack
        self._session_by_handle[command.handle] = ack.session_id
        about = {"session": ack.session_id, "shard": ack.shard}
        status = self._orders.get(ack.ref, "")
        turn.append(self._fact("resume" if ack.resumed else "connect", **about, status=status))

    def _session_ended(self, turn: Turn, command: SessionEnded) -> None:
        session = self._session_by_handle.pop(command.handle, "")
        code = command.error.code if command.error else ""
        turn.append(self._fact("closed", session=session, status=code))

    def _failed(self, turn: Turn, command: RequestFailed) -> None:
        about = self._about(command.ticket)
        self._asked.pop(command.ticket, None)
        if about is not None:
            what = "missing" if about["job_id"] else "refused"
            turn.append(self._fact(what, **about, status=command.error.code))


def kind_of(submit: Submit) -> str:
    """Return what decides where a job may go and when: its session's other jobs compare by it."""
    words = (
        submit.services,
        submit.features,
        (submit.src_lang, submit.tgt_lang, submit.auto_langs),
        sorted(submit.labels_required.items()),
        (submit.preferred_node, submit.exclude, submit.accept_public),
        submit.priority,
        submit.durability,  # one that waits for the disk is overtaken by one that does not
    )
    return repr(words)
