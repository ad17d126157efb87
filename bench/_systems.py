"""The systems that are measured side by side: each is started with its nodes and its client.

A system is a function from an ExitStack, which ends what it has started, to a Line.  A peer that
speaks another protocol brings load generators of its own that obey the same orders.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import msgspec
from _load.orders import Order, Outcome
from _processes import Child

from pointsman.testing import running_service
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import ask

NODES = "10"
SLOTS = "256"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One running system and who loads it; `variant` is "" for what users get as installed."""

    system: str
    variant: str = ""
    connections: int
    client: Child

    def run(self, order: Order) -> Outcome:
        """Have the client run one order."""
        return msgspec.json.decode(
            self.client.ask(msgspec.json.encode(order).decode()), type=Outcome
        )


System = Callable[[ExitStack], Line]


class _Server(msgspec.Struct, frozen=True):
    address: str
    pid: int


def pointsman(stack: ExitStack) -> Line:
    """The product, loaded by generators that speak the wire directly."""
    server = _start_pointsman(stack)
    return Line(system="pointsman", connections=1, client=_load(stack, server, "nodes", "client"))


def pointsman_with_sdk(stack: ExitStack) -> Line:
    """The product, loaded by its own SDK's nodes and client."""
    server = _start_pointsman(stack)
    client = _load(stack, server, "sdk_nodes", "sdk_client")
    return Line(system="pointsman", variant="sdk", connections=1, client=client)


def floor(stack: ExitStack) -> Line:
    """The bare relay of the same frames."""
    relay = stack.enter_context(Child("_load.floor"))
    server = _Server(relay.next_line(), relay.pid)
    relay.next_line()
    return Line(system="floor", connections=1, client=_load(stack, server, "nodes", "client"))


def _start_pointsman(stack: ExitStack) -> _Server:
    """Start a throw-away service with one worker, and find that worker's process."""
    service = stack.enter_context(running_service(workers=1))
    path = admin_socket(service.runtime_dir, "worker-0")
    status = asyncio.run(ask(path, StatusQuery()))
    assert isinstance(status, Status), status
    return _Server(service.address, status.pid)


def _load(stack: ExitStack, server: _Server, nodes_module: str, client_module: str) -> Child:
    nodes = stack.enter_context(Child(f"_load.{nodes_module}", server.address, NODES, SLOTS))
    nodes.next_line()
    watched = (f"server={server.pid}", f"nodes={nodes.pid}")
    client = stack.enter_context(Child(f"_load.{client_module}", server.address, "1", *watched))
    client.next_line()
    return client
