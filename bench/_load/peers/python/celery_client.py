"""A client of Celery that keeps a number of tasks in flight.

python -m _load.peers.python.celery_client ADDRESS CONNECTIONS NAME=PID...
"""

import asyncio
import sys
from typing import Any

from _load.orders import obey, read_watched
from _load.peers.python.blocking import BlockingVolley
from _load.peers.python.celery_nodes import TASK, make_app

PAYLOAD = "x" * 200
PATIENCE_S = 20.0


def main(address: str, watched: dict[str, int]) -> None:
    """Obey until the bench ends."""
    app = make_app(address)

    def submit() -> Any:
        return app.send_task(TASK, (PAYLOAD,))

    def wait(result: Any) -> None:
        result.get(timeout=PATIENCE_S, interval=0.001)

    wait(submit())
    asyncio.run(obey(BlockingVolley(watched, submit, wait).run))


if __name__ == "__main__":
    main(sys.argv[1], read_watched(sys.argv[3:]))
