"""The slow reference of selection: who may take a job, who is asked first, and why nobody.

    checks of a node, in their order:  ready -> lane -> gpu -> public or same tenant -> types
    installed, ready, not marked -> features -> labels -> owner -> languages -> not excluded ->
    free slot -> resources

A fleet is a list of nodes with everything that is true of them now.  Nothing is remembered between
questions, and nothing is shared with the code under test but its records and its configuration.
"""

from collections.abc import Mapping, Sequence

import msgspec
from placement.reference_pools import (
    Bound,
    Member,
    Plan,
    Pool,
    is_two_level,
    plan,
    pools_of_fleet,
    types_of,
)
from placement.reference_rules import Wish, language_fault, usable

from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.snapshot.records import CapabilityClass

ORDER = (
    "offline",
    "status_not_ready",
    "not_in_public_pool",
    "gpu_unavailable",
    "model_not_available",
    "capacity_exceeded",
    "resource_threshold_exceeded",
    "lang_pair_unsupported",
    "asr_lang_unsupported",
    "tts_lang_unsupported",
    "src_auto_no_candidate",
    "feature_unsupported",
    "label_mismatch",
    "owner_paused",
    "excluded",
    "no_lane",
)

BUSY = ("capacity_exceeded", "resource_threshold_exceeded")


class Fact(msgspec.Struct, kw_only=True):
    """One node and all that is true of it."""

    row: int
    capability: CapabilityClass
    slots: int = 1
    state: NodeState = NodeState.READY
    has_lane: bool = True
    is_paused: bool = False
    is_overloaded: bool = False
    held: int = 0
    foreign: int = 0
    marks: tuple[tuple[str, str, int], ...] = ()  # service, version, until when

    @property
    def node_id(self) -> str:
        """Its name."""
        return f"node-{self.row}"

    @property
    def is_online(self) -> bool:
        """Is it anything but Offline?"""
        return self.state is not NodeState.OFFLINE

    @property
    def load(self) -> float:
        """Effective load."""
        return (self.held + self.foreign) / self.slots


class World(msgspec.Struct, kw_only=True):
    """The fleet at one instant; `number_of` names the automatic pools."""

    config: Config
    facts: Sequence[Fact]
    now_ns: int
    number_of: Mapping[frozenset[str], int] = {}

    def members(self) -> list[Member]:
        """The nodes as pools see them."""
        return [
            Member(node_id=fact.node_id, capability=fact.capability, is_online=fact.is_online)
            for fact in self.facts
        ]

    def pools(self) -> list[Pool]:
        """All pools."""
        return pools_of_fleet(self.members(), self.config, self.number_of)

    def types(self, wish: Wish) -> set[str]:
        """What the request needs here."""
        return types_of(wish, self.members(), self.config)

    def is_two_level(self) -> bool:
        """Do pools matter?"""
        return is_two_level(self.members(), self.config)

    def plan(self, wish: Wish, bound: Bound | None) -> Plan:
        """The session decision."""
        return plan(self.pools(), self.types(wish), wish, bound, self.config)

    def in_pool(self, number: int) -> list[Fact]:
        """The nodes of a pool."""
        names = {
            member.node_id
            for pool in self.pools()
            if pool.number == number
            for member in pool.members
        }
        return [fact for fact in self.facts if fact.node_id in names]

    def fault(self, fact: Fact, wish: Wish) -> str:
        """The counter of the first check that a node fails, "" when it can take the job now."""
        capability, types = fact.capability, self.types(wish)
        tenant = capability.tenant == wish.tenant
        checks = (
            ("offline", fact.is_online),
            ("status_not_ready", fact.state is NodeState.READY),
            ("no_lane", fact.has_lane),
            ("gpu_unavailable", capability.gpu or not self.config.nodes.require_gpu),
            ("not_in_public_pool", (capability.public and wish.accept_public) or tenant),
            ("model_not_available", types <= usable(capability)),
            ("model_not_available", not self._marked(fact, types)),
            ("feature_unsupported", set(wish.features) <= set(capability.features)),
            ("label_mismatch", set(wish.labels) <= set(capability.labels)),
            ("owner_paused", not fact.is_paused),
        )
        for name, is_fine in checks:
            if not is_fine:
                return name
        spoken = language_fault(capability.languages, types, wish)
        if spoken:
            return spoken
        if fact.node_id in wish.exclude:
            return "excluded"
        if fact.held >= fact.slots:
            return "capacity_exceeded"
        return "resource_threshold_exceeded" if fact.is_overloaded else ""

    def _marked(self, fact: Fact, types: set[str]) -> bool:
        """Does a mark in force name a needed service in the version that the node has?"""
        versions = dict(fact.capability.versions)
        return any(
            service in types and until_ns > self.now_ns and version in ("", versions.get(service))
            for service, version, until_ns in fact.marks
        )

    def able(self, facts: Sequence[Fact], wish: Wish) -> list[Fact]:
        """Those that can take the job now."""
        return [fact for fact in facts if self.fault(fact, wish) == ""]

    def groups(self, asked: Plan | None) -> list[list[Fact]]:
        """The nodes to ask, pool after pool; in single-level the whole fleet at once."""
        if asked is None:
            return [list(self.facts)]
        return [self.in_pool(number) for number in asked.numbers]

    def counted(self, asked: Plan | None) -> list[Fact]:
        """The nodes of which a refusal speaks.

        Those of the pools that were asked and of the bound one, and those in no pool; all, when
        strict eligibility left no pool to ask.
        """
        if asked is None or asked.strict_left_none:
            return list(self.facts)
        numbers = {*asked.numbers, *([asked.bound.number] if asked.bound else [])}
        rows = {fact.row for number in numbers for fact in self.in_pool(number)}
        rows |= {fact.row for fact in self.facts if not fact.is_online}
        return [fact for fact in self.facts if fact.row in rows]

    def faults(self, asked: Plan | None, wish: Wish) -> dict[str, str]:
        """Node -> what a refusal counts it under; one fit for it is in no pool that was asked."""
        return {
            fact.node_id: self.fault(fact, wish) or "not_in_public_pool"
            for fact in self.counted(asked)
        }

    def is_busy(self, asked: Plan | None, wish: Wish) -> bool:
        """Could somebody who was asked do it with more room?"""
        return any(self.fault(fact, wish) in BUSY for group in self.groups(asked) for fact in group)


def best_reason(counts: Mapping[str, int], asked: Plan | None) -> str:
    """The one reason that a refusal shows."""
    total = sum(counts.values())
    if total == 0:
        return "no_nodes"
    if asked is not None and asked.strict_left_none:
        return "no_eligible_pool"
    most = max(counts.values())
    return next(name for name in ORDER if counts.get(name) == most)
