"""The peers that are Python libraries: Celery and RQ over a Redis, and dask.distributed.

Each is found when it can be imported (the extra `bench` brings them).  Celery and RQ have no
dispatcher of their own: the server that is measured is their Redis, and what dispatching is left
happens in the libraries of client and worker, which is why rows also tell the CPU time of all.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec

from _shared.processes import Child

from _load.systems import Line, PeerMissing, Server, free_port, lines_of, saying, start_peer

ONE = (1,)


def _need(module: str) -> None:
    """Raises PeerMissing when a library cannot be imported."""
    if find_spec(module) is None:
        raise PeerMissing(f"{module} is not installed (pip install 'pointsman[bench]')")


def _redis(stack: ExitStack) -> Server:
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port)]
    return start_peer(stack, [*command, "--save", "", "--appendonly", "no"], "redis-server", port)


def celery_redis(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """Celery with a Redis that keeps nothing on disk, as broker and for results."""
    _need("celery")
    modules = ("peers.python.celery_nodes", "peers.python.celery_client")
    return saying(
        lines_of(stack, "celery-redis", _redis(stack), modules, ONE),
        "one worker process pulls from a list: no choice of nodes, no slots, no languages; what a "
        "worker has fetched dies with it here; the server is only the Redis",
    )


def rq_redis(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """RQ with a Redis that keeps nothing on disk."""
    _need("rq")
    return saying(
        lines_of(
            stack, "rq", _redis(stack), ("peers.python.rq_nodes", "peers.python.rq_client"), ONE
        ),
        "one worker process pulls one job at a time from a list: no choice of nodes, no slots, no "
        "languages; the server is only the Redis",
    )


def dask_distributed(stack: ExitStack, counts: Sequence[int]) -> list[Line]:
    """The scheduler of dask.distributed, one worker with ten threads."""
    _need("distributed")
    scheduler = stack.enter_context(Child("_load.peers.python.dask_server"))
    server = Server(scheduler.next_line(), scheduler.pid)
    scheduler.next_line()
    return saying(
        lines_of(
            stack, "dask", server, ("peers.python.dask_nodes", "peers.python.dask_client"), ONE
        ),
        "made for graphs of tasks: keeps no journal, no tenants, no languages, no sessions that "
        "come back; results stay at the worker until they are fetched",
    )
