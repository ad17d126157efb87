"""Arrivals in real time: a real service, nodes that hold their slots, a client that waits."""

from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
from _shared.processes import ANSWER_S, Child
from _shared.service import watched_service

from _replay.fleets import Watched
from _replay.traces import Arrival


def run_live(arrivals: Sequence[Arrival], node_count: int) -> Watched:
    """Replay the arrivals on a service with one worker, as installed.  Raises ChildTrouble."""
    with ExitStack() as stack:
        service = stack.enter_context(watched_service(1))
        nodes = stack.enter_context(Child("_replay.live_nodes", service.address, str(node_count)))
        nodes.next_line()
        client = stack.enter_context(Child("_replay.live_client", service.address))
        client.next_line()
        client.say(msgspec.json.encode(arrivals).decode())
        answer = client.next_line(ANSWER_S + arrivals[-1].at_s)
    return msgspec.json.decode(answer, type=Watched)
