"""Networks of their own for the instances of a fleet, so that packets can be lost, not only bytes.

    nodes and clients ===== front [ instance ] back ===== Redis

Each instance lives in a namespace with two links to this host, where everything else is: Redis
listens at the host's end of each back.  So an instance can lose Redis and keep its nodes and
clients, or the other way round, in one direction or both.  No instance reaches another.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from faults.namespaces import Link, Namespace, namespace


class Network(NamedTuple):
    """What one instance is joined to the others by."""

    front: Namespace
    back: Link


@contextmanager
def networks(count: int) -> Iterator[tuple[Network, ...]]:
    """Make so many; they are gone at the end."""
    with ExitStack() as stack:
        fronts = [stack.enter_context(namespace()) for _ in range(count)]
        yield tuple(Network(front, front.another_link()) for front in fronts)


def options_to_reach(apart: Sequence[Network]) -> list[str]:
    """Return what a Redis is started with so that instances in these networks reach it."""
    addresses = [network.back.host_address for network in apart]
    return ["protected-mode no", " ".join(["bind 127.0.0.1", *addresses])] if apart else []
