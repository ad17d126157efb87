"""Keys of a terminal, one at a time and without Return, where there is one to read from."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEYS_MAX = 16
QUIT = "q"


class Keys:
    """Keys that were pressed; with nobody to press any, only time passes."""

    def __init__(self) -> None:
        self._pressed: asyncio.Queue[str] = asyncio.Queue(KEYS_MAX)
        self.is_told_to_end = False

    def press(self, key: str) -> None:
        """Take in a key; one too many is dropped."""
        if not self._pressed.full():
            self._pressed.put_nowait(key)

    def quit(self) -> None:
        """As if q were pressed next, whatever was pressed before: SIGTERM came."""
        self.is_told_to_end = True
        while not self._pressed.empty():
            self._pressed.get_nowait()
        self._pressed.put_nowait(QUIT)

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

    SIGTERM is a q, so that who draws on the screen puts it back first.  Without a terminal to read
    from, or on Windows, no key comes; Ctrl-C ends a command there too.
    """
    keys = Keys()
    if sys.platform == "win32":
        yield keys
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, keys.quit)
    try:
        if sys.stdin.isatty():
            with _typed(keys, loop):
                yield keys
        else:
            yield keys
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextmanager
def _typed(keys: Keys, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    if sys.platform == "win32":
        raise AssertionError("asked for on systems with terminals only")
    import termios
    import tty

    descriptor = sys.stdin.fileno()

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
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
