"""Many sessions in one process: on connections of their own, or on one trunk to each worker.

    python -m _load.sessions.crowd ADDRESS SOURCE

SOURCE begins the addresses to dial from (127.1.1), as each has ports of its own.  Obeys the orders
of orders.py, one a line, one answer a line.
"""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from random import Random

import msgspec
import uvloop

from _load.lean.sources import Sources
from _load.orders import READY, die, next_line, say
from _load.sessions.orders import Open, Opened, OpenOnTrunks, SessionOrder, Submit, Submitted
from _load.streams import Frames, FrameStream, beat, until
from pointsman_wire import session_messages as client
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.shards import session_key, shard_of

PAYLOAD = bytes(200)
TICK_S = 0.001
HEARTBEAT_S = 20.0
ANSWER_S = 20.0
ORDERS_MAX = 16
RETRY_S = 0.5


class Kept(FrameStream):
    """A connection that tells `ended` when the server ends it."""

    ended: Callable[["Kept"], None]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell."""
        super().connection_lost(exc)
        self.ended(self)


class Crowd:
    """All sessions of this process, in the order in which they were opened."""

    def __init__(self, address: str, source: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = (host, int(port))
        self._name = source
        self._sources = Sources(source)
        self._random = Random(source)
        self._loop = asyncio.get_running_loop()
        self._streams: list[Kept] = []
        self._sessions: list[tuple[FrameStream, int]] = []  # the first is the hot one
        self._opening: dict[int, asyncio.Future[None]] = {}  # by ref
        self._first_refs: dict[Kept, int] = {}  # of the session that was asked for last
        self._retries = 0
        self._refs = count(1)
        self._sent_ns: dict[str, int] = {}
        self._accepted_ns: list[int] = []
        self._refused = 0
        self._changed = asyncio.Event()  # set when jobs may have ended
        self._last = 0
        beat(self._streams, HEARTBEAT_S)

    async def obey(self, order: SessionOrder) -> Opened | Submitted:
        """Carry out one order."""
        if isinstance(order, Submit):
            return await self._submit_all(order)
        if isinstance(order, OpenOnTrunks):
            return await self._open_on_trunks(order)
        return await self._open_all(order)

    # ---- sessions

    async def _dial(self, hello: bytes) -> Kept:
        stream = Kept(client.ToClient, self._take, hello)
        stream.ended = self._ended
        sock = self._sources.next_socket()
        try:
            await self._loop.sock_connect(sock, self._server)
        except OSError:
            sock.close()
            raise
        await self._loop.create_connection(lambda: stream, sock=sock)
        self._streams.append(stream)
        return stream

    def _ended(self, stream: Kept) -> None:
        """Turned away before its session stood: dialled again.  Later: the figures are wrong."""
        ref = self._first_refs.pop(stream, 0)
        if ref not in self._opening:
            raise RuntimeError("the server ended a connection whose session stood")
        self._streams.remove(stream)
        self._opening.pop(ref).set_exception(ConnectionRefusedError())

    async def _init(self, stream: Kept, session_id: str) -> None:
        ref = next(self._refs)
        self._first_refs[stream] = ref
        stood = self._opening[ref] = self._loop.create_future()
        stream.put(client.SessionInit(ref=ref, session_id=session_id, src_lang="en", tgt_lang="es"))
        stream.flush()
        await stood

    async def _open_all(self, order: Open) -> Opened:
        ids = self._ids_of(order) if order.is_keyed else [""] * order.count

        async def open_one(session_id: str) -> None:
            key = session_key(session_id) if session_id else None
            while True:
                try:
                    stream = await self._dial(encode_preamble(Role.SESSION, key))
                    return await self._init(stream, session_id)
                except ConnectionError:
                    self._retries += 1
                    await asyncio.sleep(RETRY_S)

        return await self._time_all([partial(open_one, i) for i in ids], order.at_once)

    def _ids_of(self, order: Open) -> list[str]:
        """Choose ids, as many of each shard, in an order that no accepting worker follows."""
        found: list[str] = []
        while len(found) < order.count:
            session_id = f"{self._name}-{next(self._refs)}"
            if shard_of(session_id, order.worker_count) == len(found) % order.worker_count:
                found.append(session_id)
        self._random.shuffle(found)
        return found

    async def _open_on_trunks(self, order: OpenOnTrunks) -> Opened:
        trunks = [
            await self._dial(encode_preamble(Role.TRUNK, index))
            for index in range(order.worker_count)
        ]
        inits = [partial(self._init, trunks[k % len(trunks)], "") for k in range(order.count)]
        return await self._time_all(inits, order.at_once)

    async def _time_all(
        self, acts: Sequence[Callable[[], Awaitable[None]]], at_once: int
    ) -> Opened:
        took_ns: list[int] = []
        waiting = iter(acts)
        began_ns = time.perf_counter_ns()

        async def work() -> None:
            for act in waiting:
                one_ns = time.perf_counter_ns()
                await act()
                took_ns.append(time.perf_counter_ns() - one_ns)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
        return Opened(
            count=len(took_ns),
            retries=self._retries,
            elapsed_s=(time.perf_counter_ns() - began_ns) / 1e9,
            mean_us=sum(took_ns) / len(took_ns) / 1e3,
            p50_us=quantile_us(took_ns, 0.5),
            p99_us=quantile_us(took_ns, 0.99),
        )

    # ---- jobs

    async def _submit_all(self, order: Submit) -> Submitted:
        self._accepted_ns, self._refused = [], 0
        began_s, offered = time.monotonic(), 0
        while (elapsed_s := time.monotonic() - began_s) < order.seconds:
            for _ in range(int(elapsed_s * order.per_s) - offered):
                self._submit(self._session_of(offered, order.hot_share))
                offered += 1
            await asyncio.sleep(TICK_S)
        elapsed_s = time.monotonic() - began_s
        unanswered = await self._end_all()
        return Submitted(
            jobs=offered,
            unanswered=unanswered,
            elapsed_s=elapsed_s,
            refused=self._refused,
            accepted_p50_us=quantile_us(self._accepted_ns, 0.5),
            accepted_p95_us=quantile_us(self._accepted_ns, 0.95),
            accepted_p99_us=quantile_us(self._accepted_ns, 0.99),
        )

    async def _end_all(self) -> int:
        """Wait until every job has ended; return how many are given up, and forgotten."""
        try:
            await until(self._changed, lambda: not self._sent_ns, ANSWER_S)
        except TimeoutError:
            print(f"{len(self._sent_ns)} jobs without result or refusal", file=sys.stderr)
        unanswered = len(self._sent_ns)
        self._sent_ns.clear()
        return unanswered

    def _session_of(self, number: int, hot_share: float) -> tuple[FrameStream, int]:
        """Spread the hot session's jobs evenly among the others'."""
        hot_count = int(number * hot_share)
        if int((number + 1) * hot_share) > hot_count:
            return self._sessions[0]
        return self._sessions[(number - hot_count) % len(self._sessions)]

    def _submit(self, session: tuple[FrameStream, int]) -> None:
        stream, number = session
        self._last += 1
        request_id = f"r-{self._last}"
        self._sent_ns[request_id] = time.perf_counter_ns()
        stream.put(
            client.Submit(session_number=number, request_id=request_id, services=["nmt"]), PAYLOAD
        )
        stream.flush()

    def _take(self, stream: FrameStream, frames: Frames) -> None:
        now_ns = time.perf_counter_ns()
        last_results: dict[int, int] = {}
        for message, _ in frames:
            if isinstance(message, client.Result):
                last_results[message.session_number] = message.number
                self._sent_ns.pop(message.request_id, None)
            elif isinstance(message, client.JobAccepted):
                self._accepted_ns += [
                    now_ns - self._sent_ns[job.request_id]
                    for job in message.jobs
                    if job.request_id in self._sent_ns
                ]
            elif isinstance(message, client.SessionInitAck):
                self._sessions.append((stream, message.session_number))
                self._opening.pop(message.ref).set_result(None)
            elif isinstance(message, Error):
                self._refuse(message)
        self._changed.set()
        if last_results:
            stream.put(client.ResultAck(results=[*last_results.items()]))
            stream.flush()

    def _refuse(self, error: Error) -> None:
        if error.ref in self._opening:
            self._opening.pop(error.ref).set_exception(ConnectionRefusedError())
            return
        if error.error.code == Code.QUEUE_FULL and not error.request_id:
            return  # the doorway is full: the connection ends, and is dialled again
        if not error.request_id:
            raise RuntimeError(f"the server answered {error.error}")
        self._refused += self._sent_ns.pop(error.request_id, None) is not None


def quantile_us(values_ns: Sequence[int], q: float) -> float:
    """Return the q-quantile in microseconds, 0 when there is nothing."""
    ordered = sorted(values_ns)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] / 1e3 if ordered else 0.0


async def read_orders(orders: "asyncio.Queue[str]") -> None:
    """Hand on what standard input says; its end is that of this process, whatever it does."""
    while line := await next_line():
        await orders.put(line)
    os._exit(0)


async def main(address: str, source: str) -> None:
    """Obey until standard input ends."""
    asyncio.get_running_loop().set_exception_handler(die)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(address, source)
    orders: asyncio.Queue[str] = asyncio.Queue(ORDERS_MAX)
    reading = asyncio.create_task(read_orders(orders))
    say(READY)
    while not reading.done():
        order = msgspec.json.decode(await orders.get(), type=SessionOrder)
        say(msgspec.json.encode(await crowd.obey(order)).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
