"""N4: a frame is the same frame wherever the network cuts the stream, or glues it."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_samples import message_types, samples, union_of

from pointsman_wire.framing import PREFIX_BYTES, FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.messages import Message

PAYLOADS = (b"", b"p", bytes(range(256)))


def decode(pieces: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    decoder = FrameDecoder()
    found = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert not decoder.is_mid_frame
    return found


def raw_frame(header: bytes, payload: bytes) -> bytes:
    words = (4 + len(header) + len(payload), len(header))
    return b"".join(word.to_bytes(4, "little") for word in words) + header + payload


@pytest.mark.parametrize("name", sorted(message_types()))
@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
def test_a_frame_cut_at_any_offset_is_whole_again(name: str, payload: bytes) -> None:
    message = samples()[name]
    frame = encode_frame(message, payload)
    decoder: HeaderDecoder[Message] = HeaderDecoder(union_of(message))
    for cut in range(len(frame) + 1):
        [(header, body)] = decode([frame[:cut], frame[cut:]])
        assert (decoder.decode(header), body) == (message, payload), cut


@pytest.mark.parametrize("name", sorted(message_types()))
def test_a_frame_that_comes_byte_by_byte_is_whole_again(name: str) -> None:
    frame = encode_frame(samples()[name], b"body")
    decoder = FrameDecoder()
    for at in range(len(frame) - 1):
        assert list(decoder.feed(frame[at : at + 1])) == []
        assert decoder.is_mid_frame
    assert len(list(decoder.feed(frame[-1:]))) == 1
    assert not decoder.is_mid_frame


def test_frames_of_every_kind_in_one_read_or_cut_anywhere_come_out_in_order() -> None:
    frames = [encode_frame(message, name.encode()) for name, message in samples().items()]
    stream = b"".join(frames)
    whole = decode([stream])
    assert [payload.decode() for _, payload in whole] == list(samples())
    for cut in range(len(stream) + 1):
        assert decode([stream[:cut], stream[cut:]]) == whole, cut


@given(
    frames=st.lists(st.tuples(st.binary(max_size=64), st.binary(max_size=300)), max_size=12),
    cuts=st.lists(st.integers(min_value=0), max_size=20),
)
def test_any_frames_cut_anywhere_are_the_same_frames(
    frames: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(raw_frame(*frame) for frame in frames)
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert decode(pieces) == frames


def test_a_frame_that_ends_inside_a_read_leaves_the_rest_to_the_next() -> None:
    large = raw_frame(b"large", b"x" * 200_000)
    small = raw_frame(b"small", b"y")
    stream = large + small * 3
    for size in (1, 7, 1460, 65_536, 199_999):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [header for header, _ in decode(pieces)] == [b"large", b"small", b"small", b"small"]


def test_what_comes_out_is_bytes_and_keeps_nothing_else_alive() -> None:
    frame = raw_frame(b"header", b"payload")
    for pieces in ([frame], [frame[:PREFIX_BYTES], frame[PREFIX_BYTES:]], [frame[:3], frame[3:]]):
        [(header, payload)] = decode(pieces)
        assert type(header) is bytes
        assert type(payload) is bytes
