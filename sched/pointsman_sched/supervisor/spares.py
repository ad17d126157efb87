"""A spare worker: a process that has read its program, and waits to be told which worker it is.

Most of a worker's start is the interpreter reading its modules.  Who died is replaced by the spare
at once, and another spare is made when things are calm again.  It holds no lock and has opened
nothing: until it is told its index it is no part of the service.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

CALM_S = 2.0
RETRY_S = 10.0
END_S = 5.0
READING_S = 10.0

Taken = tuple["subprocess.Popen[bytes]", int]  # the process, and where it will say "ready"


class Spare:
    """At most one spare; its command is a worker's without an index."""

    def __init__(self, command: Sequence[str], descriptors: tuple[int, ...]) -> None:
        self._command = command
        self._descriptors = descriptors
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_fd = self._order_fd = -1
        self._at_hand = asyncio.Event()  # it has read its program, or nothing more will come
        self._making: asyncio.TimerHandle | None = None
        self._is_wanted = False

    @property
    def pid(self) -> int:
        """The process that waits, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def make_soon(self) -> None:
        """From now on have a spare, whenever it has been calm for a while."""
        self._is_wanted = True
        if self._making is not None:
            self._making.cancel()
        self._making = self._loop.call_later(CALM_S, self._make)

    async def make_anew(self) -> None:
        """Have one that has read the program as it is installed now, which may be another.

        Returns after a while in any case: without a spare a successor only takes longer.
        """
        self._end()
        self._make()
        if self._process is None:
            return
        try:
            async with asyncio.timeout(READING_S):
                await self._at_hand.wait()
        except TimeoutError:
            return

    def _make(self) -> None:
        if self._making is not None:
            self._making.cancel()
        self._making = None
        if self._process is not None:
            return
        ready, their_ready = os.pipe()
        their_order, order = os.pipe()
        theirs = (their_ready, their_order)
        try:
            self._process = subprocess.Popen(
                [*self._command, "--spare-fd", str(their_order), "--ready-fd", str(their_ready)],
                pass_fds=(*self._descriptors, *theirs),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                process_group=0,
            )
        except OSError:  # no room for one more process: the service goes on without a spare
            os.close(ready)
            os.close(order)
            self._making = self._loop.call_later(RETRY_S, self._make)
        else:
            self._ready_fd, self._order_fd = ready, order
            self._at_hand.clear()
            self._loop.add_reader(ready, self._heard)
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _heard(self) -> None:
        """It says that it is at hand, or has died."""
        self._loop.remove_reader(self._ready_fd)
        self._at_hand.set()

    def take(self, index: int) -> Taken | None:
        """Make the spare this worker; None when there is none that lives."""
        process = self._process
        if self._is_wanted:
            self.make_soon()
        if process is None:
            return None
        self._process = None
        self._heard()
        try:
            os.write(self._order_fd, f"{index}\n".encode("ascii"))
        except BrokenPipeError:  # somebody has killed it
            os.close(self._ready_fd)
            process.wait()
            return None
        finally:
            os.close(self._order_fd)
        return process, self._ready_fd

    def close(self) -> None:
        """End the spare, and make no other."""
        if self._making is not None:
            self._making.cancel()
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._heard()
            os.close(self._order_fd)
            os.close(self._ready_fd)
            process.kill()
            process.wait(END_S)
