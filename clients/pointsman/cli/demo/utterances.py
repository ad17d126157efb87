"""What is said in the demo: sentences spoken on the spot, files, or a sound of our own making."""

import re
from pathlib import Path
from typing import NamedTuple

from pointsman.cli.endings import USAGE, Trouble
from pointsman.engines import audio, synthesis
from pointsman.engines.programs import ProgramFailed, ProgramMissing
from pointsman_wire.limits import PAYLOAD_BYTES_MAX

SENTENCES = ("hello good morning", "thank you very much", "where is the train station")


class Utterance(NamedTuple):
    """A sound, and what it says if that is known."""

    name: str
    wav: bytes
    words: str = ""


class Input(NamedTuple):
    """All that will be said, and where it comes from, in words."""

    utterances: list[Utterance]
    origin: str


async def gather(files: list[Path]) -> Input:
    """Return the files' sounds; without files sentences, or where nothing can speak, a tone.

    Raises Trouble for a file that cannot be used.
    """
    if files:
        return Input([from_file(path) for path in files], "the files that were named")
    try:
        spoken = [
            Utterance(slug(sentence), await synthesis.speak_english(sentence), sentence)
            for sentence in SENTENCES
        ]
    except (ProgramMissing, ProgramFailed) as error:
        tone = Utterance("tone", audio.tone())
        return Input([tone], f"a tone of our own making, for {error}")
    return Input(spoken, "spoken on the spot")


def from_file(path: Path) -> Utterance:
    """Return the sound in a WAV file, made smaller when a job could not hold it."""
    try:
        payload = path.read_bytes()
        sound = audio.read_wav(payload)
    except OSError as error:
        raise Trouble(f"cannot read {path}: {error.strerror}", code=USAGE) from None
    except audio.BadAudio as error:
        raise Trouble(f"{path}: {error}", code=USAGE) from None
    if len(payload) > PAYLOAD_BYTES_MAX:
        payload = audio.write_wav(audio.resample(sound, audio.RECOGNITION_RATE))
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Trouble(f"{path} lasts {sound.duration_s:.0f} s, which is too long", code=USAGE)
    return Utterance(slug(path.stem), payload)


def slug(words: str) -> str:
    """Return words as a file name of modest length."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40] or "sound"
