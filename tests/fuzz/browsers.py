"""What reads bytes from browsers: JSON, binary frames, and WebSockets once they are upgraded."""

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import msgspec
from web.web_harness import BINARY, CONTINUED, PING, REQUEST, TEXT, large_frame
from wire_samples import UNIONS, samples

from pointsman_wire.framing import FrameError, Unreadable
from pointsman_wire.link import Accepted, Connection, Frame, Received
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import ToWorker
from pointsman_wire.sockets.bounds import ConnectionLimits
from pointsman_wire.sockets.reading import MessageReader
from pointsman_wire.sockets.web.json_messages import encode_web_message, split_binary
from pointsman_wire.sockets.web.origins import WebSettings
from pointsman_wire.sockets.web.web_connection import WebConnection

Feed = Callable[[bytes], None]
LIMITS = ConnectionLimits(frame_bytes_max=64 * 1024, frames_a_turn_max=16)
SETTINGS = WebSettings(MessageReader(ToWorker, msgspec.json))
OPENING = Accepted(Connection(1), Preamble(Role.SESSION, None, is_web=True), "192.0.2.1")
TURNS_MAX = 20_000
_LENGTH = struct.Struct("<I")
BOMBS = (
    b"[" * 4_000,
    b'{"type":"submit","meta":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    b'{"type":"submit","meta":{"a":' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"type":"client_heartbeat","number":NaN}',
    b'{"type":"client_heartbeat","number":-Infinity}',
    b'{"type":"client_heartbeat","number":1e999}',
    b'{"type":"submit","meta":{"n":' + b"9" * 4_000 + b"}}",
    b'{"type":"submit","type":"client_heartbeat","number":1,"number":2}',
    b'{"type":"submit","request_id":"\\ud800"}',
    b'{"type":"submit","meta":{"' + b'a":1,"' * 600 + b'z":1}}',
    b"\xef\xbb\xbf{}",
)


def seeds() -> list[bytes]:
    """JSON of every message, with and without payload, frames of a browser, and bombs."""
    texts = [encode_web_message(message, b"")[1] for message in samples().values()]
    binaries = [_LENGTH.pack(len(text)) + text + b"\x00payload" for text in texts[:20]]
    frames = [large_frame(TEXT, text) for text in texts[:20]]
    halves = [
        large_frame(TEXT, text[:9], is_last=False)
        + large_frame(PING, b"!")
        + large_frame(CONTINUED, text[9:])
        for text in texts[:5]
    ]
    return [*texts, *binaries, *frames, *halves, b"".join(frames), *BOMBS]


class Line(asyncio.Transport):
    """Takes everything at once, and remembers how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False

    def write(self, data: Any) -> None:
        assert not self.is_over

    def write_eof(self) -> None:
        self.is_over = True

    def close(self) -> None:
        self.is_over = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has none."""

    def pause_reading(self) -> None:
        """Whoever feeds it looks at the host."""

    resume_reading = pause_reading


class Host:
    """Notes what connections tell."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.resting: list[WebConnection] = []

    def post(self, event: Any) -> None:
        self.told.append(event)

    def rest(self, connection: Any) -> None:
        self.resting.append(connection)

    def watch(self, connection: Any) -> None:
        """Its deadlines do not come in here."""

    known = closed = gone = watch


def converse(pieces: list[bytes]) -> list[Frame]:
    """What a connection tells that gets these bytes once it was upgraded."""
    host = Host()
    connection = WebConnection(host, OPENING, LIMITS, SETTINGS)
    connection.connection_made(Line())
    for piece in (REQUEST, *pieces):
        connection.data_received(piece)
        for _ in range(TURNS_MAX):
            if not host.resting:
                break
            assert host.resting == [connection], "once at most in a turn"
            host.resting.clear()
            connection.read_on()
        assert not host.resting, "it comes to an end"
    connection.connection_lost(None)
    received = [event for event in host.told if type(event) is Received]
    assert all(len(event.frames) <= LIMITS.frames_a_turn_max for event in received)
    kinds = [type(event).__name__ for event in host.told]
    assert kinds == ["Accepted", *["Received"] * len(received), "Closed"]
    return [frame for event in received for frame in event.frames]


async def _told_of(data: bytes) -> None:
    third = len(data) // 3
    split = converse([data[:1], data[1:third], data[third:]])
    assert repr(split) == repr(converse([data])), "however it is cut"
    for opcode in (TEXT, BINARY):
        for message, _ in converse([large_frame(opcode, data)]):
            assert isinstance(message, Message | Unreadable)


def browsers() -> Feed:
    """Nothing raises, whatever is text, binary or a stream; what is read can be said again."""
    readers = [MessageReader(union, msgspec.json) for union in UNIONS.values()]
    plain = msgspec.json.Decoder()

    def feed(data: bytes) -> None:
        for reader in readers:
            message = reader.read(data)
            if isinstance(message, Message):
                is_text, again = encode_web_message(message, b"")
                assert is_text
                plain.decode(again)
                assert repr(reader.read(again)) == repr(message)
        try:
            header, payload = split_binary(data)
            assert _LENGTH.size + len(header) + len(payload) == len(data)
        except FrameError:
            pass
        asyncio.run(_told_of(data))

    return feed
