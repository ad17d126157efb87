"""Coverage: for each kind of work how many live nodes there are, and which work hangs on one.

A kind of work is (service, source, target, feature, tenant).  Services are the types of the
catalogue and its default pipeline as a whole, written asr+nmt+tts.  The tenant "" stands for
everybody; a tenant that has nodes of its own has lines of its own, in which both count.

Pure: the caller says what stocks there are.  The work is bounded; lines with a feature are counted
last, so that they are the first to be left out.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from pointsman_shm.rules.eligibility import usable_types
from pointsman_shm.rules.languages import NmtRule, can_translate, nmt_sources
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    LanguageAbility,
    NmtAbility,
)

ADDITIONS_MAX = 10_000
LOOKS_MAX = 20_000  # at pairs of languages

Types = tuple[str, ...]
Pair = tuple[str, str]  # source and target, "" where the service is indifferent to it


class Stock(NamedTuple):
    """The live nodes of one class: how many, their slots, and the name of one of them."""

    capability: CapabilityClass
    nodes: int
    slots: int
    free: int
    node_id: str


class Wanted(msgspec.Struct, frozen=True):
    """Which lines are wanted; what is empty lets everything through."""

    service: str = ""
    src: str = ""
    tgt: str = ""
    feature: str = ""
    tenant: str = ""


class Covered(NamedTuple):
    """One kind of work, and who can do it; `node_id` is set when only one can."""

    service: str
    src: str
    tgt: str
    feature: str
    tenant: str
    nodes: int
    slots: int
    free: int
    node_id: str


Work = tuple[str, str, str, str]  # service, source, target, feature
Sum = list[int]  # nodes, slots, free


class _Counting:
    """Sums by work and owner ("" = open to everybody), within a bound."""

    def __init__(self, pipeline: Sequence[str], wanted: Wanted) -> None:
        self.pipeline = tuple(pipeline)
        self.wanted = wanted
        self.sums: dict[Work, dict[str, tuple[Sum, str]]] = {}
        self.additions_left = ADDITIONS_MAX
        self.looks_left = LOOKS_MAX
        self._pairs: dict[tuple[LanguageAbility, Types], list[Pair]] = {}

    def add(self, work: Work, stock: Stock) -> None:
        """Count a stock for a kind of work."""
        self.additions_left -= 1
        if self.additions_left < 0:
            return
        owners = self.sums.setdefault(work, {})
        owner = owner_of(stock.capability)
        known = owners.get(owner)
        if known is None:
            owners[owner] = ([stock.nodes, stock.slots, stock.free], stock.node_id)
        else:
            for at, more in enumerate((stock.nodes, stock.slots, stock.free)):
                known[0][at] += more

    def pairs(self, ability: LanguageAbility, types: Types) -> list[Pair]:
        """The wanted pairs that a node can do for these services together, within a bound."""
        found = self._pairs.get((ability, types))
        if found is None:
            found = self._pairs[ability, types] = []
            wanted = self.wanted
            for src, tgt in _conceivable_pairs(ability, types):
                if wanted.src not in ("", src) or wanted.tgt not in ("", tgt):
                    continue
                self.looks_left -= 1
                if self.looks_left < 0:
                    break
                if _can_do(ability, types, src=src, tgt=tgt):
                    found.append((src, tgt))
        return found


def cover(
    stocks: Sequence[Stock], pipeline: Sequence[str], wanted: Wanted
) -> tuple[list[Covered], bool]:
    """Return what is covered, sorted, and whether something was left out to stay within bounds.

    `pipeline` is the catalogue's default services.
    """
    counting = _Counting(pipeline, wanted)
    for has_feature in (False, True):
        for stock in stocks:
            if wanted.tenant in ("", owner_of(stock.capability)) or stock.capability.public:
                _count(counting, stock, has_feature=has_feature)
    lines = [line for work, owners in counting.sums.items() for line in _lines(work, owners)]
    if wanted.tenant:
        lines = _of_tenant(lines, wanted.tenant)
    return sorted(lines), counting.additions_left < 0 or counting.looks_left < 0


def _count(counting: _Counting, stock: Stock, *, has_feature: bool) -> None:
    """Count everything that a class can do, of what is wanted."""
    capability, wanted = stock.capability, counting.wanted
    features = capability.features if has_feature else ("",)
    if wanted.feature:
        features = tuple(name for name in features if name == wanted.feature)
    for types in _groups(capability, counting.pipeline) if features else ():
        service = "+".join(types)
        if wanted.service not in ("", service):
            continue
        for src, tgt in counting.pairs(capability.languages, types):
            for feature in features:
                counting.add((service, src, tgt, feature), stock)


def _groups(capability: CapabilityClass, pipeline: Types) -> list[Types]:
    """Each service by itself, and the pipeline if it is whole here."""
    usable = usable_types(capability)
    groups: list[Types] = [(name,) for name in usable]
    if len(pipeline) > 1 and all(name in usable for name in pipeline):
        groups.append(pipeline)
    return groups


def owner_of(capability: CapabilityClass) -> str:
    """The tenant that alone may use a class, "" when everybody may."""
    return "" if capability.public else capability.tenant


def _of_tenant(lines: list[Covered], tenant: str) -> list[Covered]:
    """What one tenant has: its own lines, and those for everybody where it has none."""
    own = {line[:4] for line in lines if line.tenant == tenant}
    return [line for line in lines if line.tenant == tenant or line[:4] not in own]


def _lines(work: Work, owners: dict[str, tuple[Sum, str]]) -> Iterator[Covered]:
    (nodes, slots, free), node_id = owners.get("", ([0, 0, 0], ""))
    if nodes:
        yield Covered(*work, "", nodes, slots, free, node_id if nodes == 1 else "")
    for owner, (own, own_id) in owners.items():
        if owner:
            count = nodes + own[0]
            name = own_id if count == 1 else ""
            yield Covered(*work, owner, count, slots + own[1], free + own[2], name)


def _conceivable_pairs(ability: LanguageAbility, types: Types) -> Iterator[Pair]:
    """Pairs that may be possible; each is looked at before it counts."""
    has_source = "asr" in types or "nmt" in types
    has_target = "tts" in types or "nmt" in types
    if not has_source and not has_target:
        languages = ability.semantic if types == ("semantic",) else ("",)
        yield from ((language, "") for language in languages)
        return
    sources = ability.asr if "asr" in types else _sources(ability.nmt)
    targets = ability.tts if "tts" in types else _targets(ability.nmt)
    for src in sources if has_source else ("",):
        for tgt in targets if has_target else ("",):
            yield src, tgt


def _can_do(ability: LanguageAbility, types: Types, *, src: str, tgt: str) -> bool:
    """What languages.language_failure says of a conceivable pair, for a tenth of its cost."""
    if "nmt" in types and (src == tgt or not can_translate(ability.nmt, src, tgt)):
        return False  # nobody asks for a translation into the same language
    if "semantic" in types:
        return all(language in ability.semantic for language in (src, tgt) if language)
    return True


def _targets(nmt: NmtAbility) -> tuple[str, ...]:
    if nmt.rule == NmtRule.SPECIFIC_PAIRS:
        return tuple(sorted({tgt for _, tgt in nmt.pairs}))
    return ("en",) if nmt.rule == NmtRule.ANY_TO_EN else nmt.languages


def _sources(nmt: NmtAbility) -> tuple[str, ...]:
    return tuple(sorted({src for tgt in _targets(nmt) for src in nmt_sources(nmt, tgt)}))
