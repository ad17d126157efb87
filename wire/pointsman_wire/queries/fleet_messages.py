"""Queries about the fleet as a whole, its pools and its instances; the manager answers."""

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


class PoolsQuery(Message, tag="pools_query", frozen=True):
    """Which pools are there, and who is in them?"""


class PoolLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One pool: what it demands of its nodes, and how many there are."""

    id: int
    name: str = ""
    services: list[str] = []
    languages: list[str] = []
    nodes: int = 0
    ready: int = 0
    paused: bool = False


class Pools(Message, tag="pools", frozen=True, kw_only=True):
    """All pools by number; paused: no jobs are taken at all."""

    pools: list[PoolLine] = []
    mode: str = ""
    paused: bool = False
    snapshot_version: int = 0
