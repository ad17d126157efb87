"""Synthesis: text to speech with espeak-ng, and with flite for clear English."""

import subprocess
from functools import cache

from pointsman.engines.audio import RECOGNITION_RATE, Sound, read_wav, resample, write_wav
from pointsman.engines.programs import ProgramMissing, is_installed, run_program

LIST_TIMEOUT_S = 10.0
FLITE_VOICE = "slt"  # of flite's voices the one that PocketSphinx understands best


async def synthesise(text: str, *, language: str) -> bytes:
    """Return the text spoken, as a WAV file.  Raises ProgramMissing or ProgramFailed."""
    command = ["espeak-ng", "-v", language, "-b", "1", "--stdin", "--stdout"]
    # espeak-ng writes nothing at all for nothing to say, and into a pipe a header without lengths.
    output = await run_program(*command, stdin=text.encode()) if text.strip() else b""
    return write_wav(read_wav(output) if output else Sound.silence())


async def speak_english(text: str) -> bytes:
    """Return an English text spoken, as 16 kHz mono WAV: input for recognition.

    By flite, or by espeak-ng where that is missing (rougher; recognition mishears it more often).
    """
    if is_installed("flite"):
        spoken = await run_program("flite", "-voice", FLITE_VOICE, "-t", text, "-o", "/dev/stdout")
    elif is_installed("espeak-ng"):
        spoken = await synthesise(text, language="en-us")
    else:
        raise ProgramMissing("nothing here can speak: neither flite nor espeak-ng is installed")
    return write_wav(resample(read_wav(spoken), RECOGNITION_RATE))


@cache
def installed_languages() -> tuple[str, ...]:
    """Return the languages that espeak-ng speaks here, as two or three letters.

    Asked once for the life of the process; blocks for some milliseconds the first time.
    """
    if not is_installed("espeak-ng"):
        return ()
    listed = subprocess.run(
        ["espeak-ng", "--voices"],
        capture_output=True,
        text=True,
        timeout=LIST_TIMEOUT_S,
        check=False,
    )
    columns = (line.split() for line in listed.stdout.splitlines()[1:])
    names = {words[1].partition("-")[0] for words in columns if len(words) > 1}
    return tuple(sorted(name for name in names if len(name) <= 3))
