"""A client of RQ that keeps a number of jobs in flight.

python -m _load.peers.python.rq_client ADDRESS CONNECTIONS NAME=PID...
"""

import asyncio
import sys
from typing import Any

from rq import Queue

from _load.orders import obey, read_watched
from _load.peers.python.blocking import BlockingVolley
from _load.peers.python.rq_nodes import QUEUE, RESULT_S, connect, echo

PAYLOAD = bytes(200)
PATIENCE_S = 20


def main(address: str, watched: dict[str, int]) -> None:
    """Obey until the bench ends."""
    queue = Queue(QUEUE, connection=connect(address))

    def submit() -> Any:
        return queue.enqueue(echo, PAYLOAD, result_ttl=RESULT_S)

    def wait(job: Any) -> None:
        result = job.latest_result(timeout=PATIENCE_S)
        if result is None or result.return_value != PAYLOAD:
            raise RuntimeError(f"job {job.id} has no result within {PATIENCE_S} s: {result!r}")

    wait(submit())
    asyncio.run(obey(BlockingVolley(watched, submit, wait).run))


if __name__ == "__main__":
    main(sys.argv[1], read_watched(sys.argv[3:]))
