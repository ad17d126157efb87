"""A Celery worker that answers every task at once with its own payload.

    python -m _load.peers.python.celery_nodes ADDRESS COUNT SLOTS

One process and no pool, which is the cheapest there is for tasks that take no time; it fetches
COUNT times as many tasks ahead as Celery does by default.
"""

import sys
import warnings
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from _load.orders import READY, say
from _load.peers.python.blocking import end_with_input

TASK = "bench.echo"
FETCHED_AHEAD = 4


def make_app(address: str) -> Any:
    """Return the application: broker and results in the same Redis."""
    url = f"redis://{address}/0"
    app: Any = Celery("bench", broker=url, backend=url)
    app.conf.update(
        task_serializer="json",
        result_expires=60,
        worker_send_task_events=False,
        worker_redirect_stdouts=False,  # the bench reads them
        task_ignore_result=False,
        broker_connection_retry_on_startup=True,
    )
    return app


def echo(payload: str) -> str:
    """Answer with what came."""
    return payload


def main(address: str, count: int) -> None:
    """Serve until the bench ends."""
    end_with_input()
    warnings.simplefilter("ignore")  # that it runs as root, where the bench does
    app = make_app(address)
    app.conf.worker_prefetch_multiplier = FETCHED_AHEAD * count
    app.task(name=TASK)(echo)
    worker_ready.connect(lambda **_: say(READY), weak=False)
    options = ["--pool=solo", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
    app.worker_main(["--quiet", "worker", *options, "--without-heartbeat"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
