"""A client that submits at a rate of its own, whatever comes back: an open loop.

    python -m _load.open_client ADDRESS WORKERS NAME=PID...

It has a trunk to every worker and submits to them in turn.  Refusals are counted, not repeated.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from _load.offers import Offer, Stretch
from _load.orders import READY, cpu_of, next_line, read_watched, say
from _load.streams import Frames, FrameStream, beat, dial, until
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

PAYLOAD = bytes(200)
TICK_S = 0.002
SETTLED_FACTOR = 1.2
BIN_S = 0.25


class _Seen:
    """What is counted in a stretch."""

    def __init__(self, worker_count: int) -> None:
        self.offered = self.refused = self.expired = 0
        self.completed_by_worker = [0] * worker_count
        self.latencies: list[tuple[float, float]] = []  # (submitted, latency) in s


class OpenClient:
    """All trunks, and the jobs in flight."""

    def __init__(self, watched: dict[str, int], worker_count: int) -> None:
        self._watched = watched
        self._worker_count = worker_count
        self._streams: list[FrameStream] = []
        self._sent: dict[str, tuple[float, _Seen, int]] = {}
        self._last = 0
        self._seen = _Seen(worker_count)
        self._open_count = 0
        self._changed = asyncio.Event()

    async def open(self, address: str) -> None:
        """Dial every worker and open a session there."""
        for index in range(self._worker_count):
            hello = encode_preamble(Role.TRUNK, index)
            stream = FrameStream(ToClient, self._take, hello)
            self._streams.append(stream)
            await dial(address, stream)
            stream.put(SessionInit(src_lang="en", tgt_lang="es"))
            stream.flush()
        await until(self._changed, lambda: self._open_count == self._worker_count)
        beat(self._streams)

    async def run(self, offer: Offer) -> list[Stretch]:
        """Offer every rate in turn."""
        made: list[tuple[_Seen, float, float]] = []
        for rate in offer.rates:
            self._seen = _Seen(self._worker_count)
            cpu_ns, began_s = self._cpu_ns(), time.monotonic()
            await self._offer(rate, offer, began_s)
            made.append((self._seen, began_s, (self._cpu_ns() - cpu_ns) / 1e9))
        await until(self._changed, lambda: not self._sent)
        within_s = SETTLED_FACTOR * _quantile([late for _, late in made[0][0].latencies], 0.99)
        return [_stretch(seen, began_s, cpu_s, within_s) for seen, began_s, cpu_s in made]

    def _cpu_ns(self) -> int:
        return sum(cpu_of(self._watched).values())

    async def _offer(self, rate: float, offer: Offer, began_s: float) -> None:
        """Submit what is due by the clock, every few milliseconds."""
        submit = Submit(services=["nmt"], wait_busy_s=offer.wait_s)
        while (elapsed_s := time.monotonic() - began_s) < offer.stretch_s:
            for _ in range(int(elapsed_s * rate) - self._seen.offered):
                self._submit(submit)
            for stream in self._streams:
                stream.flush()
            await asyncio.sleep(TICK_S)

    def _submit(self, submit: Submit) -> None:
        self._last += 1
        self._seen.offered += 1
        request_id = f"r-{self._last}"
        worker = self._last % self._worker_count
        self._sent[request_id] = (time.monotonic(), self._seen, worker)
        self._streams[worker].put(msgspec.structs.replace(submit, request_id=request_id), PAYLOAD)

    def _take(self, stream: FrameStream, frames: Frames) -> None:
        last_number = 0
        for message, _ in frames:
            if type(message) is Result:
                last_number = message.number
                self._ended(message)
            elif type(message) is Error and message.request_id:
                self._sent.pop(message.request_id)[1].refused += 1
            elif type(message) is SessionInitAck:
                self._open_count += 1
            elif type(message) is Error:
                raise RuntimeError(f"the server answered {message.error}")
        if last_number:
            stream.put(ResultAck(results=[(0, last_number)]))
            stream.flush()
        self._changed.set()

    def _ended(self, result: Result) -> None:
        sent_s, seen, worker = self._sent.pop(result.request_id)
        if result.status == "completed":
            self._seen.completed_by_worker[worker] += 1
            seen.latencies.append((sent_s, time.monotonic() - sent_s))
        else:
            seen.expired += 1


def _quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def _stretch(seen: _Seen, began_s: float, cpu_s: float, within_s: float) -> Stretch:
    late = [latency for _, latency in seen.latencies]
    bins: dict[int, list[float]] = {}
    for submitted_s, latency_s in seen.latencies:
        bins.setdefault(int((submitted_s - began_s) / BIN_S), []).append(latency_s)
    slow = [number for number, found in bins.items() if _quantile(found, 0.99) > within_s]
    return Stretch(
        offered=seen.offered,
        completed=sum(seen.completed_by_worker),
        refused=seen.refused,
        expired=seen.expired,
        p50_ms=1e3 * _quantile(late, 0.5),
        p99_ms=1e3 * _quantile(late, 0.99),
        recovered_s=(max(slow) + 1) * BIN_S if slow else 0.0,
        completed_by_worker=seen.completed_by_worker,
        server_cpu_s=cpu_s,
    )


async def main(address: str, worker_count: int, watched: dict[str, int]) -> None:
    """Open the trunks, then offer what is ordered."""
    client = OpenClient(watched, worker_count)
    await client.open(address)
    say(READY)
    while line := await next_line():
        stretches = await client.run(msgspec.json.decode(line, type=Offer))
        say(msgspec.json.encode(stretches).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), read_watched(sys.argv[3:])))
