"""Passes bytes between a TLS connection and its plain end, which belongs to whichever process.

    peer <==TLS==> this worker <--socket pair--> owner: this worker, another, manager, console

TLS cannot be handed over once it stands, the plain end can.  Each side reads only as fast as the
other takes, so a slow reader is slow for the owner too, whose bounds are the ones that count.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

BUFFER_BYTES = 64 * 1024


class RelaySide(asyncio.Protocol):
    """One of two sides; what comes here leaves there."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: RelaySide | None = None
        self._ended = ended
        self._early: list[bytes] = []  # read before there was another side

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)
        if self.other is None:
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None or other.transport is None:
            self._early.append(data)  # at most one read: reading pauses when the connection stands
        elif not other.transport.is_closing():
            other.transport.write(data)

    def eof_received(self) -> bool:
        """This side has said all: so has the other, towards its end.

        A plain side may still hear: it stays open until it is told that nothing more comes.
        """
        other = self.other
        if other is None or other.transport is None or other.transport.is_closing():
            return False
        if not other.transport.can_write_eof():  # TLS: its end is an end of both ways
            other.transport.close()
            return False
        other.transport.write_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        transport = None if self.other is None else self.other.transport
        if transport is not None and not transport.is_closing():
            transport.close()
        self.transport = None
        self._ended()

    def pause_writing(self) -> None:
        self._let_other_read(False)

    def resume_writing(self) -> None:
        self._let_other_read(True)

    # ---- for the entrance

    def meet(self, other: "RelaySide") -> None:
        """From now on what comes here goes there."""
        self.other = other
        for data in self._early:
            if other.transport is not None:
                other.transport.write(data)
        self._early = []
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        """End at once."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS of this side, None for the plain one."""
        if self.transport is None:
            return None
        return cast("ssl.SSLObject | None", self.transport.get_extra_info("ssl_object"))

    def _let_other_read(self, may: bool) -> None:
        transport = None if self.other is None else self.other.transport
        if transport is None or transport.is_closing():
            return
        if may:
            transport.resume_reading()
        else:
            transport.pause_reading()
