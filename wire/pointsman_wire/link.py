"""What a core knows of connections: facts that happened to them, wishes for them.

Manager, worker, node and client cores are all told of connections by small numbers that their
shell hands out and never uses twice.  Real sockets and the simulator drive the same cores.
"""

from collections.abc import Sequence
from typing import Any, NewType, Protocol

import msgspec

from pointsman_wire.framing import Unreadable
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble

Connection = NewType("Connection", int)
Frame = tuple[Message | Unreadable, bytes]


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A peer dialled in; its preamble was read.  `peer` is its address, for logs and limits."""

    connection: Connection
    preamble: Preamble
    peer: str = ""


class Dialled(msgspec.Struct, frozen=True, gc=False):
    """A connection that this side asked for with Dial stands; `purpose` is the Dial's."""

    connection: Connection
    purpose: int


class DialFailed(msgspec.Struct, frozen=True, gc=False):
    """A Dial came to nothing."""

    purpose: int
    reason: str


class Received(msgspec.Struct, frozen=True, gc=False):
    """All complete frames of one read, in order."""

    connection: Connection
    frames: list[Frame]


class Waited(msgspec.Struct, frozen=True, gc=False):
    """What came at this instant and could wait for the turn that something else brought."""

    came_at_ns: int
    event: Any


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The connection is gone, whoever ended it; told once, also after Close."""

    connection: Connection
    reason: str = ""


class Congested(msgspec.Struct, frozen=True, gc=False):
    """The peer does not read, and a mark of bytes or frames waits for it; told of clients only."""

    connection: Connection


class Relieved(msgspec.Struct, frozen=True, gc=False):
    """All that waited on a Congested connection has left."""

    connection: Connection


class Send(msgspec.Struct, frozen=True, gc=False):
    """Put one frame on the connection; sends of one step leave in one write."""

    connection: Connection
    message: Message
    payload: bytes = b""


class Close(msgspec.Struct, frozen=True, gc=False):
    """Flush what was sent and end the connection."""

    connection: Connection
    reason: str = ""


class Dial(msgspec.Struct, frozen=True, gc=False):
    """Open a connection to the server with this preamble; answered by Dialled or DialFailed.

    `address` is host:port, empty for the server that the shell was started with.
    """

    purpose: int
    preamble: Preamble
    address: str = ""


class LoopWasLate(msgspec.Struct, frozen=True, gc=False):
    """This process itself did not run for so long: every deadline moves by late_ns.

    Told before anything else of the turn; the sockets were drained once since.
    """

    late_ns: int


class Core(Protocol):
    """What decides.  `events` and the returned commands are those above and of its own."""

    def step(self, now_ns: int, events: Any, /) -> Sequence[Any]:
        """Absorb what happened, in order, and return what shall be done, in order."""

    def next_deadline_ns(self) -> int | None:
        """When to step even if nothing happens; on the clock of `now_ns`."""
