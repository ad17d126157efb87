"""One connection: two ends, and what its frames look like on the way."""

from typing import TYPE_CHECKING, Any

from pointsman_sim.world.dice import Dice
from pointsman_wire import control_messages, lane_messages, session_messages
from pointsman_wire.framing import (
    FrameDecoder,
    HeaderDecoder,
    MessageError,
    Unreadable,
    encode_frame,
)
from pointsman_wire.link import Connection, Frame
from pointsman_wire.preamble import Preamble, Role

if TYPE_CHECKING:
    from pointsman_sim.world.process import Process

NEVER_NS = 1 << 62
FIN: list[Frame] = []  # told apart by identity: the end of what is sent
Piece = list[Frame] | bytes

_SESSIONS = (
    HeaderDecoder[Any](session_messages.ToClient),
    HeaderDecoder[Any](session_messages.ToWorker),
)
# By role: what the dialler reads, what the server reads.
READERS: dict[Role, tuple[HeaderDecoder[Any], HeaderDecoder[Any]]] = {
    Role.CONTROL: (
        HeaderDecoder[Any](control_messages.ToNode),
        HeaderDecoder[Any](control_messages.ToManager),
    ),
    Role.LANE: (
        HeaderDecoder[Any](lane_messages.LaneToNode),
        HeaderDecoder[Any](lane_messages.LaneToWorker),
    ),
    Role.SESSION: _SESSIONS,
    Role.TRUNK: _SESSIONS,
}


class End:
    """One end; `process` is None until there is one that has it."""

    __slots__ = (
        "arrives_ns", "cut_ns", "decoder", "early", "is_deaf", "is_over", "number", "process",
    )  # fmt: skip

    def __init__(self) -> None:
        self.process: Process | None = None
        self.number = Connection(0)
        self.is_over = False
        # What is sent to it is swallowed.
        self.is_deaf = False
        # When the last piece sent to it arrives, and after when pieces are lost.
        self.arrives_ns = 0
        self.cut_ns = NEVER_NS
        # Pieces that came before there was a process to have them.
        self.early: list[Piece] = []
        self.decoder = FrameDecoder()


class Wire:
    """End 0 has dialled, end 1 is the server's."""

    __slots__ = (
        "ends", "held", "is_encoded", "latency_ns", "number", "preamble", "unread", "unread_mark",
    )  # fmt: skip

    def __init__(
        self, number: int, preamble: Preamble, latency_ns: int, *, is_encoded: bool
    ) -> None:
        self.number = number
        self.preamble = preamble
        self.latency_ns = latency_ns
        self.is_encoded = is_encoded
        self.ends = (End(), End())
        # While nothing may arrive: what has come so far, as (side, piece).
        self.held: list[tuple[int, Piece]] | None = None
        # While the dialler does not read: what waits for it, and at how much the server is told.
        self.unread: list[Piece] | None = None
        self.unread_mark = 0

    def encode(self, frames: list[Frame], dice: Dice) -> list[bytes]:
        """Return the frames as bytes, whole or cut somewhere."""
        data = b"".join(
            encode_frame(message, payload)
            for message, payload in frames
            if not isinstance(message, Unreadable)
        )
        if dice.chance(0.5):
            return [data]
        cut = dice.between(0, len(data))
        return [part for part in (data[:cut], data[cut:]) if part]

    def read(self, side: int, piece: Piece) -> list[Frame]:
        """Return the frames that are complete with this piece."""
        if not isinstance(piece, bytes):
            return piece
        decode = READERS[self.preamble.role][side].decode
        frames: list[Frame] = []
        for header, payload in self.ends[side].decoder.feed(piece):
            try:
                frames.append((decode(header), payload))
            except MessageError as error:
                frames.append((error.unread, payload))
        return frames
