"""A worker of dask.distributed that answers every task at once with its own payload.

python -m _load.peers.python.dask_nodes ADDRESS COUNT SLOTS
"""

import asyncio
import logging
import sys
from tempfile import TemporaryDirectory

from distributed import Worker

from _load.orders import wait_for_end


def echo(payload: bytes) -> bytes:
    """Answer with what came."""
    return payload


async def main(address: str, count: int) -> None:
    """Join with a thread for each node of the others, and serve."""
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory(prefix="pointsman-bench-") as directory:
        async with Worker(
            address,
            nthreads=count,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=directory,
        ):
            await wait_for_end()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
