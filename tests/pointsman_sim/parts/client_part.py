"""A client: a program that opens sessions and submits, and the processes it runs in.

The program remembers what it asked and what it was told, over its own restarts: whoever starts
anew asks again under the same ids.
"""

from typing import Any

import msgspec

from pointsman.recording.client_scribe import ClientScribe
from pointsman.session_core.client import ClientCore
from pointsman.session_core.events import (
    ClientSetup,
    JobWasAccepted,
    Notice,
    OpenSession,
    PartialCame,
    ProgressCame,
    RequestFailed,
    ResultCame,
    ResultsMissing,
    SessionEnded,
    SessionOpened,
    SubmitWished,
)
from pointsman_sim.history import Violation
from pointsman_sim.parts.abilities import TENANT
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.process import Process, World
from pointsman_wire.link import Frame, Send
from pointsman_wire.session_messages import Order, Result, SessionInit, Submit

OTHER_BODY = b"another body"


class Asked(msgspec.Struct, eq=False):
    """One submit, and every answer that came for it."""

    session: str  # the program's name for it
    submit: Submit
    payload: bytes
    asked_at_ns: int
    tickets: dict[int, None]  # those that are not answered yet
    is_answered: bool = False


class ClientProcess(Process):
    """One life of a client."""

    def __init__(self, world: World, site: "ClientSite", life: int) -> None:
        super().__init__(world, site.name, life)
        self.site = site
        self.clock_offset_ns = self.dice.between(0, 1_000_000) * S
        self.core = ClientCore(ClientSetup(entropy=self.dice.entropy, is_trunk=site.is_trunk))
        self.scribe = ClientScribe(self.name)
        self.start(self.core)

    def execute(self, command: Any) -> None:
        """Hand what the core tells to the program."""
        handler = _TOLD.get(type(command))
        if handler is not None:
            handler(self.site, command)

    def frames_of(self, command: Send) -> list[Frame]:
        """Say a few submits twice, now and then the second time with another body."""
        frames: list[Frame] = [(command.message, command.payload)]
        if isinstance(command.message, Submit) and self.dice.chance(self.site.repeats):
            is_other = self.dice.chance(0.1)
            self.world.history.counts["repeats"] += 1
            frames.append((command.message, OTHER_BODY if is_other else command.payload))
        return frames


class ClientSite:
    """The program."""

    def __init__(self, world: World, index: int, witnesses: list[Any]) -> None:
        self._world = world
        self.name = f"client-{index}"
        self.witnesses = witnesses
        self.dice = Dice(world.seed, self.name)
        self.is_trunk = self.dice.chance(0.5)
        self.repeats = self.dice.pick((0.0, 0.05, 0.2))
        self.tenant = self.dice.pick(("", "", TENANT))
        self.process: ClientProcess | None = None
        self.lives = 0
        # The program's name for a session -> handle of its present opening, None without one.
        self.sessions: dict[str, int | None] = {
            f"s-{index}-{number}": None for number in range(self.dice.between(1, 3))
        }
        # Its id, which is that name, or what the server has made; "" until it has.
        self._ids = {name: "" if self.dice.chance(0.3) else name for name in self.sessions}
        self._session_of: dict[int, str] = {}
        self.orders: dict[str, Order] = {
            name: self.dice.pick(("free", "free", "utterance", "serial")) for name in self.sessions
        }
        self._last_number = 0
        self.asked: dict[tuple[str, str], Asked] = {}  # by session and request id
        self._asked_by: dict[int, Asked] = {}
        self.results: dict[tuple[str, str], Result] = {}

    # ---- life

    def start(self) -> None:
        """Start, open every session, and ask again whatever has no answer."""
        if self.process is not None and self.process.is_alive:
            return
        self.lives += 1
        self._world.history.note(self.name, "starts")
        self.process = ClientProcess(self._world, self, self.lives)
        for session in self.sessions:
            self._open(session)
        for asked in self.asked.values():
            if asked.tickets:
                for ticket in asked.tickets:
                    del self._asked_by[ticket]
                asked.tickets.clear()
                self._submit(asked)

    def _open(self, session: str) -> None:
        assert self.process is not None
        handle = self._number()
        self.sessions[session] = handle
        self._session_of[handle] = session
        init = SessionInit(
            session_id=self._ids[session],
            tenant=self.tenant,
            src_lang="en",
            tgt_lang="es",
            order=self.orders[session],
        )
        self.process.post(OpenSession(handle=handle, init=init, within_s=None))

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    # ---- asking

    def ask(self, session: str, submit: Submit, payload: bytes) -> int:
        """Submit something new; return the ticket."""
        asked = Asked(session, submit, payload, self._world.schedule.now_ns, {})
        self.asked[session, submit.request_id] = asked
        return self._submit(asked)

    def ask_again(self, asked: Asked) -> int:
        """Submit once more what was submitted before, answered or not."""
        return self._submit(asked)

    def _submit(self, asked: Asked) -> int:
        assert self.process is not None
        ticket = self._number()
        asked.tickets[ticket] = None
        self._asked_by[ticket] = asked
        handle = self.sessions[asked.session]
        assert handle is not None
        self.process.post(
            SubmitWished(handle=handle, ticket=ticket, submit=asked.submit, payload=asked.payload)
        )
        return ticket

    @property
    def open_tickets(self) -> list[int]:
        """Tickets that have no answer yet."""
        return [*self._asked_by]

    # ---- being told

    def _answered(self, ticket: int) -> Asked:
        asked = self._asked_by.pop(ticket, None)
        if asked is None:
            raise Violation("I1", f"{self.name}: ticket {ticket} was answered twice")
        del asked.tickets[ticket]
        asked.is_answered = True
        return asked

    def result_came(self, command: ResultCame) -> None:
        """A job ended."""
        asked = self._answered(command.ticket)
        self._world.history.counts[f"answer {command.result.status}"] += 1
        self.results[asked.session, asked.submit.request_id] = command.result
        for witness in self.witnesses:
            witness.told(self, asked, command)

    def request_failed(self, command: RequestFailed) -> None:
        """There will be no result; some programs try again."""
        asked = self._answered(command.ticket)
        self._world.history.counts[f"answer {command.error.code}"] += 1
        if command.error.retryable and self.dice.chance(0.3):
            self._world.schedule.after(self.dice.between(0, 500 * MS), lambda: self._retry(asked))

    def _retry(self, asked: Asked) -> None:
        if self.process is not None and self.process.is_alive and not asked.tickets:
            self._submit(asked)

    def session_opened(self, command: SessionOpened) -> None:
        """Remember the id, to come back under it."""
        self._ids[self._session_of[command.handle]] = command.ack.session_id

    def session_ended(self, command: SessionEnded) -> None:
        """Nobody wished it: open the session again."""
        session = self._session_of.pop(command.handle)
        if self.sessions[session] == command.handle:
            self._open(session)


_TOLD: dict[type, Any] = {
    ResultCame: ClientSite.result_came,
    RequestFailed: ClientSite.request_failed,
    SessionEnded: ClientSite.session_ended,
    SessionOpened: ClientSite.session_opened,
    JobWasAccepted: None,
    PartialCame: None,
    ProgressCame: None,
    ResultsMissing: None,
    Notice: None,
}
