"""A node of tests as a program: does what the meta of a job says, and notes what it ran.

    python node_program.py ADDRESS JOURNAL NODE_ID TGT SLOTS STATE_DIR HISTORY

STATE_DIR and HISTORY are "" for a node that keeps nothing.

meta: sleep_s, how long it takes; fail, the code it fails with; pieces, how many partials come.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from live.journal import Journal

from pointsman import Job, JobError, Node, Reply


def worker(journal: Journal, node_id: str) -> Callable[[Job], Awaitable[Reply]]:
    """Return a handler that answers with the payload turned round."""

    async def work(job: Job) -> Reply:
        journal.note("start", node_id, job)
        how_it_ended = "stopped"
        try:
            for number in range(job.meta.get("pieces", 0)):
                await job.partial(f"piece {number}")
            await asyncio.sleep(job.meta.get("sleep_s", 0))
            how_it_ended = "end"
        finally:
            journal.note(how_it_ended, node_id, job)
        if code := job.meta.get("fail"):
            raise JobError(code, "as asked")
        return Reply(job.payload[::-1], meta={"node": node_id, "tenant": job.tenant})

    return work


async def serve(node: Node) -> None:
    """Run until drained; says "ready" once the server calls the node so."""
    running = asyncio.create_task(node.run())
    ready = asyncio.create_task(node.wait_ready())
    await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
    if ready.done() and ready.exception() is None:
        print("ready", flush=True)
    await running


def main() -> None:
    address, path, node_id, tgt, slots, state_dir, history = sys.argv[1:]
    node = Node(
        address,
        node_id=node_id,
        services=["nmt"],
        nmt=[("en", tgt)],
        max_concurrency=int(slots),
        state_dir=state_dir or None,
        history=history or None,
    )
    node.handler(worker(Journal(Path(path)), node_id))
    asyncio.run(serve(node))


if __name__ == "__main__":
    main()
