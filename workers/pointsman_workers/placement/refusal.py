"""Why nobody: every node of the fleet is counted once, at the first check that it fails.

The cost is one look at each node, so equal refusals within a quarter of a second share one answer.
"""

import msgspec

from pointsman_shm.rules.eligibility import all_failures
from pointsman_shm.rules.reasons import REASON_COUNT, Reason, best_reason_label
from pointsman_shm.snapshot.records import CapabilityClass, Requirement
from pointsman_wire.messages import Breakdown, NearestMiss
from pointsman_workers.placement.checks import first_failed_check
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.ranking import Ranking
from pointsman_workers.placement.selection import read

NAMES_MAX = 32
NEAREST_MAX = 4
SHARED_NS = 250_000_000
SHARED_MAX = 256

# The order of the checks, which is the order of the funnel.
CHECKS: tuple[tuple[str, tuple[Reason, ...]], ...] = (
    ("ready", (Reason.OFFLINE, Reason.STATUS_NOT_READY)),
    ("lane to this worker", (Reason.NO_LANE,)),
    ("gpu", (Reason.GPU_UNAVAILABLE,)),
    ("open to the tenant", (Reason.NOT_IN_PUBLIC_POOL,)),
    ("services", (Reason.MODEL_NOT_AVAILABLE,)),
    ("features", (Reason.FEATURE_UNSUPPORTED,)),
    ("labels", (Reason.LABEL_MISMATCH,)),
    ("owner's policy", (Reason.OWNER_PAUSED,)),
    (
        "languages",
        (
            Reason.LANG_PAIR_UNSUPPORTED,
            Reason.ASR_LANG_UNSUPPORTED,
            Reason.TTS_LANG_UNSUPPORTED,
            Reason.SRC_AUTO_NO_CANDIDATE,
        ),
    ),
    ("not excluded", (Reason.EXCLUDED,)),
    ("free slot", (Reason.CAPACITY_EXCEEDED,)),
    ("resources", (Reason.RESOURCE_THRESHOLD_EXCEEDED,)),
)

_FIXES = {
    "no_nodes": "start a node: pointsman node --server HOST:PORT --engines speech",
    "no_eligible_pool": "add a pool for these services, or switch pools.strict_eligibility off",
    "offline": "bring the offline nodes back",
    "status_not_ready": "wait for the nodes to become ready, or see why they are not",
    "no_lane": "see the nodes' logs: they have no connection to this worker",
    "model_not_available": "start the missing services on a node",
    "capacity_exceeded": "add nodes, or raise max_concurrency where the machine allows it",
    "resource_threshold_exceeded": "relieve the nodes or add others",
    "feature_unsupported": "start a node that supports these features",
    "owner_paused": "ask the owners to resume their nodes",
    "not_in_public_pool": "open a node to this tenant (accept_public_jobs, tenant)",
    "gpu_unavailable": "start a node with a GPU, or switch nodes.require_gpu off",
    "label_mismatch": "start a node with these labels, or ask for others",
    "excluded": "exclude fewer nodes",
}


class Refusal(msgspec.Struct, frozen=True):
    """A breakdown, and whether capable nodes exist that merely are busy."""

    breakdown: Breakdown
    is_busy: bool
    computed_at_ns: int


class Refusals:
    """Computes and shares refusals."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._shared: dict[tuple[Requirement, frozenset[int]], Refusal] = {}

    def explain(
        self, kind: Kind, excluded: frozenset[int], *, strict_left_none: bool = False
    ) -> Refusal:
        """Return why no node took a job of this kind, now or a moment ago."""
        key = (kind.requirement, excluded)
        known = self._shared.get(key)
        if known is not None and known.computed_at_ns + SHARED_NS > self._fleet.now_ns:
            return known
        if len(self._shared) >= SHARED_MAX:
            self._shared.clear()
        refusal = self._compute(kind, excluded, strict_left_none=strict_left_none)
        self._shared[key] = refusal
        return refusal

    def _compute(self, kind: Kind, excluded: frozenset[int], *, strict_left_none: bool) -> Refusal:
        fleet = self._fleet
        counts = [0] * REASON_COUNT
        names: dict[str, list[str]] = {}
        nearest: list[NearestMiss] = []
        total = 0
        for page in fleet.snapshot.node_pages:
            for record in page:
                if record is None:
                    continue
                total += 1
                (reading,) = read(fleet, kind, (record.row,))
                ranking = Ranking(excluded, is_stale=fleet.is_stale)
                reason = first_failed_check(reading, kind.judgement, ranking)
                if reason is None:
                    # It could by now: a slot was freed since the search; the counters still add up.
                    reason = Reason.CAPACITY_EXCEEDED
                counts[reason] += 1
                listed = names.setdefault(reason.label, [])
                if len(listed) < NAMES_MAX:
                    listed.append(record.node_id)
                if len(nearest) < NEAREST_MAX:
                    nearest += self._near(kind, record.row, record.node_id, reason)
        best = best_reason_label(counts, total, strict_left_none=strict_left_none)
        breakdown = Breakdown(
            total_nodes=total,
            best_reason=best,
            counts={reason.label: counts[reason] for reason in Reason if counts[reason]},
            funnel=_funnel(counts, total),
            nodes=names,
            nearest=nearest,
            fix=_FIXES.get(best) or _language_fix(kind.requirement),
        )
        is_busy = bool(
            counts[Reason.CAPACITY_EXCEEDED] or counts[Reason.RESOURCE_THRESHOLD_EXCEEDED]
        )
        return Refusal(breakdown, is_busy, fleet.now_ns)

    def _near(self, kind: Kind, row: int, node_id: str, reason: Reason) -> list[NearestMiss]:
        """A node that lacks one thing only, with that thing in words."""
        if reason in (Reason.CAPACITY_EXCEEDED, Reason.RESOURCE_THRESHOLD_EXCEEDED):
            return [NearestMiss(node_id=node_id, missing=[reason.label])]
        capability = self._fleet.capability(row)
        if capability is None:
            return []
        failures = all_failures(capability, kind.requirement, self._fleet.config.require_gpu)
        if len(failures) != 1 or failures[0] is not reason:
            return []
        return [NearestMiss(node_id=node_id, missing=[_missing(reason, capability, kind)])]


def _funnel(counts: list[int], total: int) -> list[tuple[str, int]]:
    """How many nodes are left after each check that stopped some."""
    left = total
    funnel = [("registered", total)]
    for name, reasons in CHECKS:
        stopped = sum(counts[reason] for reason in reasons)
        left -= stopped
        if stopped:
            funnel.append((name, left))
    return funnel


def _missing(reason: Reason, capability: CapabilityClass, kind: Kind) -> str:
    requirement = kind.requirement
    if reason is Reason.MODEL_NOT_AVAILABLE:
        lacking = [name for name in requirement.types if name not in capability.types_ready]
        return f"services {', '.join(lacking)}"
    if reason is Reason.FEATURE_UNSUPPORTED:
        lacking = [name for name in requirement.features if name not in capability.features]
        return f"features {', '.join(lacking)}"
    if reason is Reason.LANG_PAIR_UNSUPPORTED:
        return f"translation {requirement.src}->{requirement.tgt}"
    if reason is Reason.ASR_LANG_UNSUPPORTED:
        return f"recognition of {requirement.src}"
    if reason is Reason.TTS_LANG_UNSUPPORTED:
        return f"speech in {requirement.tgt}"
    return reason.label


def _language_fix(requirement: Requirement) -> str:
    wanted = "->".join(language for language in (requirement.src, requirement.tgt) if language)
    types = ", ".join(requirement.types)
    return f"start a node that can do {types} for {wanted or 'these languages'}"
