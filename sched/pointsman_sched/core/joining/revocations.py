"""Revoking a name: no key proves it from now on, here and, where there is Redis, at all instances.

    revoke NAME --> a key that nobody has, in the registry; its node is ended
                --> in this instance's presence, until 256 newer ones push it out
    another instance's presence --> the same here, recorded, unless something newer is known

Which of two words about a name is newer tells its epoch.  The node may have registered elsewhere
since it was last told of, each time one epoch higher: so a revocation steps over many.
"""

from typing import Annotated

import msgspec

from pointsman_sched.core.events import RegistryEntry
from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.joining.identities import EPOCH_MAX
from pointsman_sched.core.lifecycle import change
from pointsman_sched.core.state import ManagementState
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.control_messages import ValidNodeId
from pointsman_wire.errors import Code

KEY_BYTES = 32
TOLD_MAX = 256
# More than a node can register before its certificate is over, were nobody told of it meanwhile.
EPOCHS_STEPPED_OVER = 2**20


class RevokedTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A revocation, as instances tell it to each other."""

    node_id: Annotated[ValidNodeId, msgspec.Meta(min_length=1)]
    key_hash: Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=64)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**62)]


def revoke(state: ManagementState, node_id: str) -> bool:
    """Let no key prove a name, and tell the others; return whether its node was connected here."""
    epoch = min(EPOCH_MAX, state.identities.epoch_of(node_id) + EPOCHS_STEPPED_OVER)
    entry = RegistryEntry(node_id, state.setup.entropy(KEY_BYTES), epoch, True)
    told = state.revoked_told
    told.pop(node_id, None)
    told[node_id] = entry
    if len(told) > TOLD_MAX:
        del told[next(iter(told))]
    return _take(state, entry, "revoked by an operator")


def take_revocations(
    state: ManagementState, instance: str, revoked: tuple[RevokedTold, ...]
) -> None:
    """Revoke what another instance has revoked, unless something newer is known here."""
    for told in revoked:
        if state.identities.epoch_of(told.node_id) < told.epoch:
            entry = RegistryEntry(told.node_id, told.key_hash, told.epoch, True)
            _take(state, entry, f"revoked by an operator of instance {instance}")


def told_revocations(state: ManagementState) -> tuple[RevokedTold, ...]:
    """Return what the others are told."""
    found = state.revoked_told.values()
    return tuple(RevokedTold(entry.node_id, entry.key_hash, entry.epoch) for entry in found)


def _take(state: ManagementState, entry: RegistryEntry, words: str) -> bool:
    node_id = entry.node_id
    state.remember(entry)
    state.outbox.record(entry)
    state.stats.add(Counter.REVOCATIONS)
    node = state.nodes.by_id.get(node_id)
    if node is None or not node.is_live or node.instance:
        return False
    if node.connection is not None:
        complaint = f"node {node_id!r} was {words}"
        state.outbox.complain(node.connection, Code.UNAUTHORIZED, complaint)
    change(state, node, Verb.END, words)
    return True
