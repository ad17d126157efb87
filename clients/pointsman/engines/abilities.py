"""What the engines can do on this machine, and for what they cannot, why and what would help."""

import msgspec

from pointsman.engines import recognition, synthesis, translation


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """The languages of each service; `missing` says what to install for what is not there."""

    asr: tuple[str, ...] = ()
    nmt: tuple[tuple[str, str], ...] = ()
    tts: tuple[str, ...] = ()
    missing: dict[str, str] = {}

    @property
    def services(self) -> list[str]:
        """The services that can be offered, in the order in which a job runs through them."""
        offered = {"asr": self.asr, "nmt": self.nmt, "tts": self.tts}
        return [service for service, languages in offered.items() if languages]


def available_abilities() -> Abilities:
    """Look what is installed; blocks for some milliseconds, so call it before serving."""
    asr = recognition.LANGUAGES if recognition.is_installed() else ()
    nmt = tuple(sorted(translation.installed_directions()))
    tts = synthesis.installed_languages()
    missing = {}
    if not asr:
        missing["asr"] = "PocketSphinx is not installed: pip install 'pointsman[speech]'"
    if not nmt:
        missing["nmt"] = (
            "Apertium or its language pairs are not installed: "
            "sudo apt-get install apertium apertium-eng-spa"
        )
    if not tts:
        missing["tts"] = "espeak-ng is not installed: sudo apt-get install espeak-ng"
    return Abilities(asr=asr, nmt=nmt, tts=tts, missing=missing)
