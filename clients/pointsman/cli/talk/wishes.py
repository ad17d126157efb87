"""What the options of `talk` ask for: languages, and what is done to a sentence."""

from collections.abc import Sequence
from typing import NamedTuple

from pointsman.cli.endings import USAGE, Trouble
from pointsman.cli.words import AUTO, checked_language, language_pairs, listed
from pointsman.options import ConnectOptions
from pointsman.talking.options import TalkOptions


class Languages(NamedTuple):
    """The languages as they were named."""

    src: str
    tgt: str
    between: str


def session_languages(named: Languages, *, room: str) -> ConnectOptions:
    """Return the languages of a session: one way, two ways, or auto.  Raises Trouble."""
    spoken, wanted = (
        [checked_language(word) for word in listed([words])] for words in (named.src, named.tgt)
    )
    if named.between:
        return _two_ways(named, wanted, room=room)
    if not wanted and not room:
        raise Trouble(
            "into which language?",
            todo="name --tgt es, or --between en:es, or --room NAME",
            code=USAGE,
        )
    if room and (len(spoken) != 1 or spoken[0] == AUTO):
        raise Trouble("--room needs to know your language", todo="name it: --src en", code=USAGE)
    # Of several targets each sentence names all.
    tgt = wanted[0] if len(wanted) == 1 else ""
    if len(spoken) > 1:
        return ConnectOptions(src=AUTO, tgt=tgt, mode="auto", auto_langs=spoken)
    src = spoken[0] if spoken else ""
    return ConnectOptions(src=src, tgt=tgt, mode="auto" if src == AUTO else "one_way")


def _two_ways(named: Languages, wanted: Sequence[str], *, room: str) -> ConnectOptions:
    pairs = language_pairs([named.between], "--between")
    if len(pairs) != 1 or named.src or room:
        raise Trouble("--between EN:ES is for one pair, without --src and --room", code=USAGE)
    first, second = pairs[0]
    if len(wanted) > 1 or not {*wanted} <= {first, second}:
        raise Trouble(
            f"--tgt is {first} or {second}: what lines that are typed go into", code=USAGE
        )
    tgt = wanted[0] if wanted else second
    return ConnectOptions(tgt=tgt, mode="two_way", lang_a=first, lang_b=second)


class Manner(NamedTuple):
    """How lines are said, and how sounds."""

    lines: TalkOptions
    sounds: TalkOptions


def manner_of(
    tgt: str, services: Sequence[str], to: Sequence[str], *, is_sound_wanted: bool
) -> Manner:
    """Return how sentences are said.

    Without services it is the service's own way; but where nobody gets to hear it
    (is_sound_wanted), nothing is spoken.
    """
    common = TalkOptions(explain=True)
    targets = listed([tgt])
    if len(targets) > 1:
        common["tgt"] = targets
    if to:
        common["to"] = to
    if not services and is_sound_wanted:
        return Manner(common, common)
    wanted = services or ("asr", "nmt")
    of_lines = [service for service in wanted if service != "asr"] or wanted
    return Manner(
        TalkOptions(**common, services=of_lines),
        TalkOptions(**common, services=wanted),
    )
