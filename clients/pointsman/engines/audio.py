"""Sound as the engines need it: WAV files read, checked, resampled and written, in plain Python.

A sound is 16-bit samples of one channel at some rate.  What comes in may have any usual width,
rate and number of channels; recognition wants 16,000 samples a second.

Resampling: upwards, linear interpolation between neighbours; downwards, the mean over the span
that a new sample covers, from running sums, so that nothing folds back harshly.  Good enough for
speech, and linear in the number of samples.
"""

import array
import math
import struct
import sys
from itertools import accumulate, pairwise
from typing import NamedTuple

RECOGNITION_RATE = 16_000
RATE_MIN = 4_000
RATE_MAX = 192_000
CHANNELS_MAX = 8
SECONDS_MAX = 120

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FULL_SCALE = 32_767
_RAW_TYPES = ("audio/l16", "audio/pcm", "audio/x-raw")


class BadAudio(ValueError):
    """The bytes are not a sound that can be used; the message says why, for people."""


class Sound(NamedTuple):
    """Samples of one channel, signed 16 bits each, and how many there are in a second."""

    samples: "array.array[int]"
    rate: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate

    @classmethod
    def silence(cls) -> "Sound":
        return cls(array.array("h"), RECOGNITION_RATE)


class _Format(NamedTuple):
    encoding: int
    channels: int
    rate: int
    bits: int


def pcm_for_recognition(payload: bytes, content_type: str = "") -> bytes:
    """Return a WAV (or raw PCM, if its type says so) as 16 kHz mono PCM16, or raise BadAudio."""
    if payload[:4] == b"RIFF":
        sound = resample(read_wav(payload), RECOGNITION_RATE)
    elif content_type.lower().startswith(_RAW_TYPES):
        sound = Sound(samples_of(payload), RECOGNITION_RATE)
    else:
        raise BadAudio("not a WAV file: it does not begin with RIFF")
    if sound.duration_s > SECONDS_MAX:
        raise BadAudio(
            f"the sound lasts {sound.duration_s:.0f} s, at most {SECONDS_MAX} s are taken"
        )
    return _to_bytes(sound.samples)


def read_wav(payload: bytes) -> Sound:
    """Return the sound in a WAV file, its channels mixed into one, or raise BadAudio.

    Lengths larger than the file mean "until the end": programs that write into a pipe cannot know
    better.
    """
    if payload[:4] != b"RIFF" or payload[8:12] != b"WAVE":
        raise BadAudio("not a WAV file: it does not begin with RIFF and WAVE")
    form: _Format | None = None
    at = 12
    while at + 8 <= len(payload):
        name, size = payload[at : at + 4], int.from_bytes(payload[at + 4 : at + 8], "little")
        body = payload[at + 8 : at + 8 + size]
        if name == b"fmt ":
            form = _read_format(body)
        elif name == b"data":
            if form is None:
                raise BadAudio("the WAV file has data before its format")
            return Sound(_mono(body, form), form.rate)
        at += 8 + size + size % 2
    raise BadAudio("the WAV file has no data")


def write_wav(sound: Sound) -> bytes:
    """Return a sound as a WAV file."""
    data = _to_bytes(sound.samples)
    form = struct.pack("<HHIIHH", _PCM, 1, sound.rate, 2 * sound.rate, 2, 16)
    return b"".join(
        [
            struct.pack("<4sI4s4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", len(form)),
            form,
            struct.pack("<4sI", b"data", len(data)),
            data,
        ]
    )


def samples_of(pcm: bytes) -> "array.array[int]":
    """Return the samples of raw PCM16, little-endian; half a sample at the end is dropped."""
    return _from_bytes("h", pcm[: len(pcm) // 2 * 2])


def resample(sound: Sound, rate: int) -> Sound:
    """Return the same sound with another number of samples in a second."""
    old, source = sound.rate, sound.samples
    if old == rate or not source:
        return Sound(source, rate)
    count = max(1, len(source) * rate // old)
    if old < rate:
        return Sound(_interpolated(source, count, old, rate), rate)
    sums = [0, *accumulate(source)]
    edges = [min(index * old // rate, len(source)) for index in range(count + 1)]
    spans = pairwise(edges)
    return Sound(array.array("h", [(sums[b] - sums[a]) // (b - a) for a, b in spans]), rate)


def tone(frequency_hz: float = 440.0, duration_s: float = 1.0) -> bytes:
    """Return a WAV file of a soft tone: for where nothing can speak."""
    count = int(duration_s * RECOGNITION_RATE)
    step = 2 * math.pi * frequency_hz / RECOGNITION_RATE
    # Fades in and out over a tenth of its length: an abrupt edge would click.
    loudness = [min(1.0, 10 * i / count, 10 * (count - i) / count) for i in range(count)]
    samples = (int(0.3 * _FULL_SCALE * loudness[i] * math.sin(step * i)) for i in range(count))
    return write_wav(Sound(array.array("h", samples), RECOGNITION_RATE))


def _read_format(body: bytes) -> _Format:
    if len(body) < 16:
        raise BadAudio("the WAV file's format is cut short")
    encoding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if encoding == _EXTENSIBLE and len(body) >= 26:
        encoding = int.from_bytes(body[24:26], "little")
    form = _Format(encoding, channels, rate, bits)
    if (encoding, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)}:
        raise BadAudio(f"WAV encoding {encoding} with {bits} bits is not read; use 16-bit PCM")
    if not 1 <= channels <= CHANNELS_MAX:
        raise BadAudio(f"the WAV file has {channels} channels, 1 to {CHANNELS_MAX} are taken")
    if not RATE_MIN <= rate <= RATE_MAX:
        raise BadAudio(f"the WAV file has {rate} Hz, {RATE_MIN} to {RATE_MAX} Hz are taken")
    return form


def _mono(data: bytes, form: _Format) -> "array.array[int]":
    frame_size = form.channels * form.bits // 8
    frame_count = len(data) // frame_size
    if frame_count > SECONDS_MAX * form.rate:
        raise BadAudio(f"the sound lasts longer than {SECONDS_MAX} s")
    samples = _sixteen_bits(data[: frame_count * frame_size], form)
    if form.channels == 1:
        return samples
    channels = [samples[i :: form.channels] for i in range(form.channels)]
    return array.array("h", [sum(frame) // form.channels for frame in zip(*channels, strict=True)])


def _sixteen_bits(data: bytes, form: _Format) -> "array.array[int]":
    if form.encoding == _FLOAT:
        floats = _from_bytes("f", data)
        # A NaN compares false to everything, so it becomes the lower bound rather than an error.
        return array.array("h", [int(_FULL_SCALE * min(1.0, max(-1.0, x))) for x in floats])
    if form.bits == 8:
        return array.array("h", [(byte - 128) << 8 for byte in data])
    if form.bits == 16:
        return _from_bytes("h", data)
    # Wider samples end in their two most significant bytes, which are all that is kept.
    width = form.bits // 8
    kept = bytearray(2 * (len(data) // width))
    kept[0::2], kept[1::2] = data[width - 2 :: width], data[width - 1 :: width]
    return _from_bytes("h", bytes(kept))


def _interpolated(source: "array.array[int]", count: int, old: int, new: int) -> "array.array[int]":
    # One more neighbour at the end, so that the last samples need no case of their own.
    padded = [*source, source[-1]]
    made = array.array("h", bytes(2 * count))
    for index in range(count):
        whole, part = divmod(index * old, new)
        left = padded[whole]
        made[index] = left + (padded[whole + 1] - left) * part // new
    return made


def _from_bytes(kind: str, data: bytes) -> "array.array[int]":
    samples = array.array(kind)
    samples.frombytes(data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _to_bytes(samples: "array.array[int]") -> bytes:
    if sys.byteorder == "big":
        samples = array.array("h", samples)
        samples.byteswap()
    return samples.tobytes()
