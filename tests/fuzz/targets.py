"""Everything that is fuzzed, by the id under which its runs are counted."""

from collections.abc import Callable
from typing import NamedTuple

from fuzz import browsers, cores, decoders, files, memory
from fuzz.decoders import Feed

from pointsman_wire.control_messages import ToManager, ToNode
from pointsman_wire.lane_messages import LaneToNode, LaneToWorker
from pointsman_wire.session_messages import ToClient, ToWorker


class Target(NamedTuple):
    """`make` returns a fresh feed; `seeds` the corpus that cases are made from."""

    id: str
    make: Callable[[], Feed]
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Target] = {
    "framing": Target("N13", decoders.framing, decoders.all_frames),
    "messages": Target("N13", decoders.messages, decoders.all_frames),
    "beginnings": Target("N13", decoders.beginnings, decoders.preambles),
    "web": Target("N13", browsers.browsers, browsers.seeds),
    "worker_from_client": Target(
        "N13", cores.worker_from_client, lambda: cores.started_frames(ToWorker)
    ),
    "worker_from_node": Target(
        "N10", cores.worker_from_node, lambda: cores.started_frames(LaneToWorker)
    ),
    "manager": Target("N10", cores.manager, lambda: cores.started_frames(ToManager)),
    "node_from_manager": Target(
        "N13", cores.node_from_manager, lambda: cores.started_frames(ToNode)
    ),
    "node_from_worker": Target(
        "N13", cores.node_from_worker, lambda: cores.started_frames(LaneToNode)
    ),
    "client": Target("N13", cores.client, lambda: cores.started_frames(ToClient)),
    "admin": Target("N13", cores.admin, cores.queries),
    "config": Target("P13", files.config, files.configs),
    "registry": Target("C4", files.registry, files.registries),
    "journal": Target("C5", files.journal, files.segments),
    "catalog": Target("S4", memory.catalog, memory.writes),
    "pages": Target("S4", memory.pages, memory.encoded_pages),
}
