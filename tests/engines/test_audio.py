"""Sounds are read, checked, resampled and written by hand: every usual form, and bad ones."""

import array
import math
import random
import struct
import wave
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.engines.audio import (
    RECOGNITION_RATE,
    SECONDS_MAX,
    BadAudio,
    Sound,
    pcm_for_recognition,
    read_wav,
    resample,
    tone,
    write_wav,
)

WAVE_16_BITS = [0, 1_000, -1_000, 32_767, -32_768, 12_345]


def wav(
    data: bytes, *, bits: int = 16, channels: int = 1, rate: int = 8_000, kind: int = 1
) -> bytes:
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * width, width, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sixteen(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def sine(frequency_hz: float, rate: int, duration_s: float = 0.5) -> Sound:
    steps = (2 * math.pi * frequency_hz * i / rate for i in range(int(rate * duration_s)))
    return Sound(array.array("h", [int(20_000 * math.sin(x)) for x in steps]), rate)


@given(st.lists(st.integers(-32_768, 32_767)), st.sampled_from([8_000, 16_000, 44_100]))
def test_a_written_sound_reads_back_here_and_with_the_standard_library(
    samples: list[int], rate: int
) -> None:
    sound = Sound(array.array("h", samples), rate)
    written = write_wav(sound)
    assert read_wav(written) == sound
    with wave.open(BytesIO(written)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, rate)
        assert file.readframes(len(samples)) == sixteen(*samples)


@pytest.mark.parametrize(
    ("bits", "kind", "data"),
    [
        (16, 1, sixteen(*WAVE_16_BITS)),
        (24, 1, b"".join(b"\x7f" + sixteen(x) for x in WAVE_16_BITS)),
        (32, 1, b"".join(b"\x7f\x01" + sixteen(x) for x in WAVE_16_BITS)),
    ],
)
def test_wider_samples_keep_their_most_significant_bits(bits: int, kind: int, data: bytes) -> None:
    assert read_wav(wav(data, bits=bits, kind=kind)).samples.tolist() == WAVE_16_BITS


def test_eight_bits_are_unsigned_and_floats_are_clamped() -> None:
    assert read_wav(wav(b"\x00\x80\xff", bits=8)).samples.tolist() == [-32_768, 0, 32_512]
    floats = struct.pack("<4f", 0.0, 2.0, -1.0, math.nan)
    assert read_wav(wav(floats, bits=32, kind=3)).samples.tolist()[:3] == [0, 32_767, -32_767]


def test_channels_are_mixed_into_one() -> None:
    stereo = sixteen(100, 300, -100, -300, 32_767, 32_767)
    assert read_wav(wav(stereo, channels=2)).samples.tolist() == [200, -200, 32_767]


def test_a_pipes_endless_length_means_until_the_end() -> None:
    endless = bytearray(wav(sixteen(1, 2, 3)))
    endless[4:8] = endless[40:44] = struct.pack("<I", 0x7FFFF000)
    assert read_wav(bytes(endless)).samples.tolist() == [1, 2, 3]


def test_chunks_that_nobody_knows_are_passed_over() -> None:
    plain = wav(sixteen(1, 2, 3))
    odd_chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert read_wav(plain[:12] + odd_chunk + plain[12:]).samples.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "RIFF"),
        (b"ID3\x04 surely music", "RIFF"),
        (b"RIFF\x00\x00\x00\x00AVI ", "WAVE"),
        (wav(b"")[:36], "no data"),
        (wav(b"")[:24], "cut short"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "before its format"),
        (wav(b"", bits=12), "12 bits"),
        (wav(b"", kind=2), "encoding 2"),
        (wav(b"", channels=0), "0 channels"),
        (wav(b"", channels=100), "100 channels"),
        (wav(b"", rate=0), "0 Hz"),
        (wav(b"", rate=10**9), "1000000000 Hz"),
        (wav(bytes(2 * 4_000 * (SECONDS_MAX + 1)), rate=4_000), "longer than"),
    ],
)
def test_a_bad_sound_is_refused_in_words(payload: bytes, words: str) -> None:
    with pytest.raises(BadAudio, match=words):
        pcm_for_recognition(payload, "audio/wav")


def test_no_garbage_gets_past_as_anything_but_a_bad_sound() -> None:
    good = wav(sixteen(*WAVE_16_BITS), rate=RECOGNITION_RATE)
    draw = random.Random(7)
    refused = 0
    for _ in range(2_000):
        garbled = bytearray(good[: draw.randrange(len(good) + 1)])
        for at in draw.sample(range(len(garbled)), min(3, len(garbled))):
            garbled[at] = draw.randrange(256)
        try:
            pcm_for_recognition(bytes(garbled))
        except BadAudio:
            refused += 1
    assert 0 < refused < 2_000


def test_raw_samples_pass_only_when_their_type_says_so() -> None:
    raw = sixteen(1, 2, 3) + b"\x07"
    assert pcm_for_recognition(raw, "audio/L16; rate=16000") == sixteen(1, 2, 3)
    with pytest.raises(BadAudio):
        pcm_for_recognition(raw, "application/octet-stream")


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_duration_pitch_and_loudness(rate: int) -> None:
    made = resample(sine(300, rate), RECOGNITION_RATE)
    assert made.rate == RECOGNITION_RATE
    assert made.duration_s == pytest.approx(0.5, abs=0.001)
    crossings = sum(
        (a < 0) != (b < 0) for a, b in zip(made.samples, made.samples[1:], strict=False)
    )
    assert crossings == pytest.approx(2 * 300 * 0.5, abs=2)
    assert max(made.samples) == pytest.approx(20_000, rel=0.05)


@given(st.lists(st.integers(-32_768, 32_767), max_size=50), st.integers(4_000, 192_000))
def test_resampling_never_leaves_the_range_of_what_it_was_given(
    samples: list[int], rate: int
) -> None:
    made = resample(Sound(array.array("h", samples), rate), RECOGNITION_RATE).samples
    assert bool(made) == bool(samples)
    assert not made or min(samples) <= min(made) <= max(made) <= max(samples)


def test_the_tone_is_a_sound_that_recognition_takes() -> None:
    pcm = pcm_for_recognition(tone(duration_s=0.25))
    assert len(pcm) == 2 * RECOGNITION_RATE // 4
    assert len(set(pcm)) > 100
