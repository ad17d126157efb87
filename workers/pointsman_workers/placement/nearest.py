"""The nearest misses of a refusal, and what would help, in words.

A miss is near when one thing is lacking: a free slot (with the time after which one is expected), a
machine that is not too busy, an owner's consent, a lane, readiness, or one single capability.
"""

from collections.abc import Callable, Iterator, Sequence

from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT, STATE_MASK, STATE_SHIFT, NodeState
from pointsman_shm.rules.eligibility import all_failures, usable_types
from pointsman_shm.rules.reasons import LANGUAGE_REASONS, Reason
from pointsman_shm.snapshot.records import CapabilityClass, Requirement
from pointsman_wire.messages import NearestMiss
from pointsman_workers.placement.census import Signature
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kind

NEAREST_MAX = 4
BUSY_MAX = 2  # of them: the others show what else is lacking
SOURCES_SHOWN_MAX = 8
LOOKED_AT_MAX = 32  # busy nodes whose wait is worked out

Group = tuple[Reason, Signature, list[int]]
FreeIn = Callable[[Kind, int], float | None]  # (kind, row) -> ns until a slot is free, if known

# What a node lacks that could do the job otherwise, by the check at which it stopped.
_STATES = {
    Reason.OFFLINE: "being online",
    Reason.NO_LANE: "a connection to this worker",
    Reason.OWNER_PAUSED: "its owner's leave, or its pool's (it is paused)",
    Reason.EXCLUDED: "the request's leave (it is excluded)",
    Reason.MODEL_NOT_AVAILABLE: "its model (it said so a moment ago)",
    Reason.NOT_IN_PUBLIC_POOL: "a pool that may be asked",
    Reason.RESOURCE_THRESHOLD_EXCEEDED: "a calmer machine (its cpu, gpu or memory is too busy)",
}

_FIXES = {
    "no_nodes": "start a node: pointsman node --server HOST:PORT --services ...",
    "offline": "bring the offline nodes back",
    "status_not_ready": "wait for the nodes to become ready, or see why they are not",
    "no_lane": "see the nodes' logs: they have no connection to this worker",
    "resource_threshold_exceeded": (
        "relieve the nodes, add others, or raise nodes.resource_threshold_percent"
    ),
    "owner_paused": "ask the owners to resume their nodes, or resume the pool",
    "not_in_public_pool": "open a node to this tenant (accept_public_jobs, tenant)",
    "gpu_unavailable": "start a node with a GPU, or switch nodes.require_gpu off",
    "excluded": "exclude fewer nodes",
}


def nearest_misses(
    fleet: Fleet, kind: Kind, groups: Sequence[Group], free_in: FreeIn
) -> list[NearestMiss]:
    """At most four: those that are free soonest, then one for each other single lack."""
    full = Reason.CAPACITY_EXCEEDED
    busy = [row for reason, _, rows in groups if reason is full for row in rows]
    misses = _busy_misses(fleet, kind, busy[:LOOKED_AT_MAX], free_in)
    seen: set[str] = set()
    for row, lack in _lacks(fleet, kind, groups):
        if len(misses) >= NEAREST_MAX:
            break
        if lack not in seen:
            seen.add(lack)
            misses.append(
                NearestMiss(node_id=fleet.node_id(row), missing=[lack], instance=fleet.home_of(row))
            )
    return misses


def _busy_misses(
    fleet: Fleet, kind: Kind, rows: Sequence[int], free_in: FreeIn
) -> list[NearestMiss]:
    waits = [(free_in(kind, row), row) for row in rows]
    waits.sort(key=lambda wait: (wait[0] is None, wait[0] or 0.0, wait[1]))
    return [
        NearestMiss(
            node_id=fleet.node_id(row),
            missing=["a free slot"],
            free_in_ms=None if wait_ns is None else max(1, round(wait_ns / 1e6)),
            instance=fleet.home_of(row),
        )
        for wait_ns, row in waits[:BUSY_MAX]
    ]


def _lacks(fleet: Fleet, kind: Kind, groups: Sequence[Group]) -> Iterator[tuple[int, str]]:
    """Nodes that lack one thing only, with that thing in words: of each group the first."""
    requirement, codes = kind.requirement, kind.codes
    for reason, signature, rows in groups:
        number = signature[0] >> CLASS_SHIFT & CLASS_MASK
        capability = fleet.snapshot.class_of(number)
        if reason is Reason.CAPACITY_EXCEEDED or capability is None or number >= len(codes):
            continue
        state = NodeState(signature[0] >> STATE_SHIFT & STATE_MASK)
        if not codes[number]:
            is_unready = reason is Reason.STATUS_NOT_READY
            lack = f"being ready (it is {state.name.lower()})" if is_unready else _STATES[reason]
            yield rows[0], lack
        elif state is NodeState.READY:
            failures = all_failures(capability, requirement, fleet.config.require_gpu)
            if reason is Reason.MODEL_NOT_AVAILABLE:  # which brings its languages along
                failures = tuple(found for found in failures if found not in LANGUAGE_REASONS)
            if failures == (reason,):
                yield rows[0], lack_of(reason, capability, requirement)


def lack_of(reason: Reason, capability: CapabilityClass, requirement: Requirement) -> str:
    """One capability in words."""
    if reason is Reason.MODEL_NOT_AVAILABLE:
        usable = usable_types(capability)
        return f"services {', '.join(name for name in requirement.types if name not in usable)}"
    if reason is Reason.FEATURE_UNSUPPORTED:
        lacking = [name for name in requirement.features if name not in capability.features]
        return f"features {', '.join(lacking)}"
    if reason is Reason.LABEL_MISMATCH:
        pairs = [pair for pair in requirement.labels if pair not in capability.labels]
        return f"labels {_in_words(pairs)}"
    if reason is Reason.NOT_IN_PUBLIC_POOL:
        return f"being open to tenant {requirement.tenant or '(none)'}"
    if reason is Reason.GPU_UNAVAILABLE:
        return "a GPU"
    return _language_lack(reason, requirement)


def _language_lack(reason: Reason, requirement: Requirement) -> str:
    src, tgt = requirement.src, requirement.tgt
    if reason is Reason.LANG_PAIR_UNSUPPORTED:
        return f"translation {src}->{tgt}"
    if reason is Reason.ASR_LANG_UNSUPPORTED:
        return f"recognition of {src}"
    if reason is Reason.TTS_LANG_UNSUPPORTED:
        return f"speech in {tgt}"
    return f"{_any_source(requirement)} for {tgt}"


def _any_source(requirement: Requirement) -> str:
    """What a source of auto stands for, in words."""
    names = requirement.auto_langs
    if not names:
        return "any source language"
    more = f" and {len(names) - SOURCES_SHOWN_MAX} more" if len(names) > SOURCES_SHOWN_MAX else ""
    return f"any source language of {', '.join(names[:SOURCES_SHOWN_MAX])}{more}"


def _in_words(labels: Sequence[tuple[str, str]]) -> str:
    return ", ".join("=".join(pair) for pair in labels)


def what_would_help(best: str, requirement: Requirement, nearest: Sequence[NearestMiss]) -> str:
    """The one thing to do first about a refusal."""
    wanted = "->".join(language for language in (requirement.src, requirement.tgt) if language)
    can = f"{', '.join(requirement.types)}{f' for {wanted}' if wanted else ''}"
    if best == "capacity_exceeded":
        named = f" of {nearest[0].node_id}" if nearest else ""
        return f"add nodes that can do {can}, or raise max_concurrency{named} if its machine allows"
    if best == "model_not_available":
        return f"start {', '.join(requirement.types)} on one node"
    if best == "no_eligible_pool":
        return f"add a pool whose nodes can do {can}, or switch pools.strict_eligibility off"
    if best == "src_auto_no_candidate" and requirement.auto_langs:
        return f"start a node that can do {can}, from {_any_source(requirement)}, or name others"
    if best == "feature_unsupported":
        return f"start a node that supports {', '.join(requirement.features)}"
    if best == "label_mismatch":
        return f"start a node labelled {_in_words(requirement.labels)}, or ask for other labels"
    return _FIXES.get(best) or f"start a node that can do {can}"
