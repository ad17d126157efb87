"""The instances as an operator sees them."""

from pointsman_sched.core.federation.followed import Followed
from pointsman_sched.core.state import ManagementState
from pointsman_wire.queries.fleet_messages import InstanceLine, Instances


def instances(state: ManagementState) -> Instances:
    """Return all instances that are known, the own one first."""
    federation = state.federation
    if federation is None:
        return Instances(instances=[_own(state, settings_version=0, leads=False)])
    settings = federation.settings
    leader = federation.leader
    own = _own(state, settings_version=settings.version, leads=leader == state.setup.instance)
    known = federation.neighbours.by_name
    others = [_line(state, known[name], leads=leader == name) for name in sorted(known)]
    return Instances(
        instances=[own, *others],
        shared=True,
        trouble=federation.trouble,
        settings_version=settings.version,
        settings_by=settings.by,
        settings_trouble=settings.trouble,
    )


def _own(state: ManagementState, *, settings_version: int, leads: bool) -> InstanceLine:
    setup = state.setup
    return InstanceLine(
        name=setup.instance,
        uid=setup.instance_uid,
        state="self",
        nodes=state.nodes.live_count,
        workers=setup.worker_count,
        version=setup.server_version,
        addresses=[setup.address] if setup.address else [],
        settings_version=settings_version,
        leads=leads,
    )


def _line(state: ManagementState, other: Followed, *, leads: bool) -> InstanceLine:
    living = "silent" if other.is_aged else "alive"
    return InstanceLine(
        name=other.name,
        uid=other.uid,
        state=living if other.is_alive else "gone",
        nodes=other.node_count,
        workers=other.worker_count,
        heard_age_ms=max(0, state.clock_ns - other.heard_at_ns) / 1e6,
        version=other.software,
        addresses=[*other.addresses],
        settings_version=other.settings_version,
        leads=leads,
    )
