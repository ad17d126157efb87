"""A child learns that its parent is gone: the one write end of a pipe closes with the parent."""

import asyncio
import os
import sys
from collections.abc import Callable


def watch_parent(
    loop: asyncio.AbstractEventLoop, alive_fd: int, gone: Callable[[], None]
) -> Callable[[], None]:
    """Call `gone` once when the pipe ends; returns what stops the watch.

    A negative descriptor means that nobody is to be watched.
    """
    if alive_fd < 0:
        return lambda: None
    if sys.platform == "win32":
        raise AssertionError("only server processes are given a pipe")
    os.set_inheritable(alive_fd, False)
    os.set_blocking(alive_fd, False)

    def read() -> None:
        try:
            is_over = os.read(alive_fd, 64) == b""
        except BlockingIOError:
            return
        if is_over:
            loop.remove_reader(alive_fd)
            gone()

    loop.add_reader(alive_fd, read)

    def stop() -> None:
        loop.remove_reader(alive_fd)

    return stop
