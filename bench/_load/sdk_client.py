"""A client of the product's own SDK that keeps a number of jobs in flight on one trunk.

    python -m _load.sdk_client ADDRESS CONNECTIONS NAME=PID...

Each job in flight is a task that awaits `session.submit`, as a user's program would.
"""

import asyncio
import os
import sys
import time

import uvloop

from _load.orders import Order, Outcome, Window, obey, read_watched
from pointsman import Session, Trunk

PAYLOAD_BYTES = 200


class SdkClient:
    """One session, and as many tasks as jobs shall be in flight."""

    def __init__(self, session: Session, watched: dict[str, int]) -> None:
        self._session = session
        self._watched = watched
        self._window: Window | None = None
        self._is_submitting = False

    async def run(self, order: Order) -> Outcome:
        """Keep the depth for the ordered time; returns when all jobs have ended."""
        self._is_submitting = True
        tasks = [asyncio.ensure_future(self._submit_on()) for _ in range(order.depth)]
        await asyncio.sleep(order.warm_s)
        self._window = Window(self._watched)
        await asyncio.sleep(order.run_s)
        outcome, self._window = self._window.close(), None
        self._is_submitting = False
        await asyncio.gather(*tasks)
        return outcome

    async def _submit_on(self) -> None:
        payload = bytes(PAYLOAD_BYTES)
        while self._is_submitting:
            began_ns = time.perf_counter_ns()
            await self._session.submit(payload, services=["nmt"])
            if self._window is not None:
                self._window.latencies_ns.append(time.perf_counter_ns() - began_ns)


async def main(address: str, watched: dict[str, int]) -> None:
    """Open a trunk with one session, then obey."""
    async with Trunk(address) as trunk:
        session = await trunk.open(src="en", tgt="es")
        await obey(SdkClient(session, {**watched, "client": os.getpid()}).run)


if __name__ == "__main__":
    assert sys.argv[2] == "1", "the SDK's client is measured on one trunk"
    uvloop.run(main(sys.argv[1], read_watched(sys.argv[3:])))
