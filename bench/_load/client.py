"""A client that speaks the wire directly and keeps a number of jobs in flight.

    python -m _load.client ADDRESS CONNECTIONS NAME=PID...

One connection is a trunk to the first worker, several are sessions of their own; `trunks=N` is one
trunk to each of N workers.  Jobs go over them in turn.  Every result of a read is answered by the
next submit, and by one acknowledgement, in the same write.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from functools import partial

import uvloop

from _load.orders import Order, Outcome, Window, obey, read_watched
from _load.streams import Frames, FrameStream, beat, dial, until
from pointsman_wire.errors import Code
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

PAYLOAD_BYTES = 200
DIALS_AT_ONCE = 50


class LoadClient:
    """All connections, and the jobs in flight on them."""

    def __init__(self, watched: dict[str, int]) -> None:
        self._watched = watched
        self._loop = asyncio.get_running_loop()
        self._streams: list[FrameStream] = []
        self._open_count = 0
        self._opened = asyncio.Event()
        self._drained = asyncio.Event()
        self._next_stream = 0
        self._sent_ns: dict[str, int] = {}
        self._last_request = 0
        self._window: Window | None = None
        self._is_submitting = False
        self._touched: dict[FrameStream, None] = {}
        self._payload = bytes(PAYLOAD_BYTES)

    async def open(self, address: str, hellos: Sequence[bytes]) -> None:
        """Dial with each of these preambles, and open one session on each connection."""
        self._streams = [FrameStream(ToClient, self._take, hello) for hello in hellos]
        for start in range(0, len(hellos), DIALS_AT_ONCE):
            some = self._streams[start : start + DIALS_AT_ONCE]
            await asyncio.gather(*(dial(address, stream) for stream in some))
            for stream in some:
                stream.put(SessionInit(src_lang="en", tgt_lang="es"))
                stream.flush()
            await until(self._opened, partial(self._has_opened, start + len(some)))
        beat(self._streams)

    def _has_opened(self, count: int) -> bool:
        return self._open_count >= count

    async def run(self, order: Order) -> Outcome:
        """Keep the depth for the ordered time; returns when all jobs have ended."""
        self._is_submitting = True
        now_ns = time.perf_counter_ns()
        for _ in range(order.depth):
            self._submit(now_ns)
        await asyncio.sleep(order.warm_s)
        self._window = Window(self._watched)
        await asyncio.sleep(order.run_s)
        outcome, self._window = self._window.close(), None
        self._is_submitting = False
        await until(self._drained, lambda: not self._sent_ns)
        return outcome

    def _submit(self, now_ns: int) -> None:
        self._last_request += 1
        request_id = f"r-{self._last_request:08}"
        self._sent_ns[request_id] = now_ns
        self._put(request_id)

    def _put(self, request_id: str) -> None:
        self._next_stream = (self._next_stream + 1) % len(self._streams)
        stream = self._streams[self._next_stream]
        stream.put(Submit(request_id=request_id, services=["nmt"]), self._payload)
        self._touch(stream)

    def _touch(self, stream: FrameStream) -> None:
        if not self._touched:
            self._loop.call_soon(self._flush)
        self._touched[stream] = None

    def _flush(self) -> None:
        touched, self._touched = self._touched, {}
        for stream in touched:
            stream.flush()

    def _take(self, stream: FrameStream, frames: Frames) -> None:
        now_ns = time.perf_counter_ns()
        last_number = 0
        for message, _ in frames:
            if type(message) is Result:
                last_number = message.number
                self._ended(message, now_ns)
            elif type(message) is SessionInitAck:
                self._open_count += 1
                self._opened.set()
            elif type(message) is Error:
                self._refused(message)
        if last_number:
            stream.put(ResultAck(results=[(0, last_number)]))
            self._touch(stream)
            if not self._sent_ns:
                self._drained.set()

    def _refused(self, answer: Error) -> None:
        """Ask again when the server says, as the SDK does; the job's clock has run on meanwhile."""
        error = answer.error
        if error.code != Code.QUEUE_FULL or not error.retry_after_ms:
            raise RuntimeError(f"the server answered {error}")
        print(f"client: {answer.request_id} is submitted again: {error.message}", file=sys.stderr)
        self._loop.call_later(error.retry_after_ms / 1e3, self._put, answer.request_id)

    def _ended(self, result: Result, now_ns: int) -> None:
        if result.status != "completed":
            raise RuntimeError(f"{result.request_id} {result.status}: {result.error}")
        latency_ns = now_ns - self._sent_ns.pop(result.request_id)
        if self._window is not None:
            self._window.latencies_ns.append(latency_ns)
        if self._is_submitting:
            self._submit(now_ns)


def hellos_of(connections: str) -> list[bytes]:
    """Return the preamble of every connection that is meant."""
    word, _, worker_count = connections.partition("=")
    if word == "trunks":
        return [encode_preamble(Role.TRUNK, index) for index in range(int(worker_count))]
    if word == "1":
        return [encode_preamble(Role.TRUNK, 0)]
    return [encode_preamble(Role.SESSION)] * int(word)


async def main(address: str, connections: str, watched: dict[str, int]) -> None:
    """Open the connections, then obey."""
    client = LoadClient({**watched, "client": os.getpid()})
    await client.open(address, hellos_of(connections))
    await obey(client.run)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], read_watched(sys.argv[3:])))
