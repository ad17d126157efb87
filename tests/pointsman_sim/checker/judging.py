"""All promises over one history, and the verdict as a table and as JSON."""

from collections.abc import Callable, Iterable

import msgspec

from pointsman.recording.facts import Fact
from pointsman_sim.checker.attempts import one_request_is_one_job, only_the_newest_attempt_counts
from pointsman_sim.checker.endings import ends_are_final, every_accepted_job_ends
from pointsman_sim.checker.knowledge import (
    leavers_get_no_jobs,
    old_pictures_are_named,
    versions_go_forward,
)
from pointsman_sim.checker.orders import sessions_keep_their_order
from pointsman_sim.checker.recording import Recording
from pointsman_sim.checker.recovery import (
    a_node_id_has_one_owner,
    all_is_well_again,
    faults_by_kind,
    faults_happened,
)
from pointsman_sim.checker.rooms import (
    capacity_refusals,
    no_node_runs_more_than_it_may,
    no_slot_is_left_behind,
    nothing_grows_beyond_its_bound,
)
from pointsman_sim.checker.verdicts import Limits, State, Verdict

Promise = Callable[[Recording, Limits], Verdict]

PROMISES: tuple[Promise, ...] = (
    every_accepted_job_ends,
    one_request_is_one_job,
    only_the_newest_attempt_counts,
    no_node_runs_more_than_it_may,
    sessions_keep_their_order,
    versions_go_forward,
    old_pictures_are_named,
    leavers_get_no_jobs,
    nothing_grows_beyond_its_bound,
    no_slot_is_left_behind,
    ends_are_final,
    a_node_id_has_one_owner,
    all_is_well_again,
    faults_happened,
)


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a history shows."""

    verdicts: list[Verdict]
    faults: dict[str, tuple[int, int]]
    capacity_refusals: int
    accepted: int
    ended: int
    starts: int
    levels: dict[str, int]
    is_complete: bool

    @property
    def is_kept(self) -> bool:
        """Was no promise broken, and nothing lost of what was recorded?"""
        return self.is_complete and all(v.state is not State.BROKEN for v in self.verdicts)

    def of(self, promise: str) -> Verdict:
        """Return the verdict on one promise."""
        return next(v for v in self.verdicts if v.promise == promise)


def judge(facts: Iterable[Fact], limits: Limits | None = None) -> Judgement:
    """Judge a history."""
    recording = Recording(facts)
    limits = limits or Limits()
    levels: dict[str, int] = {}
    accepted = recording.accepted
    for job in accepted:
        levels[job.level] = levels.get(job.level, 0) + 1
    return Judgement(
        verdicts=[promise(recording, limits) for promise in PROMISES],
        faults=faults_by_kind(recording),
        capacity_refusals=capacity_refusals(recording),
        accepted=len(accepted),
        ended=sum(bool(job.results) for job in accepted),
        starts=sum(attempt.started_at_ns is not None for attempt in recording.attempts),
        levels=levels,
        is_complete=not recording.is_full,
    )


def table(judgement: Judgement) -> str:
    """Return the verdict for people."""
    lines = []
    for verdict in judgement.verdicts:
        counts = f"{verdict.judged:>8} judged"
        if verdict.unjudged:
            counts += f", {verdict.unjudged} not ({verdict.why})"
        name = f"{verdict.promise:<4}{verdict.state.value:<11}"
        lines.append(f"{name}{verdict.about:<44}{counts}")
        lines += [f"       {at_ns / 1e9:.6f}  {words}" for at_ns, words in verdict.words]
    lines.append("")
    for kind, (meant, proven) in judgement.faults.items():
        lines.append(f"fault {kind:<24}{meant:>6} times, {proven} proven")
    levels = ", ".join(f"{count} at level {name}" for name, count in judgement.levels.items())
    lines.append(f"jobs accepted {judgement.accepted} ({levels or 'none'})")
    lines.append(f"jobs ended {judgement.ended}, starts at nodes {judgement.starts}")
    lines.append(f"capacity refusals by nodes: {judgement.capacity_refusals}")
    if not judgement.is_complete:
        lines.append("NOT COMPLETE: a recorder has met the bound of its file")
    return "\n".join(lines)


def as_json(judgement: Judgement) -> bytes:
    """Return the verdict for programs."""
    verdicts = [
        {
            "promise": verdict.promise,
            "state": verdict.state.value,
            "judged": verdict.judged,
            "unjudged": verdict.unjudged,
            "broken": verdict.broken,
            "why": verdict.why,
            "words": [words for _, words in verdict.words],
        }
        for verdict in judgement.verdicts
    ]
    whole = {**msgspec.structs.asdict(judgement), "verdicts": verdicts}
    return msgspec.json.encode({**whole, "kept": judgement.is_kept})
