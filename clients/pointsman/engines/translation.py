"""Translation with Apertium, one run of its pipeline for each text (about 0.2 s of one core).

Apertium names languages by three letters (ISO 639-3), everybody else by two.
"""

import asyncio
import subprocess
from functools import cache

from pointsman.engines.programs import ProgramMissing, is_installed, run_program

LIST_TIMEOUT_S = 10.0

# Two letters -> three, for the languages that Apertium has pairs of.
_LONG_NAMES = {
    "af": "afr", "an": "arg", "ar": "ara", "be": "bel", "bg": "bul", "br": "bre", "ca": "cat",
    "cy": "cym", "da": "dan", "de": "deu", "en": "eng", "eo": "epo", "es": "spa", "eu": "eus",
    "fr": "fra", "gl": "glg", "hi": "hin", "id": "ind", "is": "isl", "it": "ita", "mk": "mkd",
    "ms": "msa", "mt": "mlt", "nl": "nld", "nn": "nno", "nb": "nob", "oc": "oci", "pl": "pol",
    "pt": "por", "ro": "ron", "ru": "rus", "sc": "srd", "sl": "slv", "sv": "swe", "tr": "tur",
    "uk": "ukr", "ur": "urd",
}  # fmt: skip
_SHORT_NAMES = {long: short for short, long in _LONG_NAMES.items()}


async def translate(text: str, *, src: str, tgt: str) -> str:
    """Return the text in another language; unknown words stay as they are.

    Raises ProgramMissing when nothing here translates the pair, or ProgramFailed.
    """
    if not text.strip():
        return ""
    direction = (await asyncio.to_thread(installed_directions)).get((src, tgt))
    if direction is None:
        raise ProgramMissing(f"apertium with a direction from {src} to {tgt} is not installed")
    output = await run_program("apertium", "-u", direction, stdin=f"{text.strip()}\n".encode())
    return output.decode(errors="replace").strip()


@cache
def installed_directions() -> dict[tuple[str, str], str]:
    """Return what Apertium translates here: pairs of short names -> Apertium's name of it.

    Asked once for the life of the process; blocks for some milliseconds the first time.
    """
    if not is_installed("apertium"):
        return {}
    listed = subprocess.run(
        ["apertium", "-l"], capture_output=True, text=True, timeout=LIST_TIMEOUT_S, check=False
    )
    directions = {}
    for direction in listed.stdout.split():
        source, _, target = direction.partition("-")
        # Variants of a target, such as eng_US, are not offered: nobody could ask for them.
        if "_" not in target:
            pair = (_SHORT_NAMES.get(source, source), _SHORT_NAMES.get(target, target))
            directions[pair] = direction
    return directions
