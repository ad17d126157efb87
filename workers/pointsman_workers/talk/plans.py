"""Plans: into which jobs an utterance goes, for whom, and what each is called.

languages   those it names, those of its listeners; without either the session's target
services    asr, nmt and tts for sound, nmt and tts for text; no nmt into its own language
request id  the utterance's, with ":" and the language behind it where there are several
"""

from collections.abc import Mapping

import msgspec

from pointsman_shm.rules.languages import AUTO, normalise
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.talk.talk_messages import TARGET_LENGTH_MAX, Utterance
from pointsman_workers.core.state import Session
from pointsman_workers.talk.nouns import Voice

SOUND_SERVICES = ("asr", "nmt", "tts")
TEXT_SERVICES = ("nmt", "tts")


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One job of an utterance."""

    request_id: str
    src: str
    tgt: str
    services: list[str]
    listeners: tuple[Session, ...] = ()


def legs_of(
    voice: Voice, wanted: Utterance, listeners: Mapping[Session, str], *, is_sound: bool
) -> list[Leg] | ErrorInfo:
    """Return the jobs of an utterance, or why there is none."""
    session = voice.session
    services = wanted.services or [*(SOUND_SERVICES if is_sound else TEXT_SERVICES)]
    src = normalise(wanted.src_lang or voice.lang or session.src_lang)
    named = [*wanted.tgt_langs, wanted.tgt_lang, *listeners.values()]
    targets = [*dict.fromkeys(normalise(lang) for lang in named if lang)]
    if not targets and voice.room is not None:
        alone = error_info(Code.NOT_FOUND, "nobody else is in the room to hear it; name tgt_lang")
        return msgspec.structs.replace(alone, hint="Wait until somebody has entered the room.")
    if not targets and not session.tgt_lang and {"nmt", "tts"} & {*services}:
        text = "no language to go into: name tgt_lang, here or in session_init"
        return error_info(Code.INVALID_MESSAGE, text)
    targets = targets or [normalise(session.tgt_lang)]
    if (error := _no_language([src], "src_lang") or _no_language(targets, "tgt_lang")) is not None:
        return error
    stem = wanted.utterance_id
    return [
        Leg(
            request_id=f"{stem}:{tgt}" if len(targets) > 1 else stem,
            src=src,
            tgt=tgt,
            services=_services(services, src, tgt),
            listeners=tuple(who for who, lang in listeners.items() if normalise(lang) == tgt),
        )
        for tgt in targets
    ]


def _no_language(langs: list[str], field: str) -> ErrorInfo | None:
    """Say which of these is none, if one is."""
    unnamed = next((lang for lang in langs if is_no_language(lang)), None)
    if unnamed is None:
        return None
    text = f"{field} {unnamed[:TARGET_LENGTH_MAX]!r}... is longer than any language's name"
    return error_info(Code.INVALID_MESSAGE, text)


def is_no_language(lang: str) -> bool:
    """Is it, in lower case, too long for a request, or to stand behind an id in another one?"""
    return len(lang) > TARGET_LENGTH_MAX


def _services(services: list[str], src: str, tgt: str) -> list[str]:
    """Nothing is translated into the language that it is in, if there is more to do."""
    if src == tgt and src != AUTO and len(services) > 1:
        return [service for service in services if service != "nmt"]
    return services


def is_two_way(voice: Voice, wanted: Utterance, listeners: Mapping[Session, str]) -> bool:
    """Has the session a pair of languages, and does the utterance leave the direction open?"""
    is_named = wanted.tgt_langs or wanted.tgt_lang or (wanted.src_lang not in ("", AUTO))
    return bool(voice.pair[0]) and not is_named and not listeners


def directed(voice: Voice, wanted: Utterance, recognised: str = "") -> Utterance:
    """Return an utterance of a session of two languages with its direction.

    From the language that was recognised into the other one; if nobody knows it, as the session
    asks: into its target language, or else the second of the pair.
    """
    first, second = voice.pair
    heard = normalise(recognised)
    heard = heard if heard in voice.pair else heard.partition("-")[0]
    if heard not in voice.pair:
        asked = normalise(voice.session.tgt_lang)
        heard = second if asked == first else first
    other = second if heard == first else first
    return msgspec.structs.replace(wanted, src_lang=heard, tgt_lang=other)
