"""A manager begins among the other instances, over what its predecessor left of them.

Remote rows that were recovered stay as they are: their instances have a presence's length to show
that they live, and when all that they show was read, rows that nobody told of are lost.  A manager
that is on its own by now drops them at once.
"""

from pointsman_sched.core.federation.merging import lose_remote
from pointsman_sched.core.federation.neighbours import Neighbours
from pointsman_sched.core.federation.rounds import Federation
from pointsman_sched.core.state import ManagementState
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.records import InstanceRecord


def begin_federation(state: ManagementState) -> None:
    """Make the federation of a state that was recovered, if it has one."""
    settings = state.setup.federation
    if settings is None:
        for node in [*state.nodes.remote.values()]:
            lose_remote(state, node, "this instance is on its own now")
        return
    neighbours = Neighbours(settings.presence_ns, state.clock_ns)
    neighbours.restore(_known_before(state), state.clock_ns)
    federation = Federation(settings, state, neighbours)
    known = neighbours.by_name
    for node in [*state.nodes.remote.values()]:
        if node.instance not in known:
            lose_remote(state, node, f"nothing is known of instance {node.instance}")
    for node in state.nodes.by_id.values():
        if node.is_live and not node.instance:
            federation.shown.note_record(node.row)
    state.federation = federation
    state.dirty.add(state.layout.policy)


def _known_before(state: ManagementState) -> tuple[InstanceRecord, ...]:
    pages = state.setup.memory.catalog.pages()
    policy = pages.get(state.layout.policy)
    return codec.decode_policy(policy).instances if policy is not None else ()
