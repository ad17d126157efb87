"""Why not this node: for one job every check it fails; for its owner, why it gets so few jobs."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from pointsman_shm.memory.rows import (
    FLAGS_SHIFT,
    GENERATION_MASK,
    GENERATION_SHIFT,
    SLOTS_MASK,
    STATE_MASK,
    STATE_SHIFT,
    NodeState,
    RowFlag,
)
from pointsman_shm.rules.eligibility import all_failures, first_failure
from pointsman_shm.rules.reasons import Reason
from pointsman_shm.snapshot.records import CapabilityClass, NodeRecord, Requirement
from pointsman_wire.queries.explain_messages import CheckView, SkipView, WhyNot
from pointsman_workers.core.shard import Shard
from pointsman_workers.explain.records import LegRecord, Placed, Refused, decode_record
from pointsman_workers.explain.replay import judgement_of
from pointsman_workers.placement.checks import NO_ROOM_FOR_US, Reading, first_failed_check
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.nearest import lack_of
from pointsman_workers.placement.refusal import CHECKS

DECISIONS_MAX = 400  # of late, from each ring: looking at one costs some microseconds
WORK_SHOWN_MAX = 3
MARKED = "the model: it said so a moment ago"

_CHANGES = {
    Reason.OFFLINE: "start the node: it has no connection to the service",
    Reason.NO_LANE: "look at its log: it has no connection to this worker",
    Reason.GPU_UNAVAILABLE: "run it on a machine with a GPU",
    Reason.NOT_IN_PUBLIC_POOL: "let it accept public jobs, or run it for this tenant",
    Reason.OWNER_PAUSED: (
        "resume it: its owner, or his policy, has paused it, or an operator its pool"
    ),
    Reason.EXCLUDED: (
        "the request excludes it, the job had failed there, or its session's last job was there "
        "(pools.spread)"
    ),
    Reason.CAPACITY_EXCEEDED: "wait for a slot, or raise its max_concurrency if the machine allows",
    Reason.RESOURCE_THRESHOLD_EXCEEDED: "relieve the machine: cpu, gpu or memory is too busy",
}
_ABILITIES = {
    Reason.MODEL_NOT_AVAILABLE: "run these services on it",
    Reason.LANG_PAIR_UNSUPPORTED: "let it translate these pairs",
    Reason.ASR_LANG_UNSUPPORTED: "let it recognise these languages",
    Reason.TTS_LANG_UNSUPPORTED: "let it speak these languages",
    Reason.SRC_AUTO_NO_CANDIDATE: "let it recognise a language that it can translate so",
    Reason.FEATURE_UNSUPPORTED: "give it these features",
    Reason.LABEL_MISMATCH: "give it these labels",
}
_STATES = {
    NodeState.REGISTERING: "it is opening its connections; look at its log if that goes on",
    NodeState.DEGRADED: "a needed service has to run again on it",
    NodeState.SUSPECT: "its heartbeats are missing: look at its network",
    NodeState.DRAINING: "it is being drained: start it anew when it may take jobs again",
}


class Beside(msgspec.Struct, frozen=True):
    """One node as it stands now."""

    record: NodeRecord
    word: int
    capability: CapabilityClass | None

    @property
    def state(self) -> NodeState:
        """Its state, as its standing word says."""
        return NodeState(self.word >> STATE_SHIFT & STATE_MASK)

    @property
    def flags(self) -> RowFlag:
        """What its standing word says besides."""
        return RowFlag(self.word >> FLAGS_SHIFT & 0xFF)


def beside(fleet: Fleet, record: NodeRecord) -> Beside:
    """Look at a node."""
    return Beside(record, fleet.standing[record.row], fleet.capability(record.row))


def describe(fleet: Fleet, node: Beside) -> WhyNot:
    """How a node stands."""
    pools = fleet.snapshot.pool_view.pools
    return WhyNot(
        node_id=node.record.node_id,
        state=node.state.name.lower(),
        pools=[pools[p].name if p in pools else str(p) for p in node.record.pools],
        held=fleet.held(node.record.row),
        slots_max=node.word & SLOTS_MASK,
        instance=node.record.instance,
    )


# -- one job -------------------------------------------------------------------------------------


def check_all(
    fleet: Fleet, node: Beside, requirement: Requirement, *, is_excluded: bool
) -> list[CheckView]:
    """Every check of the node for a job, in their order; those that it fails say what to change."""
    failing = set(_failing(fleet, node, requirement, is_excluded=is_excluded))
    views = []
    for name, reasons in CHECKS:
        failed = [reason for reason in reasons if reason in failing]
        if not failed:
            views.append(CheckView(check=name))
        for reason in failed:
            detail = _detail(reason, node, requirement)
            views.append(
                CheckView(
                    check=name,
                    passes=False,
                    reason=reason.label,
                    detail=detail,
                    change=change_for(reason, node, detail),
                )
            )
    return views


def _failing(
    fleet: Fleet, node: Beside, requirement: Requirement, *, is_excluded: bool
) -> Iterator[Reason]:
    row, word, flags = node.record.row, node.word, node.flags
    if node.state in (NodeState.OFFLINE, NodeState.FREE):
        yield Reason.OFFLINE
    elif node.state is not NodeState.READY or node.capability is None:
        yield Reason.STATUS_NOT_READY
    if fleet.lane_generations[row] not in (word >> GENERATION_SHIFT, NO_ROOM_FOR_US):
        yield Reason.NO_LANE
    if node.capability is not None:
        yield from all_failures(node.capability, requirement, fleet.config.require_gpu)
    if RowFlag.MARKED in flags and fleet.is_marked(row, word, requirement.types):
        yield Reason.MODEL_NOT_AVAILABLE
    if RowFlag.PAUSED in flags:
        yield Reason.OWNER_PAUSED
    if is_excluded:
        yield Reason.EXCLUDED
    has_room = fleet.held(row) < word & SLOTS_MASK
    if not has_room or fleet.lane_generations[row] == NO_ROOM_FOR_US:
        yield Reason.CAPACITY_EXCEEDED
    if RowFlag.OVERLOADED in flags and not fleet.is_stale:
        yield Reason.RESOURCE_THRESHOLD_EXCEEDED


def _detail(reason: Reason, node: Beside, requirement: Requirement) -> str:
    """What is lacking, in words, where the reason alone does not say it."""
    if reason is Reason.STATUS_NOT_READY:
        return f"it is {node.state.name.lower()}"
    if reason in _CHANGES and reason is not Reason.NOT_IN_PUBLIC_POOL:
        return ""
    if node.capability is None:
        return ""
    lack = lack_of(reason, node.capability, requirement)
    return lack if lack != "services " else MARKED


def change_for(reason: Reason, node: Beside, detail: str) -> str:
    """What would let the node pass, for its owner."""
    if reason is Reason.STATUS_NOT_READY:
        if RowFlag.DRAINED in node.flags:
            return "an operator drains it: `pointsman undrain` when it may take jobs again"
        return _STATES.get(node.state, "wait until it is ready")
    known = _CHANGES.get(reason)
    if known is not None:
        return known
    if detail.startswith("services "):
        return f"start {detail} on it"
    if detail == MARKED:
        return "load the model there; it is asked again when nodes.model_mark_s is over"
    return f"give it {detail}" if detail else _ABILITIES[reason]


def words_of(requirement: Requirement) -> str:
    """A job in few words: asr+nmt en->es, features x, labels a=b."""
    languages = "->".join(language for language in (requirement.src, requirement.tgt) if language)
    words = [f"{'+'.join(requirement.types)} {languages}".strip()]
    if requirement.features:
        words.append(f"features {', '.join(requirement.features)}")
    if requirement.labels:
        words.append(f"labels {', '.join('='.join(pair) for pair in requirement.labels)}")
    if requirement.tenant:
        words.append(f"tenant {requirement.tenant}")
    return ", ".join(words)


# -- the jobs of late ----------------------------------------------------------------------------


class Skips:
    """Counts, over the latest decisions, what became of one node."""

    def __init__(self, shard: Shard, node: Beside) -> None:
        self._shard = shard
        self._node = node
        self._verdicts: dict[Requirement, Reason | None] = {}
        self.seen = self.taken = self.outranked = self.not_drawn = 0
        self.counts: dict[Reason, int] = {}
        self._work: dict[Reason, dict[str, int]] = {}

    def count_all(self) -> None:
        """Look at the latest decisions of both rings."""
        recorder = self._shard.recorder
        for ring in (recorder.placed, recorder.troubled):
            for _, data in ring.latest(DECISIONS_MAX):
                record = decode_record(data)
                self.seen += 1
                if isinstance(record, Placed):
                    self._count_placed(record)
                else:
                    self._count_refused(record)

    def _verdict(self, requirement: Requirement) -> Reason | None:
        """What keeps a node of these abilities from such jobs; None: nothing."""
        if requirement not in self._verdicts:
            capability = self._node.capability
            self._verdicts[requirement] = (
                Reason.STATUS_NOT_READY
                if capability is None
                else first_failure(capability, requirement, self._shard.fleet.config.require_gpu)
            )
        return self._verdicts[requirement]

    def _skip(self, reason: Reason, requirement: Requirement) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        work = self._work.setdefault(reason, {})
        words = words_of(requirement)
        work[words] = work.get(words, 0) + 1

    def _count_placed(self, record: Placed) -> None:
        reason = self._verdict(record.requirement)
        if reason is not None:
            self._skip(reason, record.requirement)
            return
        found = self._reading(record)
        if found is None:
            self.not_drawn += 1
            return
        leg, reading = found
        if record.row == reading[0] and leg is record.legs[-1]:
            self.taken += 1
            return
        kept = self._shard.recorder.pages
        pages = kept.of(record.version) or kept.latest()
        assert pages is not None, "a placement keeps the pages of its snapshot"
        reason = first_failed_check(reading, judgement_of(record, leg, pages), leg.ranking)
        if reason is not None:
            self._skip(reason, record.requirement)
        else:
            self.outranked += 1

    def _reading(self, record: Placed) -> tuple[LegRecord, Reading] | None:
        row, generation = self._node.record.row, self._node.record.generation & GENERATION_MASK
        return next(
            (
                (leg, reading)
                for leg in reversed(record.legs)
                for reading in leg.readings
                if reading[0] == row and reading[1] >> GENERATION_SHIFT == generation
            ),
            None,
        )

    def _count_refused(self, record: Refused) -> None:
        reason = self._verdict(record.requirement)
        if reason is None:
            shared = self._shard.recorder.shared(record.shared)
            named = shared.breakdown.nodes if shared is not None else {}
            name = self._node.record.node_id
            label = next((label for label, nodes in named.items() if name in nodes), "")
            reason = Reason[label.upper()] if label else None
        if reason is not None:
            self._skip(reason, record.requirement)
        else:
            self.not_drawn += 1

    def answer(self, described: WhyNot) -> WhyNot:
        """Skips most frequent first, each with the work it was skipped for and what to change."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return replace(
            described,
            jobs_seen=self.seen,
            jobs_taken=self.taken,
            jobs_outranked=self.outranked,
            jobs_not_drawn=self.not_drawn,
            skips=[self._view(reason, count) for reason, count in ordered],
        )

    def _view(self, reason: Reason, count: int) -> SkipView:
        work = sorted(self._work[reason].items(), key=lambda item: (-item[1], item[0]))
        names = [name for name, _ in work[:WORK_SHOWN_MAX]]
        more = f" and {len(work) - len(names)} more" if len(work) > len(names) else ""
        return SkipView(
            reason=reason.label,
            jobs=count,
            example="; ".join(names) + more,
            change=change_for(reason, self._node, ""),
        )
