"""Nodes of the product's own SDK that answer every job at once with its own payload.

python -m _load.sdk_nodes ADDRESS COUNT SLOTS
"""

import asyncio
import sys

import uvloop

from _load.orders import wait_for_end
from pointsman import Job, Node

START_S = 20.0


async def echo(job: Job) -> bytes:
    """Answer with what came."""
    return job.payload


async def main(address: str, node_count: int, slots: int) -> None:
    """Run all nodes, say when they are ready, and serve until the bench ends."""
    nodes = [
        Node(
            address,
            services=["nmt"],
            nmt=[("en", "es")],
            max_concurrency=slots,
            node_id=f"bench-{number}",
        )
        for number in range(node_count)
    ]
    for node in nodes:
        node.handler(echo)
    running = [asyncio.ensure_future(node.run()) for node in nodes]
    async with asyncio.timeout(START_S):
        for node in nodes:
            await node.wait_ready()
    await wait_for_end()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
