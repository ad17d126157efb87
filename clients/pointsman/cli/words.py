"""Option values that are more than one word: lists, pairs, labels, addresses."""

from collections.abc import Iterable, Sequence

from pointsman.cli.endings import USAGE, Trouble
from pointsman_wire.sockets.tcp import AddressError, split_address

DEFAULT_SERVER = "127.0.0.1:7400"
SESSION_SCHEMES = ("tls", "ws", "wss")


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
        pairs.append((source, target))
    return pairs


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
