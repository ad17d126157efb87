"""Nodes of unlike speed that hold a slot for as long as each job takes there.

python -m _replay.live_nodes ADDRESS COUNT

The payload of a job says how long it takes on a node of speed 1, that of its result how long it was
held, both in seconds; so whoever waits for it can tell the wait from the work.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from struct import Struct

import uvloop
from _load.nodes import START_S, LoadNode, Work
from _load.orders import wait_for_end

from _replay.fleets import SLOTS, speeds_of

SECONDS = Struct("<d")


def work_at(speed: float) -> Work:
    """Return what a node of this speed does with a job."""
    loop = asyncio.get_running_loop()

    def work(payload: bytes, give: Callable[[bytes], None]) -> None:
        began_s = time.monotonic()
        (service_s,) = SECONDS.unpack(payload)
        loop.call_later(service_s / speed, lambda: give(SECONDS.pack(time.monotonic() - began_s)))

    return work


async def main(address: str, node_count: int) -> None:
    """Join all nodes, say so, and do jobs until the bench ends."""
    nodes = [
        LoadNode(address, f"bench-{number}", SLOTS, work=work_at(speed))
        for number, speed in enumerate(speeds_of(node_count))
    ]
    async with asyncio.timeout(START_S):
        for node in nodes:
            await node.join()
    await wait_for_end()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
