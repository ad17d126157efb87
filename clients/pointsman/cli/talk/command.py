"""`talk`: a conversation from a terminal."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from pointsman.cli.endings import USAGE, Commands, Trouble
from pointsman.cli.options import (
    Ca,
    Json,
    OrderName,
    Pin,
    Server,
    Services,
    SessionOrder,
    TokenFile,
)
from pointsman.cli.screen import err, facts, out, say, tell_trouble
from pointsman.cli.submit import CONNECT_S, show_refusal
from pointsman.cli.submitting import exit_code_of
from pointsman.cli.talk import options as opts
from pointsman.cli.talk.conversation import Conversation, Tell
from pointsman.cli.talk.given import ORDERS_HELP, Given, files, lines, sound_file, spoken
from pointsman.cli.talk.keeping import Keeper
from pointsman.cli.talk.told import Opened, line_of, object_of
from pointsman.cli.talk.wishes import Languages, Manner, manner_of, session_languages
from pointsman.cli.tokens.given import given_token
from pointsman.cli.words import (
    DEFAULT_SERVER,
    SESSION_SCHEMES,
    checked_address,
    checked_language,
    listed,
)
from pointsman.errors import PointsmanError
from pointsman.options import ConnectOptions
from pointsman.session import connect

app = typer.Typer(cls=Commands)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A conversation as it is asked for."""

    server: str
    session: ConnectOptions
    manner: Manner
    room: str
    name: str
    wav: Sequence[Path]
    is_raw: bool
    stays: bool


@app.command()
def talk(
    wav: opts.SoundFiles = None,
    *,
    src: opts.Spoken = "",
    tgt: opts.Wished = "",
    between: opts.Between = "",
    room: opts.Room = "",
    name: opts.Name = "",
    to: opts.To = None,
    hears: opts.Hears = "",
    raw: opts.Raw = False,
    stay: opts.Stay = False,
    folder: opts.Folder = None,
    services: Services = None,
    order: SessionOrder = OrderName.FREE,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    pin: Pin = "",
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Talk: lines that you type, sound files or a microphone go in, translations come out.

    Every step is shown as it comes; after a lost connection it goes on by
    itself.  Ctrl-D ends it.  Exit code 3: no node could do it; 1: something
    failed.
    """
    if raw and wav:
        raise Trouble("what is said: sound files, or --raw?", todo="name one", code=USAGE)
    languages = session_languages(Languages(src, tgt, between), room=room)
    listeners = listed(to)
    has_hearers = bool(folder or room or listeners or between)
    wanted = Wanted(
        server=checked_address(server, SESSION_SCHEMES),
        session={
            **languages,
            **ConnectOptions(
                token=given_token(token_file), pin=pin, ca=ca, hears=checked_language(hears)
            ),
            **ConnectOptions(room=room, order=order.value, connect_timeout_s=CONNECT_S),
        },
        manner=manner_of(tgt, listed(services), listeners, is_sound_wanted=has_hearers),
        room=room,
        name=name,
        wav=wav or [],
        is_raw=raw,
        stays=stay,
    )
    code = _run(wanted, _teller(server, as_json=as_json), folder)
    raise typer.Exit(code)


def _run(wanted: Wanted, tell: Tell, folder: Path | None) -> int:
    """Hold the conversation; return the exit code.  Raises Trouble."""
    for path in wanted.wav:
        sound_file(path)  # what cannot be said is told before anything is
    keeper = Keeper(folder)
    try:
        return asyncio.run(_talk(wanted, tell, keeper))
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise Trouble(str(error), code=USAGE) from None
    except PointsmanError as error:
        tell(0, error)
        return exit_code_of(error)


async def _talk(wanted: Wanted, tell: Tell, keeper: Keeper) -> int:
    async with connect(wanted.server, **wanted.session) as session:
        tell(0, Opened(session.session_id, session.shard, session.instance))
        if wanted.room:
            await session.join(wanted.room, name=wanted.name)
        conversation = Conversation(session, tell, keeper, wanted.manner)
        await conversation.run(_given(wanted), stays=wanted.stays)
        return conversation.exit_code


def _given(wanted: Wanted) -> AsyncIterator[Given]:
    if wanted.wav:
        return files(wanted.wav)
    descriptor = sys.stdin.fileno()
    if wanted.is_raw:
        return spoken(descriptor)
    is_terminal = os.isatty(descriptor)
    if is_terminal:
        err.print(Text(f"each line is said; Ctrl-D ends; {ORDERS_HELP}", style="dim"))
    return lines(descriptor, is_terminal=is_terminal)


def _teller(server: str, *, as_json: bool) -> Tell:
    """Return what prints news."""

    def tell_people(number: int, news: Any) -> None:
        if isinstance(news, Trouble):
            tell_trouble(news.what, news.todo)
        elif isinstance(news, PointsmanError):
            if number:
                facts([("sentence", str(number))], on=err)
            show_refusal(news, server)
        elif line := line_of(news):
            say(f"{f'[{number}]':<5}{line}" if number else line)

    def tell_programs(number: int, news: Any) -> None:
        if isinstance(news, Trouble):
            tell_trouble(news.what, news.todo)
        else:
            out.out(json.dumps({"said": number, **object_of(news)}, ensure_ascii=False))

    return tell_programs if as_json else tell_people
