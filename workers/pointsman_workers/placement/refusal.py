"""Why nobody: every node that was asked is counted once, at the first check that it fails.

Asked are the nodes of the pools of the session's decision, those that the core cache skipped among
them.  Counted as well is who could not be asked: the nodes of the pool that the session is bound
to and that was passed over, and those in no pool, because they are Offline; and the whole fleet
when strict eligibility left no pool.  Such a node makes nobody wait, and if nothing else is wrong
with it, it is `not_in_public_pool`: in no pool that may be asked.  In single-level the whole fleet
is asked.

Equal refusals within a quarter of a second share one answer; different ones share the census.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from pointsman_shm.rules.reasons import BUSY_REASONS, REASON_COUNT, Reason, best_reason_label
from pointsman_shm.rules.session_pool import PoolDecision
from pointsman_shm.snapshot.fleet_index import NO_POOL
from pointsman_shm.snapshot.records import Requirement
from pointsman_wire.messages import Breakdown
from pointsman_workers.core.state import Job
from pointsman_workers.placement.census import Censuses
from pointsman_workers.placement.checks import (
    ANYWHERE,
    MARKED_BIT,
    Judgement,
    Ranking,
    first_failed_check,
)
from pointsman_workers.placement.deciding import decide_pools_of, named_rows
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.nearest import FreeIn, Group, nearest_misses, what_would_help

NAMES_MAX = 32
SHARED_NS = 250_000_000
SHARED_MAX = 256
EVIDENCE_MAX = 512

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


Judged = tuple[bool, Group]  # was it asked?


class Scope(NamedTuple):
    """Of which nodes a refusal speaks: those of the pools asked, and some beside them."""

    asked: frozenset[int | None] = frozenset({None})  # None: the whole fleet
    beside: frozenset[int | None] = frozenset()
    strict_left_none: bool = False


WHOLE_FLEET = Scope()


def scope_of(decision: PoolDecision | None) -> Scope:
    """The nodes that a decision asked; None: it was single-level."""
    if decision is None:
        return WHOLE_FLEET
    if decision.strict_left_none:
        return Scope(frozenset(), frozenset({None}), strict_left_none=True)
    asked = frozenset((*decision.pools, *decision.skipped))
    bound = {decision.binding.pool_id} if decision.binding is not None else set()
    return Scope(asked, frozenset({*bound, NO_POOL}) - asked)


# What was judged: the reason, standing word, ledger sum, lane's generation, how many such nodes,
# the row of one of them, and whether they were asked.
Evidence = tuple[int, int, int, int, int, int, bool]


class Refusal(msgspec.Struct, frozen=True):
    """A breakdown, and whether capable nodes exist that merely are busy."""

    breakdown: Breakdown
    is_busy: bool
    computed_at_ns: int
    version: int  # of the snapshot under which it was computed; those that share it may be later
    evidence: tuple[Evidence, ...] = ()  # all that the counts come from, unless it is too much
    evidence_left_out: int = 0
    ranking: Ranking = ANYWHERE  # under which they were judged
    barred: tuple[int, ...] = ()  # rows among the evidence that a mark kept out, then


class Refusals:
    """Computes and shares refusals; `computed_count` is how many were computed."""

    def __init__(self, fleet: Fleet, free_in: FreeIn) -> None:
        self._fleet = fleet
        self.free_in = free_in
        self._shared: dict[tuple[Requirement, frozenset[int], Scope], Refusal] = {}
        self.censuses = Censuses(fleet)
        self.computed_count = 0

    def of_job(self, job: Job) -> Refusal:
        """Return why no node takes this job."""
        fleet = self._fleet
        fleet.prepare(job.kind)
        if job.decision is None:
            job.decision = decide_pools_of(fleet, job)  # it has only waited behind others so far
        return self.explain(job.kind, named_rows(fleet, job), scope_of(job.decision))

    def explain(self, kind: Kind, excluded: frozenset[int], scope: Scope = WHOLE_FLEET) -> Refusal:
        """Return why no node took a job of this kind, now or a moment ago."""
        key = (kind.requirement, excluded, scope)
        known = self._shared.get(key)
        if known is not None and known.computed_at_ns + SHARED_NS > self._fleet.now_ns:
            return known
        if len(self._shared) >= SHARED_MAX:
            self._shared.clear()
        refusal = self._shared[key] = self._compute(kind, excluded, scope)
        return refusal

    def _compute(self, kind: Kind, excluded: frozenset[int], scope: Scope) -> Refusal:
        fleet = self._fleet
        self.computed_count += 1
        ranking = judging(fleet, kind, excluded)
        judged = list(self._judged(kind, ranking, scope))
        groups = [group for _, group in judged]
        counts = [0] * REASON_COUNT
        rows: dict[str, list[int]] = {}
        for reason, _, members in groups:
            counts[reason] += len(members)
            rows.setdefault(reason.label, []).extend(members[:NAMES_MAX])
        total = sum(counts)
        best = best_reason_label(counts, total, strict_left_none=scope.strict_left_none)
        nearest = nearest_misses(fleet, kind, groups, self.free_in)
        breakdown = Breakdown(
            total_nodes=total,
            best_reason=best,
            counts={reason.label: counts[reason] for reason in Reason if counts[reason]},
            funnel=_funnel(counts, total),
            nodes={
                label: [fleet.node_id(row) for row in sorted(found)[:NAMES_MAX]]
                for label, found in rows.items()
            },
            nearest=nearest,
            fix=what_would_help(best, kind.requirement, nearest),
        )
        is_busy = any(is_asked and group[0] in BUSY_REASONS for is_asked, group in judged)
        evidence = tuple(
            (reason.value, *signature, len(members), members[0], is_asked)
            for is_asked, (reason, signature, members) in judged[:EVIDENCE_MAX]
        )
        return Refusal(
            breakdown,
            is_busy,
            fleet.now_ns,
            fleet.version,
            evidence=evidence,
            evidence_left_out=len(judged) - len(evidence),
            ranking=ranking,
            barred=tuple(
                row
                for _, word, _, _, _, row, _ in evidence
                if word & MARKED_BIT and kind.judgement.is_barred(row, word)
            ),
        )

    def _judged(self, kind: Kind, ranking: Ranking, scope: Scope) -> Iterator[Judged]:
        """The nodes in scope by signature and by the check that they fail first."""
        excluded, judgement = ranking.excluded, kind.judgement
        order = [*sorted(scope.asked, key=_place), *sorted(scope.beside, key=_place)]
        for pool_id, signature, rows in self.censuses.of_pools(order):
            is_asked = pool_id in scope.asked
            if not signature[0] & MARKED_BIT and excluded.isdisjoint(rows):
                reason = reason_of((rows[0], *signature), judgement, ranking, is_asked=is_asked)
                yield is_asked, (reason, signature, rows)
                continue
            apart: dict[Reason, list[int]] = {}
            for row in rows:
                reason = reason_of((row, *signature), judgement, ranking, is_asked=is_asked)
                apart.setdefault(reason, []).append(row)
            for found, members in apart.items():
                yield is_asked, (found, signature, members)


def judging(fleet: Fleet, kind: Kind, excluded: frozenset[int]) -> Ranking:
    """What is weighed where it is only asked why: no chance, but what nodes lack."""
    lacking = fleet.lacking(kind.requirement.types)
    return Ranking(excluded | lacking, is_stale=fleet.is_stale, lacking=lacking)


def _place(pool_id: int | None) -> int:
    return -1 if pool_id is None else pool_id


def reason_of(
    looked_at: tuple[int, int, int, int], judgement: Judgement, ranking: Ranking, *, is_asked: bool
) -> Reason:
    """Under which reason a node (row, and its signature) is counted."""
    row, word, held, lane_generation = looked_at
    reading = (row, word, 0, held, lane_generation, 1.0)
    reason = first_failed_check(reading, judgement, ranking)
    if reason is not None:
        return reason
    # One that was asked and fails nothing could do it by now: a slot was freed meanwhile.
    return Reason.CAPACITY_EXCEEDED if is_asked else Reason.NOT_IN_PUBLIC_POOL


def _funnel(counts: Sequence[int], total: int) -> list[tuple[str, int]]:
    """How many nodes are left after each check that stopped some."""
    left = total
    funnel = [("registered", total)]
    for name, reasons in CHECKS:
        stopped = sum(counts[reason] for reason in reasons)
        left -= stopped
        if stopped:
            funnel.append((name, left))
    return funnel
