"""N13, bounds: a length is judged before anything is allocated for it, wherever it is cut."""

import struct
import tracemalloc

import msgspec
import pytest

from pointsman_wire.framing import (
    FrameDecoder,
    FrameError,
    FrameTooLarge,
    encode_frame,
)
from pointsman_wire.limits import (
    FRAME_BYTES_MAX,
    HANDSHAKE_BYTES_MAX,
    HEADER_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
)
from pointsman_wire.session_messages import ClientHeartbeat, Partial, Submit

GOOD = encode_frame(ClientHeartbeat(number=1))
TOO_LARGE = {
    "one byte above the bound": (FRAME_BYTES_MAX - 4 + 1, 100),
    "half the range": (2**31, 8),
    "the whole range": (2**32 - 1, 8),
    "header and length at the end of the range": (2**32 - 1, 2**32 - 1),
    "length and header added overflow": (2**32 - 1, 2**32 - 5),
    "a payload above its bound": (4 + 10 + PAYLOAD_BYTES_MAX + 1, 10),
    "a header above its bound": (4 + HEADER_BYTES_MAX, HEADER_BYTES_MAX),
}
IMPOSSIBLE = {
    "length 0": (0, 0),
    "length 1": (1, 0),
    "length 3": (3, 0),
    "length 3 with a header": (3, 2**32 - 1),
    "header one longer than the frame": (14, 11),
    "header far longer than the frame": (14, 2**31),
}


def announced(length: int, header_bytes: int) -> bytes:
    return struct.pack("<II", length, header_bytes)


def feed_all(decoder: FrameDecoder, pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def judge(pieces: list[bytes], bound: int = FRAME_BYTES_MAX) -> int:
    """Feed the pieces, expect a FrameError, and return how much memory that took at its peak."""
    decoder = FrameDecoder(bound)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            feed_all(decoder, pieces)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_length_above_its_bound_is_refused_before_allocation(case: str) -> None:
    with pytest.raises(FrameTooLarge, match="at most"):
        list(FrameDecoder().feed(announced(*TOO_LARGE[case])))


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_length_that_cannot_be_is_refused(case: str) -> None:
    with pytest.raises(FrameError, match="cannot lie in a frame"):
        list(FrameDecoder().feed(announced(*IMPOSSIBLE[case])))


@pytest.mark.parametrize("case", [*TOO_LARGE, *IMPOSSIBLE])
def test_refusing_takes_no_memory_wherever_the_prefix_is_cut(case: str) -> None:
    prefix = announced(*{**TOO_LARGE, **IMPOSSIBLE}[case])
    for cut in range(len(prefix)):
        assert judge([prefix[:cut], prefix[cut:] + b"x" * 100]) < 64 * 1024


def test_before_a_peer_is_known_the_bound_is_that_of_the_handshake() -> None:
    fits = announced(HANDSHAKE_BYTES_MAX - 4, 10)
    decoder = FrameDecoder(HANDSHAKE_BYTES_MAX)
    assert list(decoder.feed(fits)) == []
    assert judge([announced(HANDSHAKE_BYTES_MAX - 3, 10)], HANDSHAKE_BYTES_MAX) < 16 * 1024


def test_the_bound_can_be_raised_between_two_frames_of_one_read() -> None:
    large = encode_frame(Submit(request_id="r"), b"x" * (HANDSHAKE_BYTES_MAX + 1))
    decoder = FrameDecoder(HANDSHAKE_BYTES_MAX)
    frames = decoder.feed(GOOD + large)
    next(frames)
    decoder.frame_bytes_max = FRAME_BYTES_MAX
    assert [len(payload) for _, payload in frames] == [HANDSHAKE_BYTES_MAX + 1]


def test_good_frames_before_a_bad_one_are_delivered() -> None:
    frames = FrameDecoder().feed(GOOD * 3 + announced(2**31, 8))
    assert [next(frames) for _ in range(3)]
    with pytest.raises(FrameTooLarge):
        next(frames)


def test_the_largest_frame_that_is_allowed_passes() -> None:
    room = HEADER_BYTES_MAX - 8 - len(msgspec.msgpack.encode(Submit(trace_id="x" * 70_000)))
    frame = encode_frame(Submit(trace_id="x" * (70_000 + room)), b"x" * PAYLOAD_BYTES_MAX)
    assert len(frame) == FRAME_BYTES_MAX
    for size in (len(frame), 100_000):
        pieces = [frame[at : at + size] for at in range(0, len(frame), size)]
        [(header, payload)] = feed_all(FrameDecoder(), pieces)
        assert (len(header), len(payload)) == (HEADER_BYTES_MAX - 8, PAYLOAD_BYTES_MAX)


def test_a_frame_in_many_pieces_is_held_only_about_twice() -> None:
    frame = encode_frame(Partial(), b"x" * PAYLOAD_BYTES_MAX)
    pieces = [frame[at : at + 4096] for at in range(0, len(frame), 4096)]
    decoder = FrameDecoder()
    tracemalloc.start()
    try:
        found = feed_all(decoder, pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(payload) for _, payload in found] == [PAYLOAD_BYTES_MAX]
    assert peak < 2.2 * PAYLOAD_BYTES_MAX


def test_a_sender_refuses_what_no_receiver_would_take() -> None:
    with pytest.raises(FrameTooLarge, match=f"payload of {PAYLOAD_BYTES_MAX + 1} bytes"):
        encode_frame(Submit(), b"x" * (PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(FrameTooLarge, match="header of"):
        encode_frame(Submit(trace_id="x" * HEADER_BYTES_MAX))
