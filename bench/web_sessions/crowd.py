"""Many WebSocket sessions in one process, of which some speak, some submit, and some do not read.

    python -m web_sessions.crowd ADDRESS SOURCE

SOURCE is the address on this host to dial from.  Obeys the orders of orders.py, one a line, one
answer a line.
"""

import asyncio
import resource
import socket
import sys
import time
from itertools import count, cycle

import msgspec
import uvloop
from _load.orders import READY, die, next_line, say
from web_sessions.orders import (
    Deafen,
    Open,
    Opened,
    Speak,
    Spoken,
    Submit,
    Submitted,
    WebOrder,
)
from web_sessions.raw_web import RawWebSession, Told

from pointsman_wire.shards import shard_of

AT_ONCE = 16
RETRY_S = 0.5
HEARTBEAT_S = 20.0
TICK_S = 0.002
DRAIN_S = 20.0
PIECE_S = 0.1
PIECE = bytes(3_200)  # 100 ms of 16 kHz, 16 bits
PIECES = 20  # of an utterance
PAUSE_S = 0.5  # between two

_encode = msgspec.json.Encoder().encode


class Seen:
    """What is noted while an order is carried out; times by perf_counter_ns."""

    def __init__(self) -> None:
        self.event_due_ns: dict[str, int] = {}
        self.result_due_ns: dict[str, int] = {}
        self.event_ns: list[int] = []
        self.result_ns: list[int] = []
        self.late_ns: list[int] = []
        self.offered = 0
        self.refused = 0
        self.heard_bytes = 0
        self.heard_bytes_max = 0


class WebCrowd:
    """All sessions of this process, in the order in which they were opened."""

    def __init__(self, address: str, source: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = (host, int(port))
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._sessions: list[RawWebSession] = []
        self._numbers = count(1)
        self._retries = 0
        self._ended = 0
        self._seen = Seen()
        self._is_deaf = False
        self._changed = asyncio.Event()  # set when jobs may have ended
        self._beat()

    def _beat(self) -> None:
        for session in self._sessions:
            session.put(b'{"type":"client_heartbeat"}')
        self._loop.call_later(HEARTBEAT_S, self._beat)

    async def obey(self, order: WebOrder) -> Opened | Spoken | Submitted:
        """Carry out one order."""
        match order:
            case Open():
                return await self._open(order)
            case Speak():
                return await self._speak(order)
            case Submit():
                return await self._submit(order)
            case Deafen():
                self._is_deaf = True
                for session in self._sessions:
                    session.stop_reading()
                return Opened(count=len(self._sessions), retries=self._retries)

    # ---- sessions

    async def _open(self, order: Open) -> Opened:
        waiting = iter(self._ids_of(order))

        async def work() -> None:
            for session_id in waiting:
                while not await self._stands(session_id, order.receive_bytes):
                    self._retries += 1
                    await asyncio.sleep(RETRY_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        return Opened(count=len(self._sessions), retries=self._retries)

    def _ids_of(self, order: Open) -> list[str]:
        found: list[str] = []
        while len(found) < order.count:
            session_id = f"{self._source}-{next(self._numbers)}"
            if shard_of(session_id, order.worker_count) == len(found) % order.worker_count:
                found.append(session_id)
        return found

    async def _stands(self, session_id: str, receive_bytes: int) -> bool:
        """Dial once; return whether the session stands."""
        session = RawWebSession(session_id, self._take, self._lost)
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.bind((self._source, 0))
        try:
            await self._loop.sock_connect(sock, self._server)
            await self._loop.create_connection(lambda: session, sock=sock)
            await session.stands
        except ConnectionError:
            sock.close()
            return False
        self._sessions.append(session)
        return True

    def _lost(self, session: RawWebSession) -> None:
        if not self._is_deaf:
            raise RuntimeError(f"the server ended {session.session_id}, whose session stood")
        self._ended += 1

    def _take(self, session: RawWebSession, told: Told) -> None:
        seen, now_ns = self._seen, time.perf_counter_ns()
        if told.type == "ui_event" and told.event != "INPUT_STARTED":
            due_ns = seen.event_due_ns.pop(told.utterance_id, 0)
            if due_ns:
                seen.event_ns.append(now_ns - due_ns)
        elif told.type == "result":
            due_ns = seen.result_due_ns.pop(told.request_id, 0)
            if due_ns:
                seen.result_ns.append(now_ns - due_ns)
            session.put(_encode({"type": "result_ack", "results": [(0, told.number)]}))
        elif told.type == "error":
            if not told.request_id:
                raise RuntimeError(f"{session.session_id}: an error that names no request")
            seen.refused += 1
            seen.result_due_ns.pop(told.request_id, None)
            seen.event_due_ns.pop(told.request_id, None)
        self._changed.set()

    async def _drain(self) -> None:
        """Wait for what is due; what does not come in time is missing in the samples."""
        try:
            async with asyncio.timeout(DRAIN_S):
                while self._seen.result_due_ns:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    # ---- sound

    async def _speak(self, order: Speak) -> Spoken:
        seen = self._seen = Seen()
        speakers = self._sessions[: order.speakers]
        began_s = time.perf_counter()
        whole_s = PIECES * PIECE_S + PAUSE_S
        async with asyncio.TaskGroup() as group:
            for place, session in enumerate(speakers):
                first_s = began_s + whole_s * place / len(speakers)
                group.create_task(self._talk(session, first_s, began_s + order.seconds))
        await self._drain()
        return Spoken(
            utterances=seen.offered,
            refused=seen.refused,
            event_ns=seen.event_ns,
            result_ns=seen.result_ns,
            late_ns=seen.late_ns,
            heard_bytes_max=seen.heard_bytes_max,
        )

    async def _talk(self, session: RawWebSession, due_s: float, until_s: float) -> None:
        """Say one utterance after the other, a piece every 100 ms by the clock."""
        seen = self._seen
        while due_s < until_s:
            utterance_id = f"u-{next(self._numbers)}"
            for seq in range(PIECES):
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                seen.late_ns.append(int((time.perf_counter() - due_s) * 1e9))
                self._say_piece(session, utterance_id, seq)
                due_s += PIECE_S
            due_s += PAUSE_S

    def _say_piece(self, session: RawWebSession, utterance_id: str, seq: int) -> None:
        seen, is_final = self._seen, seq == PIECES - 1
        seen.heard_bytes += len(PIECE)
        seen.heard_bytes_max = max(seen.heard_bytes_max, seen.heard_bytes)
        piece = {
            "type": "audio_chunk",
            "utterance_id": utterance_id,
            "seq": seq,
            "is_final": is_final,
            "services": ["nmt"],
        }
        session.put(_encode(piece), PIECE)
        if is_final:
            seen.heard_bytes -= PIECES * len(PIECE)
            seen.offered += 1
            now_ns = time.perf_counter_ns()
            seen.event_due_ns[utterance_id] = seen.result_due_ns[utterance_id] = now_ns

    # ---- jobs

    async def _submit(self, order: Submit) -> Submitted:
        seen = self._seen = Seen()
        payload, sessions = bytes(order.payload_bytes), cycle(self._sessions)
        began_s = time.monotonic()
        while (elapsed_s := time.monotonic() - began_s) < order.seconds:
            for _ in range(int(elapsed_s * order.per_s) - seen.offered):
                request_id = f"r-{next(self._numbers)}"
                seen.offered += 1
                seen.result_due_ns[request_id] = time.perf_counter_ns()
                submit = {"type": "submit", "request_id": request_id, "services": ["nmt"]}
                next(sessions).put(_encode(submit), payload)
            await asyncio.sleep(TICK_S)
        if not self._is_deaf:
            await self._drain()
        return Submitted(
            jobs=seen.offered, refused=seen.refused, result_ns=seen.result_ns, ended=self._ended
        )


async def main(address: str, source: str) -> None:
    """Obey until standard input ends."""
    asyncio.get_running_loop().set_exception_handler(die)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = WebCrowd(address, source)
    say(READY)
    while line := await next_line():
        order = msgspec.json.decode(line, type=WebOrder)
        say(msgspec.json.encode(await crowd.obey(order)).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
