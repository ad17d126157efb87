"""`pointsman demo`: starts a service and three nodes, lets them hear, translate and speak, ends.

The service, its state and its sockets live in a throw-away folder; nothing of it stays but the
sounds in the output folder.
"""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pointsman.cli.demo.pictures import Pictures
from pointsman.cli.demo.processes import Stage
from pointsman.cli.demo.tour import IMPOSSIBLE, SRC, Record, Tour, cast_of, services_of
from pointsman.cli.demo.utterances import Input, Utterance, gather
from pointsman.cli.endings import FAILED, STOPPED, Commands, Trouble
from pointsman.cli.running.service_programs import refuse_where_impossible
from pointsman.cli.screen import say
from pointsman.engines.abilities import Abilities, available_abilities
from pointsman.session import connect

app = typer.Typer(cls=Commands)

WORKERS = 2


@app.command()
def demo(
    files: Annotated[
        list[Path] | None, typer.Argument(help="WAV files with English speech.", metavar="[WAV]...")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Where the sounds are written.")] = Path("demo-out"),
) -> None:
    """Show the whole service on real speech: a sentence goes in, a translation comes out.

    Starts a service with two workers and three nodes on this host, and ends
    them again: in a terminal after Ctrl-C, so that you can try its page, else
    by itself.  Exit code 0 only if everything came through.
    """
    refuse_where_impossible(sys.platform)
    raise typer.Exit(asyncio.run(_until_stopped(files or [], out)))


async def _until_stopped(files: list[Path], folder: Path) -> int:
    """Run the demo; the first signal ends it in order, the second at once."""
    stage = Stage()
    pictures = Pictures()
    visit = Visit(is_wanted=sys.stdin.isatty() and sys.stdout.isatty())
    play = asyncio.create_task(_play(stage, pictures, visit, _prepare(pictures, files, folder)))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stage.is_closing:
            stage.hurry()
        elif visit.is_on:
            visit.over.set()
        else:
            play.cancel()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        loop.add_signal_handler(signal.Signals[name], stop)
    try:
        record = await play
    except asyncio.CancelledError:
        say("", "stopped; nothing is left running")
        return STOPPED
    finally:
        pictures.rest()
    return FAILED if record.problems else 0


class Visit:
    """Somebody in a terminal may try the page, until they press Ctrl-C."""

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self.is_on = False
        self.over = asyncio.Event()

    async def last(self) -> None:
        """Wait until it is over."""
        self.is_on = True
        await self.over.wait()


async def _play(
    stage: Stage, pictures: Pictures, visit: Visit, prepared: Coroutine[Any, Any, "Props"]
) -> Record:
    """Start everything, go on the tour, end everything; nothing is left behind."""
    began_s = time.monotonic()
    record = Record()
    try:
        sample = await _perform(stage, pictures, record, await prepared)
        if visit.is_wanted:
            pictures.show_visit(stage.address, record)
            await stage.accompany(visit.last())
    finally:
        pictures.busy("ending the service and its nodes")
        await stage.close()
        pictures.rest()
    left = [*map(str, stage.processes_left()), *map(str, stage.segments_left())]
    record.problems += [f"left behind: {what}" for what in left]
    pictures.show_end(record, seconds=time.monotonic() - began_s)
    pictures.show_next(program_name(), sample)
    return record


@dataclass(frozen=True, kw_only=True)
class Props:
    """What the demo needs before it starts anything."""

    there: Abilities
    sounds: Input
    folder: Path


async def _prepare(pictures: Pictures, files: list[Path], folder: Path) -> Props:
    """See what can be done here, and have something to say.  Raises Trouble."""
    pictures.title("Pointsman: a sentence goes in, a node is chosen, a translation comes out")
    there = await asyncio.to_thread(available_abilities)
    pictures.show_missing(there.missing)
    if not services_of(there):
        raise Trouble(
            "nothing that the demo shows can be done here", todo="install what is missing"
        )
    pictures.busy("preparing what will be said")
    sounds = await gather(files)
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(f"cannot make the folder {folder}: {error.strerror}") from None
    return Props(there=there, sounds=sounds, folder=folder)


async def _perform(stage: Stage, pictures: Pictures, record: Record, props: Props) -> Path:
    """Start service and nodes and have every utterance done; return a sound to go on with."""
    pictures.busy("starting the service")
    await stage.start_service(WORKERS)
    cast = cast_of(props.there)
    for plan in cast:
        await stage.start_node(plan.name, plan.options())
    pictures.busy(f"waiting for {len(cast)} nodes")
    await stage.wait_for_nodes()
    pictures.show_cast(stage.address, WORKERS, cast)
    kept = [_keep(n, utterance, props.folder) for n, utterance in _numbered(props.sounds)]
    await stage.accompany(_walk(stage.address, pictures, record, props))
    return kept[0]


async def _walk(address: str, pictures: Pictures, record: Record, props: Props) -> None:
    """Have every utterance done, and ask for what nobody can do."""
    async with connect(address, src=SRC) as session:
        tour = Tour(
            session=session,
            services=services_of(props.there),
            folder=props.folder,
            screen=pictures,
            record=record,
        )
        for number, utterance in _numbered(props.sounds):
            pictures.show_utterance(number, props.sounds, utterance)
            await tour.hear_and_tell(number, utterance)
        pictures.title("one through the door of browsers: JSON over WebSocket")
        async with connect(f"ws://{address}", src=SRC) as browser:
            await replace(tour, session=browser).say_in_writing(props.sounds.utterances[0])
        pictures.title(f"one that nobody can do: {SRC} to {IMPOSSIBLE}")
        if refusal := await tour.try_the_impossible():
            pictures.show_refusal(refusal)


def _numbered(sounds: Input) -> list[tuple[int, Utterance]]:
    return list(enumerate(sounds.utterances, 1))


def _keep(number: int, utterance: Utterance, folder: Path) -> Path:
    """Write what is said beside what comes of it, for people to hear and to use."""
    path = folder / f"{number}.{SRC}.wav"
    path.write_bytes(utterance.wav)
    return path


def program_name() -> str:
    """Return how to call us from here: by name, or by path when we are not on PATH."""
    if shutil.which("pointsman"):
        return "pointsman"
    return os.path.relpath(Path(sys.executable).with_name("pointsman"))
