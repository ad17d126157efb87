"""Properties of the buffer of an utterance: any order, pieces that come twice or never."""

import struct
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman_workers.talk.sound import SoundBounds, SoundBuffer, UnknownSound, sound_file, wav_of

BOUNDS = SoundBounds(768 * 1024, 20.0)
HEADER_BYTES = 44
EVEN = st.binary(min_size=0, max_size=12).map(lambda piece: piece[: len(piece) // 2 * 2])
PIECES = st.lists(EVEN, min_size=1, max_size=12)


def samples(buffer: SoundBuffer) -> bytes:
    return buffer.as_file()[HEADER_BYTES:]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), pieces=PIECES)
def test_any_order_and_any_repetition_give_the_same_sound(
    data: st.DataObject, pieces: list[bytes]
) -> None:
    repeats = data.draw(st.lists(st.integers(0, len(pieces) - 1), max_size=8))
    order = data.draw(st.permutations([*range(len(pieces)), *repeats]))
    buffer = SoundBuffer("", BOUNDS)
    for at, seq in enumerate(order):
        buffer.add(seq, pieces[seq], is_final=seq == len(pieces) - 1)
        assert buffer.is_over == ({*range(len(pieces))} <= {*order[: at + 1]})
    assert buffer.is_over
    assert samples(buffer) == b"".join(pieces)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), pieces=PIECES)
def test_what_is_lost_is_left_out_and_keeps_the_utterance_open(
    data: st.DataObject, pieces: list[bytes]
) -> None:
    lost = data.draw(st.sets(st.integers(0, len(pieces) - 1), min_size=1))
    buffer = SoundBuffer("", BOUNDS)
    for seq, piece in enumerate(pieces):
        if seq not in lost:
            buffer.add(seq, piece, is_final=seq == len(pieces) - 1)
    assert not buffer.is_over
    assert samples(buffer) == b"".join(p for seq, p in enumerate(pieces) if seq not in lost)


@settings(max_examples=50, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 20), st.binary(max_size=40), st.booleans()), max_size=40
    )
)
def test_its_size_is_what_is_in_it_and_never_above_the_bound(
    arrivals: list[tuple[int, bytes, bool]],
) -> None:
    buffer = SoundBuffer("audio/pcm;rate=16000", SoundBounds(100, 20.0))
    for seq, piece, is_final in arrivals:
        buffer.add(seq, piece, is_final=is_final)
        assert 0 <= buffer.sound_bytes <= 100
        assert buffer.held_bytes >= buffer.sound_bytes
    assert len(samples(buffer)) <= buffer.sound_bytes


def test_a_gap_does_not_shift_the_samples_behind_it() -> None:
    buffer = SoundBuffer("", BOUNDS)
    buffer.add(0, b"abc", is_final=False)
    buffer.add(2, b"wxyz", is_final=False)
    assert samples(buffer) == b"abwxyz"


def test_pieces_may_be_cut_anywhere_as_long_as_none_is_missing() -> None:
    buffer = SoundBuffer("", BOUNDS)
    buffer.add(0, b"abc", is_final=False)
    buffer.add(1, b"d", is_final=True)
    assert samples(buffer) == b"abcd"


@pytest.mark.parametrize(("rate", "seconds"), [(8_000, 20.0), (16_000, 20.0), (48_000, 8.192)])
def test_an_utterance_ends_at_twenty_seconds_or_768_kib(rate: int, seconds: float) -> None:
    buffer = SoundBuffer(f"audio/pcm; rate={rate}", BOUNDS)
    tenth = bytes(rate // 10 * 2)
    count = 0
    while not buffer.is_over:
        buffer.add(count, tenth, is_final=False)
        count += 1
    assert buffer.sound_bytes == round(seconds * rate) * 2
    buffer.add(count, tenth, is_final=False)
    assert buffer.sound_bytes == round(seconds * rate) * 2


def test_a_wav_file_in_pieces_is_that_file_and_ends_after_its_own_twenty_seconds() -> None:
    whole = wav_of(bytes(8_000 * 2 * 30), 8_000)
    buffer = SoundBuffer("audio/wav", BOUNDS)
    count = 0
    while not buffer.is_over:
        buffer.add(count, whole[count * 10_000 : (count + 1) * 10_000], is_final=False)
        count += 1
    assert buffer.as_file() == whole[: HEADER_BYTES + 20 * 16_000]


@pytest.mark.parametrize("cuts", [(1, 2, 3), (10, 30), (22,), (34,), (35, 36)])
def test_a_wav_file_that_is_cut_within_its_head_is_known_all_the_same(cuts: Sequence[int]) -> None:
    whole = wav_of(bytes(8_000 * 2 * 30), 8_000)
    places = [0, *cuts, *range(10_000, len(whole), 10_000)]
    buffer = SoundBuffer("audio/wav", BOUNDS)
    pieces = [*enumerate(whole[a:b] for a, b in pairwise([*places, len(whole)]))]
    buffer.add(*pieces.pop(1), is_final=False)  # in any order
    while not buffer.is_over:
        buffer.add(*pieces.pop(0), is_final=False)
    assert buffer.as_file() == whole[: HEADER_BYTES + 20 * 16_000]


def test_a_wav_file_without_its_head_is_no_sound() -> None:
    buffer = SoundBuffer("audio/wav", BOUNDS)
    buffer.add(1, b"1234", is_final=False)
    assert buffer.as_file() == b""


def test_raw_sound_becomes_a_file_that_says_its_rate() -> None:
    head = struct.unpack("<4sI4s4sIHHIIHH4sI", wav_of(b"abcd", 48_000)[:HEADER_BYTES])
    assert head == (*(b"RIFF", 40, b"WAVE", b"fmt ", 16, 1, 1, 48_000, 96_000, 2, 16, b"data", 4),)
    assert sound_file(b"abcde", "audio/pcm") == wav_of(b"abcd", 16_000)
    assert sound_file(wav_of(b"ab", 8_000), "") == wav_of(b"ab", 8_000)


@pytest.mark.parametrize(
    "content_type",
    ["audio/ogg", "audio/pcm;rate=1", "audio/pcm;rate=x", "audio/pcm;channels=2", "text/plain"],
)
def test_sound_that_cannot_be_put_together_is_refused(content_type: str) -> None:
    with pytest.raises(UnknownSound):
        SoundBuffer(content_type, BOUNDS)
    with pytest.raises(UnknownSound):
        sound_file(b"abcd", content_type)
    with pytest.raises(UnknownSound):
        sound_file(b"abcd", "audio/wav")


def test_it_shows_nothing_of_the_sound_and_keeps_nothing_once_cleared() -> None:
    buffer = SoundBuffer("", BOUNDS)
    buffer.add(0, b"secretsecret", is_final=False)
    assert "secret" not in repr(buffer)
    buffer.clear()
    assert (buffer.held_bytes, buffer.as_file()) == (0, b"")
