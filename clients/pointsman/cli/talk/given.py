"""What is said: lines, sound files and sound from standard input, and orders typed at a terminal.

Standard input is read by a thread of its own, past Python's buffers: a thread that waits in one
holds its lock, and the interpreter could not end.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import NamedTuple

from pointsman.cli.endings import USAGE, Trouble
from pointsman.cli.submitting import check_size, read_input
from pointsman.cli.talk.cutting import VoiceCutter
from pointsman.talking.options import WAV_START

READ_BYTES = 32_768
LINE_BYTES_MAX = 65_536
READ_AHEAD_MAX = 4
ORDERS_HELP = "/wav FILE says a sound file, /join ROOM, /leave, /quit; // begins a line with /"


class Words(NamedTuple):
    """A line."""

    text: str


class SoundFile(NamedTuple):
    """A WAV file."""

    name: str
    sound: bytes


class Spoken(NamedTuple):
    """A piece of what is being spoken; None where it ends."""

    piece: bytes | None


class Order(NamedTuple):
    """Something that shall be done: wav, join, leave, quit; else it is told what there is."""

    name: str
    value: str


Given = Words | SoundFile | Spoken | Order


def sound_file(named: str | Path) -> SoundFile:
    """Return a WAV file.  Raises Trouble when it is none, or too large."""
    path = Path(named).expanduser()
    sound = read_input(path)
    if not sound.startswith(WAV_START):
        todo = "ffmpeg -i IN -ac 1 -ar 16000 OUT.wav makes one"
        raise Trouble(f"{path} is no WAV file", todo=todo, code=USAGE)
    check_size(str(path), sound, todo="cut it, or make it 16 kHz mono")
    return SoundFile(path.name, sound)


def order_or_words(line: str) -> Given:
    """Return what a line at a terminal means."""
    if not line.startswith("/"):
        return Words(line)
    if line.startswith("//"):
        return Words(line[1:])
    name, _, value = line[1:].partition(" ")
    return Order(name, value.strip())


async def files(paths: Sequence[Path]) -> AsyncIterator[Given]:
    """Yield sound files."""
    for path in paths:
        yield await asyncio.to_thread(sound_file, path)


async def lines(descriptor: int, *, is_terminal: bool) -> AsyncIterator[Given]:
    """Yield what lines say; empty ones say nothing, very long ones are cut."""
    rest = b""
    async for block in blocks(descriptor):
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            whole, rest = [*whole, rest], b""
        for line in whole:
            if given := _said(line, is_terminal=is_terminal):
                yield given
    if given := _said(rest, is_terminal=is_terminal):
        yield given


def _said(line: bytes, *, is_terminal: bool) -> Given | None:
    text = line.decode(errors="replace").strip()
    if not text:
        return None
    # Only who sits at the terminal may give orders: text that is passed on must not read files.
    return order_or_words(text) if is_terminal else Words(text)


async def spoken(descriptor: int) -> AsyncIterator[Given]:
    """Yield raw sound, cut at pauses."""
    cutter = VoiceCutter()
    async for block in blocks(descriptor):
        for piece in cutter.feed(block):
            yield Spoken(piece)
    if cutter.is_speaking:
        yield Spoken(None)


async def blocks(descriptor: int) -> AsyncIterator[bytes]:
    """Yield what a descriptor gives, until its end."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[bytes] = asyncio.Queue(maxsize=READ_AHEAD_MAX)

    def read() -> None:
        block = b"-"
        while block:
            try:
                block = os.read(descriptor, READ_BYTES)
            except OSError:
                block = b""  # a terminal that is gone has nothing more to say
            putting = waiting.put(block)
            try:
                asyncio.run_coroutine_threadsafe(putting, loop).result()
            except (RuntimeError, CancelledError):  # the loop has ended meanwhile
                putting.close()
                return

    threading.Thread(target=read, name="standard-input", daemon=True).start()
    while block := await waiting.get():
        yield block
