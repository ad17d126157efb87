"""What a node offers, and the handler behind it: data only, no output.

Three kinds: the engines that come along, a function of the user's own, any program.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pointsman.cli.endings import USAGE, Trouble
from pointsman.cli.program_handler import NoSuchProgram, ProgramHandler, split_command
from pointsman.cli.running.program_user import find_user
from pointsman.engines import speech
from pointsman.engines.abilities import Abilities, available_abilities

Handler = Callable[..., Any]
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asked for; empty means whatever is there."""

    services: Sequence[str] = ()
    asr: Sequence[str] = ()
    nmt: Sequence[Pair] = ()
    tts: Sequence[str] = ()


async def _nothing_to_load() -> None:
    """Stand in where nothing is slow to load."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a node will tell the server; `missing` says, by service, what it cannot and why."""

    handler: Handler
    services: list[str]
    asr: list[str] = field(default_factory=list)
    nmt: list[Pair] = field(default_factory=list)
    tts: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    load: Callable[[], Awaitable[None]] = _nothing_to_load


# ---- engines that come along


def engines_offer(name: str, wish: Wish) -> Offer:
    """Return what the engines of that name can do here.  Raises Trouble when it is nothing."""
    if name != "speech":
        raise Trouble(f"--engines {name!r} is unknown", todo="there is: speech", code=USAGE)
    if unknown := [service for service in wish.services if service not in speech.SERVICES]:
        raise Trouble(
            f"--engines speech has no service {unknown[0]!r}",
            todo=f"choose from {', '.join(speech.SERVICES)}",
            code=USAGE,
        )
    offer = speech_offer(available_abilities(), wish)
    if not offer.services:
        raise Trouble(
            "no engine can work here: " + "; ".join(offer.missing.values()),
            todo="install at least one of them",
        )
    return offer


def speech_offer(there: Abilities, wish: Wish) -> Offer:
    """Return the part of the abilities that is wished for; what is not there is `missing`."""
    asked = list(wish.services or speech.SERVICES)
    missing = {service: why for service, why in there.missing.items() if service in asked}
    chosen: dict[str, list[Any]] = {}
    for service, has, wants in (
        ("asr", there.asr, wish.asr),
        ("nmt", there.nmt, wish.nmt),
        ("tts", there.tts, wish.tts),
    ):
        chosen[service] = [value for value in (wants or has) if value in has and service in asked]
        lacking = [value for value in wants if value not in has]
        if service in asked and has and lacking:
            words = ", ".join(map(language_words, lacking))
            missing[service] = f"no engine here does {words}"
    return Offer(
        handler=speech.handle,
        services=[service for service in asked if chosen[service]],
        missing=missing,
        load=speech.load,
        **chosen,
    )


def language_words(value: str | Pair) -> str:
    """Return a language as it is, a pair as en>es."""
    return value if isinstance(value, str) else ">".join(value)


# ---- a function, a program


def function_offer(path: str, wish: Wish) -> Offer:
    """Return the offer of a function `module:function`.  Raises Trouble when there is none."""
    return _own_offer("--handler", load_function(path), wish)


def program_offer(line: str, wish: Wish, *, user: str = "") -> Offer:
    """Return the offer of a program, run for each job.  Raises Trouble when there is none."""
    try:
        handler = ProgramHandler(split_command(line), user=find_user(user) if user else None)
    except NoSuchProgram as error:
        raise Trouble(f"--exec: {error}", code=USAGE) from None
    return _own_offer("--exec", handler, wish)


def _own_offer(option: str, handler: Handler, wish: Wish) -> Offer:
    if not wish.services:
        raise Trouble(
            f"{option} needs to know what it does",
            todo="add --services, for example --services nmt --nmt en:es",
            code=USAGE,
        )
    for service, languages in (("asr", wish.asr), ("nmt", wish.nmt), ("tts", wish.tts)):
        if languages and service not in wish.services:
            raise Trouble(
                f"--{service} says languages, and --services has no {service}",
                todo=f"add it, --services {','.join([*wish.services, service])}, "
                f"or leave --{service} out",
                code=USAGE,
            )
    return Offer(
        handler=handler,
        services=list(wish.services),
        asr=list(wish.asr),
        nmt=list(wish.nmt),
        tts=list(wish.tts),
    )


def load_function(path: str) -> Handler:
    """Return what `module:function` names; modules are found in the current folder too."""
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise Trouble(
            f"--handler {path!r} names no function", todo="write module:function", code=USAGE
        )
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.util.find_spec(module_name)
    except (ModuleNotFoundError, ValueError):
        found = None
    if found is None:
        raise Trouble(
            f"--handler: no module {module_name!r} in {here} or among what is installed", code=USAGE
        )
    # Errors inside the user's module are the user's: their traceback says more than we could.
    function = importlib.import_module(module_name)
    for part in name.split("."):
        function = getattr(function, part, None)  # type: ignore[assignment]
    if not callable(function):
        raise Trouble(f"--handler: module {module_name!r} has no function {name!r}", code=USAGE)
    return function
