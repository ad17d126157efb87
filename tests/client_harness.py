"""A client's core on a virtual clock, with the server's side played by hand."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pointsman.session_core.client import ClientCore
from pointsman.session_core.events import (
    ClientLimits,
    ClientSetup,
    CloseSession,
    OpenSession,
    RequestFailed,
    ResultCame,
    SubmitWished,
)
from pointsman_wire.link import (
    Close,
    Closed,
    Connection,
    Dial,
    DialFailed,
    Dialled,
    Received,
    Send,
)
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import Result, SessionInit, SessionInitAck, Submit

S = 1_000_000_000
T = TypeVar("T")


def half(count: int) -> bytes:
    """Entropy that always draws the middle."""
    return b"\x00" * (count - 1) + b"\x80"


class ClientHarness:
    """Feeds the core and plays the worker."""

    def __init__(
        self,
        *,
        is_trunk: bool = False,
        is_web: bool = False,
        limits: ClientLimits | None = None,
        entropy: Callable[[int], bytes] = half,
    ) -> None:
        setup = ClientSetup(
            entropy=entropy, is_trunk=is_trunk, is_web=is_web, limits=limits or ClientLimits()
        )
        self.core = ClientCore(setup)
        self.now_ns = 1000 * S
        self.connection = Connection(0)
        self.tickets = 0
        self.results = 0
        self.answers: list[Any] = []
        self._connections = 0

    # ---- stepping

    def feed(self, *events: object) -> list[Any]:
        """Step once at the present time."""
        commands = self.core.step(self.now_ns, events)
        self.core.check_invariants()
        self.answers += [c for c in commands if type(c) in (ResultCame, RequestFailed)]
        return commands

    def advance(self, seconds: float) -> list[Any]:
        """Let time pass, stepping at every deadline on the way; return all commands."""
        until_ns = self.now_ns + int(seconds * S)
        commands: list[Any] = []
        while (due := self.core.next_deadline_ns()) is not None and due <= until_ns:
            self.now_ns = max(self.now_ns, due)
            commands += self.feed()
        self.now_ns = until_ns
        return commands

    # ---- the server's side

    def say(self, *messages: Message, payload: bytes = b"") -> list[Any]:
        """Let the worker send messages, all in one read."""
        return self.feed(Received(self.connection, [(message, payload) for message in messages]))

    def dial(self, commands: Sequence[Any]) -> list[Any]:
        """Answer every Dial among the commands; return what the core does then."""
        answers: list[Any] = []
        for command in of(commands, Dial):
            self._connections += 1
            self.connection = Connection(self._connections)
            answers += self.feed(Dialled(self.connection, command.purpose))
        return answers

    def refuse_dials(self, commands: Sequence[Any]) -> list[Any]:
        """Let every Dial among the commands fail."""
        return self.feed(*[DialFailed(dial.purpose, "refused") for dial in of(commands, Dial)])

    def wish(
        self,
        handle: int = 1,
        session_id: str = "",
        *,
        init: dict[str, Any] | None = None,
        **more: Any,
    ) -> list[Any]:
        """Ask for a session, with what else its first message says."""
        said = SessionInit(session_id=session_id, src_lang="en", tgt_lang="es", **(init or {}))
        return self.feed(OpenSession(handle=handle, init=said, **more))

    def accept(self, ref: int = 1, **more: Any) -> list[Any]:
        """Let the worker open the session."""
        fields = {"session_number": ref, "session_id": f"s-{ref}", "resume_token": "tok"}
        ack = SessionInitAck(ref=ref, **{"heartbeat_interval_s": 10.0, **fields, **more})
        return self.say(ack)

    def open(self, handle: int = 1, **more: Any) -> None:
        """Bring a session from nothing to open."""
        self.dial(self.wish(handle))
        self.accept(handle, **more)

    def submit(
        self, request_id: str = "", payload: bytes = b"body", *, handle: int = 1, **more: Any
    ) -> list[Any]:
        """Wish for one job under the next ticket."""
        self.tickets += 1
        submit = Submit(request_id=request_id, **more)
        return self.feed(
            SubmitWished(handle=handle, ticket=self.tickets, submit=submit, payload=payload)
        )

    def result(self, request_id: str, *, number: int = 0, session: int = 1) -> list[Any]:
        """Let the worker deliver a result."""
        self.results = number or self.results + 1
        result = Result(session_number=session, request_id=request_id, number=self.results)
        return self.say(result, payload=b"out")

    def close(self, **more: Any) -> list[Any]:
        """Wish for the session's end."""
        return self.feed(CloseSession(handle=1, **more))

    def lose(self, connection: Connection | None = None) -> list[Any]:
        """Let a connection break."""
        return self.feed(Closed(connection or self.connection, "reset"))

    def resume(self, **more: Any) -> list[Any]:
        """Lose the connection, dial again, and let the worker resume the session."""
        self.dial(self.lose() + self.advance(1))
        return self.accept(**{"resumed": True, **more})


def of(commands: Sequence[Any], kind: type[T]) -> list[T]:
    """Return the commands of one type."""
    return [command for command in commands if type(command) is kind]


def sent(commands: Sequence[Any], kind: type[T]) -> list[T]:
    """Return the messages of one type that are sent."""
    return [send.message for send in of(commands, Send) if type(send.message) is kind]


def closed(commands: Sequence[Any]) -> list[Connection]:
    """Return the connections that are closed."""
    return [close.connection for close in of(commands, Close)]
