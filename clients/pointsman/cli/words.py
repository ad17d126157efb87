"""Option values that have a form of their own: languages, lists, pairs, labels, addresses."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pointsman.cli.endings import USAGE, Trouble
from pointsman_wire.control_messages import NODE_ID_PATTERN
from pointsman_wire.limits import NODE_ID_LENGTH_MAX
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


def language_pairs(values: Iterable[str] | None, option: str = "--nmt") -> list[tuple[str, str]]:
    """Return (source, target) for each `en:es` of an option, or raise Trouble."""
    pairs = []
    for word in listed(values):
        source, _, target = word.partition(":")
        if not source or not target or ":" in target:
            raise Trouble(
                f"{option} {word!r} is no pair of languages",
                todo=f"write {option} en:es",
                code=USAGE,
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


def checked_node_id(name: str) -> str:
    """Return the id of a node, or nothing, unchanged.  Raises Trouble for what can be none."""
    if not re.fullmatch(NODE_ID_PATTERN, name) or len(name) > NODE_ID_LENGTH_MAX:
        raise Trouble(
            f"{name!r} cannot be the id of a node",
            todo=f"take at most {NODE_ID_LENGTH_MAX} of letters, digits and . _ : -",
            code=USAGE,
        )
    return name


def checked_output(out: Path | None) -> Path | None:
    """Return a file to write unchanged.

    Raises Trouble where it cannot be written: else a job would be run for nobody.
    """
    if out is None:
        return None
    if out.is_dir():
        trouble = "it is a directory"
    elif not out.parent.is_dir():
        trouble = f"there is no directory {out.parent}"
    elif not os.access(out if out.exists() else out.parent, os.W_OK):
        trouble = "this user may not write there"
    else:
        return out
    raise Trouble(f"cannot write {out}: {trouble}", todo="name another --out", code=USAGE)


def labels(values: Iterable[str] | None) -> dict[str, str]:
    """Return the labels given as `key=value`, or raise Trouble."""
    made = {}
    for value in values or []:
        key, equals, word = value.partition("=")
        key = key.strip()
        lacks = "has no value" if not equals else "has no name" if not key else ""
        if key in made:
            lacks = f"is the second for {key!r}"
        if lacks:
            todo = "write --label room=kitchen, once for each name"
            raise Trouble(f"--label {value!r} {lacks}", todo=todo, code=USAGE)
        made[key] = word.strip()
    return made


def checked_address(address: str, schemes: Sequence[str] = ("tls",)) -> str:
    """Return HOST:PORT, or tls://HOST:PORT, unchanged, or raise Trouble when it is none."""
    scheme, separator, place = address.partition("://")
    try:
        split_address(place if separator and scheme in schemes else address)
    except AddressError as error:
        raise Trouble(f"--server: {error}", code=USAGE) from None
    return address
