"""A worker of RQ that answers every job at once with its own payload.

    python -m _load.peers.python.rq_nodes ADDRESS COUNT SLOTS

Jobs run in the worker's own process: the usual fork for each job would cost milliseconds.
"""

import logging
import sys

from redis import Redis
from rq import Queue, SimpleWorker

from _load.orders import READY, say
from _load.peers.python.blocking import end_with_input

QUEUE = "bench"
RESULT_S = 60


def echo(payload: bytes) -> bytes:
    """Answer with what came."""
    return payload


def connect(address: str) -> Redis:
    """Return a connection to the Redis of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return Redis(host=host, port=int(port))


def main(address: str) -> None:
    """Serve until the bench ends."""
    end_with_input()
    logging.disable(logging.CRITICAL)
    connection = connect(address)
    worker = SimpleWorker([Queue(QUEUE, connection=connection)], connection=connection)
    say(READY)
    worker.work(logging_level="CRITICAL")


if __name__ == "__main__":
    main(sys.argv[1])
