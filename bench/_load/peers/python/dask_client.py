"""A client of dask.distributed that keeps a number of tasks in flight.

python -m _load.peers.python.dask_client ADDRESS CONNECTIONS NAME=PID...
"""

import asyncio
import logging
import sys
from typing import Any

from distributed import Client

from _load.orders import obey, read_watched
from _load.peers.python.blocking import BlockingVolley
from _load.peers.python.dask_nodes import echo

PAYLOAD = bytes(200)
PATIENCE_S = 20.0


def main(address: str, watched: dict[str, int]) -> None:
    """Obey until the bench ends."""
    logging.disable(logging.CRITICAL)
    client = Client(address)

    def submit() -> Any:
        return client.submit(echo, PAYLOAD, pure=False)

    def wait(future: Any) -> None:
        future.result(timeout=PATIENCE_S)

    wait(submit())
    asyncio.run(obey(BlockingVolley(watched, submit, wait).run))


if __name__ == "__main__":
    main(sys.argv[1], read_watched(sys.argv[3:]))
