"""What a message costs as JSON in a WebSocket, beside msgpack in a frame of the binary protocol.

Both as a worker does it, by its own code: the layer of frames and the codec, without sockets.
Rounds of both alternate, and the least of the rounds is told: others who use the processor only
ever add to it.
"""

from collections.abc import Callable
from time import thread_time_ns

import msgspec
from _shared.report import Row
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import Partial, Result, Submit
from pointsman_wire.sockets.reading import MessageReader
from pointsman_wire.sockets.web.json_messages import encode_web_message, split_binary

CALLS = 500
ROUNDS = 40
QUICK_ROUNDS = 10
ENGLISH = b"Where is the platform from which the last train to the coast leaves tonight?"
SPANISH = "¿Dónde está el andén del que sale esta noche el último tren a la costa?".encode()
UNION = Submit | Result | Partial
SAMPLES: tuple[tuple[str, Message, bytes], ...] = (
    (
        "submit",
        Submit(request_id="r-1042", services=["nmt"], src_lang="en", tgt_lang="es"),
        ENGLISH,
    ),
    (
        "partial",
        Partial(
            request_id="u-1042",
            job_id="1-000042-00001042",
            attempt=1,
            seq=3,
            content_type="text/plain",
            meta={"stage": "asr_partial", "src_lang": "en"},
        ),
        ENGLISH[:40],
    ),
    (
        "result",
        Result(
            request_id="r-1042",
            job_id="1-000042-00001042",
            number=1_042,
            node_id="gpu-17",
            attempt=1,
            placement_us=41.5,
            queued_ms=0.8,
            content_type="text/plain",
            meta={"heard": ENGLISH.decode(), "src_lang": "en"},
        ),
        SPANISH,
    ),
)


class Binary:
    """The binary protocol: msgpack behind a prefix."""

    name = "msgpack"

    def __init__(self) -> None:
        self._decode = HeaderDecoder[Message](UNION).decode
        self._feed = FrameDecoder(FRAME_BYTES_MAX).feed

    def from_client(self, message: Message, payload: bytes) -> bytes:
        """Return what a client sends."""
        return encode_frame(message, payload)

    def write(self, message: Message, payload: bytes) -> bytes:
        """Return what is written to a client."""
        return encode_frame(message, payload)

    def read(self, data: bytes) -> tuple[Message, bytes]:
        """Return the message that came."""
        [(header, payload)] = self._feed(data)
        return self._decode(header), payload


class Web:
    """A WebSocket: JSON, with the payload behind it, in a masked frame when a client sends it."""

    name = "JSON"

    def __init__(self) -> None:
        self._protocol = ServerProtocol(state=State.OPEN, max_size=FRAME_BYTES_MAX)
        self._read = MessageReader(UNION, msgspec.json).read

    def from_client(self, message: Message, payload: bytes) -> bytes:
        """Return what a browser sends."""
        _, data = encode_web_message(message, payload)
        return Frame(Opcode.BINARY, data).serialize(mask=True)

    def write(self, message: Message, payload: bytes) -> bytes:
        """Return what is written to a browser."""
        _, data = encode_web_message(message, payload)
        self._protocol.send_binary(data)
        return b"".join(self._protocol.data_to_send())

    def read(self, data: bytes) -> tuple[Message, bytes]:
        """Return the message that came."""
        self._protocol.receive_data(data)
        [frame] = self._protocol.events_received()
        assert isinstance(frame, Frame)
        header, payload = split_binary(bytes(frame.data))
        message = self._read(header)
        assert isinstance(message, Message)
        return message, payload


def encoding_rows(*, is_quick: bool) -> list[Row]:
    """Measure each message in both encodings."""
    rows: list[Row] = []
    for name, message, payload in SAMPLES:
        both: tuple[Binary | Web, ...] = (Binary(), Web())
        acts: list[Callable[[], object]] = []
        sizes = []
        for way in both:
            data = way.from_client(message, payload)
            assert way.read(data) == (message, payload), name
            sizes.append((len(data), len(way.write(message, payload))))
            acts += _acts(way, message, payload, data)
        costs = _least_us(acts, QUICK_ROUNDS if is_quick else ROUNDS)
        for at, way in enumerate(both):
            rows.append(
                {
                    "system": "pointsman",
                    "kind": "encoding",
                    "message": name,
                    "encoding": way.name,
                    "read_bytes": sizes[at][0],
                    "written_bytes": sizes[at][1],
                    "read_us": costs[2 * at],
                    "write_us": costs[2 * at + 1],
                    "read_times_msgpack": costs[2 * at] / costs[0],
                    "write_times_msgpack": costs[2 * at + 1] / costs[1],
                }
            )
    return rows


def _acts(
    way: Binary | Web, message: Message, payload: bytes, data: bytes
) -> list[Callable[[], object]]:
    return [lambda: way.read(data), lambda: way.write(message, payload)]


def _least_us(acts: list[Callable[[], object]], rounds: int) -> list[float]:
    least_ns = [1 << 62] * len(acts)
    for _ in range(rounds):
        for at, act in enumerate(acts):
            began_ns = thread_time_ns()
            for _ in range(CALLS):
                act()
            least_ns[at] = min(least_ns[at], thread_time_ns() - began_ns)
    return [each / CALLS / 1e3 for each in least_ns]
