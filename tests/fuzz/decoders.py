"""What reads bytes from sockets and decides nothing: framing, messages, preambles.

A target is fed any bytes.  What it may answer is checked in it; whatever else it raises is a bug.
"""

from collections.abc import Callable, Iterator
from typing import Any, get_args

from wire_samples import UNIONS, samples

from pointsman_wire.framing import FrameDecoder, FrameError, Unreadable, encode_frame
from pointsman_wire.messages import Message
from pointsman_wire.preamble import (
    PREAMBLE_BYTES,
    PreambleError,
    Role,
    decode_preamble,
    encode_preamble,
)
from pointsman_wire.sockets.reading import MessageReader
from pointsman_workers.shell.greetings import Greeting, read_greeting

Feed = Callable[[bytes], None]
PAYLOAD = b"\x00payload\xff"
BOUND = 64 * 1024


def frames_of(union: Any) -> list[bytes]:
    """One frame of each message of a union, and all of them in a row."""
    members = get_args(union) or (union,)
    made = [encode_frame(m, PAYLOAD) for m in samples().values() if type(m) in members]
    return [*made, b"".join(made)]


def all_frames() -> list[bytes]:
    return [frame for union in UNIONS.values() for frame in frames_of(union)]


def cut(data: bytes, bound: int = BOUND) -> Iterator[tuple[bytes, bytes]]:
    """The frames that data begins with; what is broken ends them."""
    try:
        yield from FrameDecoder(bound).feed(data)
    except FrameError:
        return


# ---- framing and messages


def framing() -> Feed:
    """However bytes are split, the same frames come, and their bytes are those that were fed."""

    def feed(data: bytes) -> None:
        whole = [*cut(data)]
        half = len(data) // 2
        decoder = FrameDecoder(BOUND)
        split: list[tuple[bytes, bytes]] = []
        for piece in (data[:1], data[1:half], data[half:]) if half else (data,):
            try:
                split += decoder.feed(piece)
            except FrameError:
                break
            assert decoder.missing <= BOUND
        assert split == whole
        taken = sum(8 + len(header) + len(payload) for header, payload in whole)
        assert taken <= len(data)

    return feed


def messages() -> Feed:
    """What is read as a message can be written, and reads the same again."""
    readers = [MessageReader(union) for union in UNIONS.values()]

    def feed(data: bytes) -> None:
        for header, payload in cut(data):
            for reader in readers:
                message = reader.read(header)
                assert isinstance(message, Message | Unreadable)
                if isinstance(message, Message):
                    (again,) = cut(encode_frame(message, payload), 1 << 22)
                    # Not by ==: a number that is none is not equal to itself.
                    assert repr(reader.read(again[0])) == repr(message)

    return feed


def preambles() -> list[bytes]:
    made = [encode_preamble(role, key) for role in Role for key in (None, 0, 7)]
    return [*made, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"]


def beginnings() -> Feed:
    """First bytes are judged the same whether they come at once or one by one."""

    def feed(data: bytes) -> None:
        data = data[:PREAMBLE_BYTES]
        judged = [read_greeting(data[:n]) for n in range(1, len(data) + 1)]
        decided = [g for g in judged if g is not Greeting.INCOMPLETE]
        assert len(set(decided)) <= 1, "once decided, it stays"
        if decided and decided[0] is Greeting.PREAMBLE:
            try:
                preamble = decode_preamble(data)
            except PreambleError:
                return
            assert decode_preamble(encode_preamble(preamble.role, preamble.key)) == preamble

    return feed
