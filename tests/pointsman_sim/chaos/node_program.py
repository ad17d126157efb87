"""A node of a run: turns payloads round, takes as long as the job says, records what it does."""

import asyncio
import sys

from pointsman import Job, Node


async def serve(address: str, node_id: str, directory: str, slots: int) -> None:
    """Run until it is asked to end."""
    node = Node(
        address,
        node_id=node_id,
        services=["nmt"],
        nmt=[("en", "es")],
        max_concurrency=slots,
        state_dir=f"{directory}/{node_id}",
        history=f"{directory}/{node_id}.jsonl",
        report_load=False,
        drain_s=5.0,
    )

    @node.handler
    async def turn_round(job: Job) -> bytes:
        await asyncio.sleep(job.meta.get("sleep_s", 0.0))
        return job.payload[::-1]

    await node.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
