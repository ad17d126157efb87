"""Keys of a terminal, one at a time and without Return, where there is one to read from."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEYS_MAX = 16


class Keys:
    """Keys that were pressed; with nobody to press any, only time passes."""

    def __init__(self) -> None:
        self._pressed: asyncio.Queue[str] = asyncio.Queue(KEYS_MAX)

    def press(self, key: str) -> None:
        """Take in a key; one too many is dropped."""
        if not self._pressed.full():
            self._pressed.put_nowait(key)

    async def next(self, patience_s: float) -> str:
        """Return the next key, or "" when none was pressed in time."""
        try:
            async with asyncio.timeout(patience_s):
                return await self._pressed.get()
        except TimeoutError:
            return ""


@contextmanager
def pressed_keys() -> Iterator[Keys]:
    """Read keys of standard input inside a running loop; the terminal is left as it was.

    Without a terminal to read from, or on Windows, no key comes; Ctrl-C ends a command there too.
    """
    keys = Keys()
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield keys
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def read() -> None:
        pressed = os.read(descriptor, KEYS_MAX)
        if not pressed:  # the terminal is gone
            loop.remove_reader(descriptor)
        for key in pressed.decode(errors="replace"):
            keys.press(key)

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield keys
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
