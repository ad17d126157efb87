"""A client that submits at a rate of its own, whatever comes back; a program, beside who measures.

    python -m faults.crowds.flood JSON     (a Flood)

Prints what came of it as JSON (a Washed).  What is refused is counted, and not asked again.
"""

import asyncio
import sys
from time import monotonic
from zlib import crc32

import msgspec
from live.raw import RawPeer, raw_role

from pointsman_wire.framing import encode_frame
from pointsman_wire.messages import Error, Message, Priority
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    Result,
    ResultAck,
    SessionInit,
    SessionInitAck,
    Submit,
)

TICK_S = 0.005
ANSWER_S = 30.0
PRIORITIES: tuple[Priority, ...] = ("bulk", "default", "interactive")


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """Where, whose, how much, for how long, and how long each job takes."""

    port: int
    session_id: str
    tgt: str
    jobs_per_s: float
    seconds: float
    sleep_s: float
    tenant: str = ""


class Washed(msgspec.Struct, kw_only=True):
    """What was offered, and what became of it: completed, refused by code, failed by code."""

    offered: int = 0
    is_all: bool = False  # nothing more is offered
    completed: int = 0
    refused: dict[str, int] = {}
    failed: dict[str, int] = {}

    @property
    def answered(self) -> int:
        """How many are over."""
        return self.completed + sum(self.refused.values()) + sum(self.failed.values())


async def pour(flood: Flood) -> Washed:
    """Submit for so long, and wait until every job is over, or for half a minute."""
    washed = Washed()
    async with raw_role(flood.port, Role.SESSION, crc32(flood.session_id.encode())) as peer:
        peer.say(SessionInit(session_id=flood.session_id, tenant=flood.tenant))
        await peer.hear(SessionInitAck)
        listening = asyncio.create_task(_listen(peer, washed))  # ends with the last answer
        began_s = monotonic()
        while (passed_s := monotonic() - began_s) < flood.seconds:
            due = int(passed_s * flood.jobs_per_s)
            frames = [_frame(flood, number) for number in range(washed.offered, due)]
            washed.offered = max(due, washed.offered)
            peer.write(b"".join(frames))
            await peer.writer.drain()
            await asyncio.sleep(TICK_S)
        washed.is_all = True
        await asyncio.wait([listening], timeout=ANSWER_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return washed


def _frame(flood: Flood, number: int) -> bytes:
    submit = Submit(
        request_id=f"f{number}",
        services=["nmt"],
        src_lang="en",
        tgt_lang=flood.tgt,
        priority=PRIORITIES[number % len(PRIORITIES)],
        wait_busy_s=ANSWER_S / 2,
        meta={"sleep_s": flood.sleep_s},
    )
    return encode_frame(submit, b"abc")


async def _listen(peer: RawPeer, washed: Washed) -> None:
    while not (washed.is_all and washed.answered == washed.offered):
        message, _ = await peer.hear(Message)
        if isinstance(message, Error):
            _count(washed.refused, message.error.code)
        elif isinstance(message, Result):
            peer.say(ResultAck(results=[(message.session_number, message.number)]))
            if message.error is None:
                washed.completed += 1
            else:
                _count(washed.failed, message.error.code)


def _count(counts: dict[str, int], code: str) -> None:
    counts[code] = counts.get(code, 0) + 1


def main() -> None:
    """Pour, and tell."""
    washed = asyncio.run(pour(msgspec.json.decode(sys.argv[1], type=Flood)))
    print(msgspec.json.encode(washed).decode(), flush=True)


if __name__ == "__main__":
    main()
