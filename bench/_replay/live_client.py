"""A client that submits at the instants of a trace, whatever comes back, on one trunk.

    python -m _replay.live_client ADDRESS

Every order is a line with the arrivals, every answer one with what became of them.  A job comes
when it is due, so what the client is late is a part of its wait, and is told beside.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop
from _load.orders import READY, die, next_line, say
from _load.streams import Frames, FrameStream, beat, dial, until

from _replay.fleets import TIMEOUT_S, WAIT_S, Done, Watched
from _replay.live_nodes import SECONDS
from _replay.traces import Arrival
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import (
    Result,
    ResultAck,
    SessionInit,
    SessionInitAck,
    Submit,
    ToClient,
)

SESSIONS = 64  # as many as where the clock is virtual
TICK_S = 0.001
LEAD_S = 0.1  # from the order to the first arrival


class LiveClient:
    """One trunk, and the jobs that have not ended."""

    def __init__(self) -> None:
        self._stream = FrameStream(ToClient, self._take, encode_preamble(Role.TRUNK, 0))
        self._session_numbers: list[int] = []
        self._began_s = 0.0
        self._arrivals: Sequence[Arrival] = ()
        self._late_s: list[float] = []
        self._done: list[Done] = []
        self._changed = asyncio.Event()

    async def open(self, address: str) -> None:
        """Dial, and open the sessions."""
        await dial(address, self._stream)
        for ref in range(SESSIONS):
            self._stream.put(SessionInit(ref=ref, src_lang="en", tgt_lang="es"))
        self._stream.flush()
        await until(self._changed, lambda: len(self._session_numbers) == SESSIONS)
        beat([self._stream])

    async def run(self, arrivals: Sequence[Arrival]) -> Watched:
        """Submit all of them, each when it is due, and wait until all have ended."""
        self._arrivals, self._late_s, self._done = arrivals, [], []
        self._began_s = time.monotonic() + LEAD_S
        submitted = 0
        while submitted < len(arrivals):
            now_s = time.monotonic() - self._began_s
            while submitted < len(arrivals) and arrivals[submitted].at_s <= now_s:
                self._submit(submitted)
                self._late_s.append(now_s - arrivals[submitted].at_s)
                submitted += 1
            self._stream.flush()
            await asyncio.sleep(TICK_S)
        await until(self._changed, lambda: len(self._done) == len(arrivals))
        late_s = sorted(self._late_s)
        return Watched(self._done, late_s[int(0.99 * len(late_s))])

    def _submit(self, number: int) -> None:
        job = self._arrivals[number]
        submit = Submit(
            session_number=self._session_numbers[job.session % SESSIONS],
            request_id=f"r-{number}",
            services=["nmt"],
            wait_busy_s=WAIT_S,
            timeout_s=TIMEOUT_S,
        )
        self._stream.put(submit, SECONDS.pack(job.service_s))

    def _take(self, stream: FrameStream, frames: Frames) -> None:
        now_s = time.monotonic() - self._began_s
        read: dict[int, int] = {}  # the last result of each session
        for message, payload in frames:
            if type(message) is Result:
                read[message.session_number] = message.number
                self._ended(message, payload, now_s)
            elif type(message) is SessionInitAck:
                self._session_numbers.append(message.session_number)
            elif type(message) is Error:
                raise RuntimeError(f"the server answered {message.error}")
        if read:
            stream.put(ResultAck(results=[*read.items()]))
            stream.flush()
        self._changed.set()

    def _ended(self, result: Result, payload: bytes, now_s: float) -> None:
        if result.status != "completed":
            raise RuntimeError(f"{result.request_id} ended {result.status}: {result.error}")
        job = self._arrivals[int(result.request_id[2:])]
        (held_s,) = SECONDS.unpack(payload)
        self._done.append(Done(job.at_s, now_s - held_s, now_s, job.service_s))


async def main(address: str) -> None:
    """Open the trunk, then replay what is ordered."""
    asyncio.get_running_loop().set_exception_handler(die)
    client = LiveClient()
    await client.open(address)
    say(READY)
    while line := await next_line():
        watched = await client.run(msgspec.json.decode(line, type=list[Arrival]))
        say(msgspec.json.encode(watched).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
