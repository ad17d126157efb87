"""A scheduler of dask.distributed: says where it listens, and serves until the bench ends.

python -m _load.peers.python.dask_server
"""

import asyncio
import logging

from distributed import Scheduler

from _load.orders import say, wait_for_end


async def main() -> None:
    """Serve; its dashboard is at any free port."""
    logging.disable(logging.CRITICAL)
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        say(scheduler.address)
        await wait_for_end()


if __name__ == "__main__":
    asyncio.run(main())
