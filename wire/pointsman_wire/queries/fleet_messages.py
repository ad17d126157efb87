"""The query about the instances that share a fleet, and its answer; the manager gives it."""

import msgspec

from pointsman_wire.messages import Message


class InstancesQuery(Message, tag="instances_query", frozen=True):
    """Which instances share the fleet?"""


class InstanceLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One instance; state is self, alive, silent (not heard for some seconds) or gone."""

    name: str
    uid: str = ""
    state: str = ""
    nodes: int = 0
    workers: int = 0
    heard_age_ms: float = 0.0
    version: str = ""
    addresses: list[str] = []
    settings_version: int = 0
    leads: bool = False


class Instances(Message, tag="instances", frozen=True, kw_only=True):
    """All instances that are known, the own one first.

    shared: False on an instance that is on its own.  settings_version and settings_by name the
    pools and catalogue in force and whose they are.  trouble says why the others are not heard,
    settings_trouble why the fleet's settings are not in force here.
    """

    instances: list[InstanceLine]
    shared: bool = False
    trouble: str = ""
    settings_version: int = 0
    settings_by: str = ""
    settings_trouble: str = ""
