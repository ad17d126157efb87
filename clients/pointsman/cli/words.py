"""Option values that have a form of their own: languages, lists, pairs, labels, addresses."""

import re
from collections.abc import Iterable, Sequence

from pointsman.cli.endings import USAGE, Trouble
from pointsman_wire.sockets.tcp import AddressError, split_address

DEFAULT_SERVER = "127.0.0.1:7400"
AUTO = "auto"
SESSION_SCHEMES = ("tls", "ws", "wss")
# A language, then script, region or variant: en, pt-br, zh-hant.
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
LANGUAGE_LENGTH_MAX = 16


def listed(values: Iterable[str] | None) -> list[str]:
    """Return the words of an option that takes lists, `a,b`, and may be given several times."""
    words = (word.strip() for value in values or [] for word in value.split(","))
    return list(dict.fromkeys(word for word in words if word))


def language_pairs(values: Iterable[str] | None) -> list[tuple[str, str]]:
    """Return (source, target) for each `en:es`, or raise Trouble."""
    pairs = []
    for word in listed(values):
        source, _, target = word.partition(":")
        if not source or not target or ":" in target:
            raise Trouble(
                f"--nmt {word!r} is no pair of languages", todo="write --nmt en:es", code=USAGE
            )
        pairs.append((checked_language(source), checked_language(target)))
    return pairs


def checked_languages(values: list[str] | None) -> list[str] | None:
    """Return an option that takes lists of languages unchanged.  Raises Trouble."""
    for word in listed(values):
        checked_language(word)
    return values


def checked_language(word: str) -> str:
    """Return a language, or auto, or nothing, unchanged.

    Raises Trouble for what no service would ever match: it would be taken, and nothing come of it.
    """
    is_code = LANGUAGE.fullmatch(word) and len(word) <= LANGUAGE_LENGTH_MAX
    if word and word != AUTO and not is_code:
        raise Trouble(
            f"{word!r} is no code of a language",
            todo="write codes of two or three letters, as en or yue, with a region or script "
            "behind a hyphen where it matters, as pt-br",
            code=USAGE,
        )
    return word


def labels(values: Iterable[str] | None) -> dict[str, str]:
    """Return the labels given as `key=value`, or raise Trouble."""
    made = {}
    for value in values or []:
        key, equals, word = value.partition("=")
        if not key or not equals:
            raise Trouble(
                f"--label {value!r} has no value", todo="write --label room=kitchen", code=USAGE
            )
        made[key.strip()] = word.strip()
    return made


def checked_address(address: str, schemes: Sequence[str] = ("tls",)) -> str:
    """Return HOST:PORT, or tls://HOST:PORT, unchanged, or raise Trouble when it is none."""
    scheme, separator, place = address.partition("://")
    try:
        split_address(place if separator and scheme in schemes else address)
    except AddressError as error:
        raise Trouble(f"--server: {error}", code=USAGE) from None
    return address
