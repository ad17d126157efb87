"""A replay: the same functions over what was recorded must come to the same decision.

    session decision   over the pages of its snapshot, if they are still kept
    ranking            over the readings of each leg, with the verdicts on their classes
    choice             the best ranked candidate whose reservation held

What was left out of a record to keep it small (rows of a long walk) cannot be judged again; the
notes say so.
"""

from collections.abc import Iterable, Iterator

import msgspec

from pointsman_shm.memory.rows import CLASS_MASK, CLASS_SHIFT
from pointsman_shm.rules.eligibility import first_failure
from pointsman_shm.rules.reasons import Reason
from pointsman_shm.rules.session_pool import PoolQuestion
from pointsman_shm.snapshot.fleet_index import FEASIBLE
from pointsman_shm.snapshot.pool_view import PoolView
from pointsman_shm.snapshot.records import Requirement
from pointsman_workers.core.state import Key
from pointsman_workers.explain.pages import Pages
from pointsman_workers.explain.records import Kept, LegRecord, Placed, RefusalRecord, Refused
from pointsman_workers.placement.checks import Judgement
from pointsman_workers.placement.draws import Draws
from pointsman_workers.placement.ranking import Scored, rank
from pointsman_workers.placement.refusal import reason_of
from pointsman_workers.placement.session_pools import decide_pools
from pointsman_workers.placement.trail import NO_ROW, SAMPLE

UNASKED_CLASS = Reason.STATUS_NOT_READY + 1  # of which no word speaks


class Replay(msgspec.Struct, frozen=True):
    """How a replay compares with its record: equal, or where it differs; and what to know."""

    differences: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Did it come out the same?"""
        return not self.differences


class Grounds(msgspec.Struct, frozen=True):
    """What a replay looks things up in."""

    key: Key
    seed: int  # of the worker's draws
    kept: Pages | None  # the pages of the record's own version
    latest: Pages  # those of now: classes are only appended, so they serve as well


def replay(record: Placed, grounds: Grounds) -> Replay:
    """Decide again what a record says, and compare."""
    notes = list(_notes(record, grounds))
    differences = [*_session_differences(record, grounds), *_choice_differences(record, grounds)]
    return Replay(tuple(differences), tuple(notes))


def replay_refusal(record: Refused, shared: RefusalRecord | None, grounds: Grounds) -> Replay:
    """Judge again the nodes that a refusal counted, and compare the counts."""
    if shared is None:
        return Replay((), ("what this refusal shared with others is not kept any more",))
    notes = list(_page_notes(record, grounds))
    if shared.evidence_left_out:
        notes.append(f"{shared.evidence_left_out} groups of nodes were too many to be kept")
    return Replay(tuple(_refusal_differences(record, shared, grounds)), tuple(notes))


def _refusal_differences(record: Refused, shared: RefusalRecord, grounds: Grounds) -> Iterator[str]:
    pages = grounds.kept or grounds.latest
    words = [word for _, word, *_ in shared.evidence]
    judgement = _judgement(record.requirement, words, shared.barred, pages)
    again: dict[str, int] = {}
    for _, word, held, lane_generation, count, row, is_asked in shared.evidence:
        looked_at = (row, word, held, lane_generation)
        label = reason_of(looked_at, judgement, shared.ranking, is_asked=is_asked).label
        again[label] = again.get(label, 0) + count
    said = shared.breakdown.counts
    for label in dict.fromkeys((*said, *again)):
        counted, recorded = again.get(label, 0), said.get(label, 0)
        if counted > recorded or (counted < recorded and not shared.evidence_left_out):
            yield f"{label}: {counted} nodes, the record says {recorded}"


def _page_notes(record: Kept, grounds: Grounds) -> Iterator[str]:
    if grounds.kept is None:
        yield (
            f"the pages of snapshot {record.version} are not kept any more: the session decision "
            f"is not replayed, and classes are judged as snapshot {grounds.latest.version} has them"
        )


def _notes(record: Placed, grounds: Grounds) -> Iterator[str]:
    yield from _page_notes(record, grounds)
    left_out = sum(leg.left_out for leg in record.legs)
    if left_out:
        digests = ", ".join(f"{leg.digest:08x}" for leg in record.legs if leg.left_out)
        yield f"{left_out} rows that were walked past are kept as a count and a digest ({digests})"
    if record.legs_left_out:
        yield f"{record.legs_left_out} of the looks at other pools are kept as a count only"


# -- the session decision ------------------------------------------------------------------------


def _session_differences(record: Placed, grounds: Grounds) -> Iterator[str]:
    step, pages = record.session, grounds.kept
    if step is None or pages is None:
        return
    view = PoolView(pages.pools, pages.classes.get, pages.config)
    tenant, session_id, _ = grounds.key
    question = PoolQuestion(
        requirement=record.requirement,
        routing_key=tenant or session_id,
        draw=step.draw,
        free_slots=step.room,
    )
    again = decide_pools(view, dict(pages.policy.tenant_overrides), step.before, question)
    pools = again.pools[: len(step.pools)]
    if again.outcome.value != step.outcome:
        yield f"session decision: {again.outcome.value}, the record says {step.outcome}"
    if pools != step.pools or len(again.pools) != step.pool_count:
        yield f"pools in order: {again.pools}, the record says {step.pools} of {step.pool_count}"
    if again.eligible_count != step.eligible_count:
        yield f"eligible pools: {again.eligible_count}, the record says {step.eligible_count}"


def drawn_positions(leg: LegRecord, seed: int) -> list[int]:
    """The positions among the candidates that a sample drew, again from seed and counter."""
    _, how, candidates, at = leg.asked
    if how != SAMPLE or not candidates:
        return []
    draws = Draws(seed)
    draws.counter = at - 1
    return draws.positions(candidates, len(leg.readings))


# -- the choice ----------------------------------------------------------------------------------


def judgement_of(record: Placed, leg: LegRecord, pages: Pages) -> Judgement:
    """The verdicts on the classes that a leg mentions, and the marks that the record knew."""
    words = [word for _, word, *_ in leg.readings]
    return _judgement(leg.requirement or record.requirement, words, record.barred, pages)


def _judgement(
    requirement: Requirement, words: Iterable[int], barred_rows: Iterable[int], pages: Pages
) -> Judgement:
    numbers = {word >> CLASS_SHIFT & CLASS_MASK for word in words}
    # A word may speak of a class that the pages have not yet: as then, it is beyond the verdicts.
    found = ((number, pages.classes.get(number)) for number in numbers)
    known = {number: capability for number, capability in found if capability is not None}
    codes = bytearray([UNASKED_CLASS]) * (max(known, default=-1) + 1)
    for number, capability in known.items():
        reason = first_failure(capability, requirement, pages.config.require_gpu)
        codes[number] = FEASIBLE if reason is None else reason + 1
    barred = frozenset(barred_rows)
    return Judgement(codes, is_barred=lambda row, _: row in barred)


def _choice_differences(record: Placed, grounds: Grounds) -> Iterator[str]:
    pages = grounds.kept or grounds.latest
    if not record.legs:
        yield "the record has no leg in which the choice was made"
        return
    for left, leg in zip(range(len(record.legs) - 1, -1, -1), record.legs, strict=True):
        scored = rank(leg.readings, judgement_of(record, leg, pages), leg.ranking)
        if not left:
            yield from _chosen_differences(record, leg, scored)
        else:
            yield from _failed_differences(leg, scored)


def _failed_differences(leg: LegRecord, scored: list[Scored]) -> Iterator[str]:
    """A leg that gave nobody: every candidate that passed was asked, and none was reserved."""
    where = f"pool {leg.asked[0]}"
    if any(outcome == 0 for outcome in leg.outcomes):
        yield f"{where}: the record reserved somebody here, and went on"
    if len(scored) != len(leg.outcomes) and not leg.left_out:
        yield f"{where}: {len(scored)} pass, the record asked {len(leg.outcomes)}"


def _chosen_differences(record: Placed, leg: LegRecord, scored: list[Scored]) -> Iterator[str]:
    asked_count = len(leg.outcomes)
    if not asked_count or leg.outcomes[-1] or not all(leg.outcomes[:-1]):
        yield f"reservations {leg.outcomes} do not end with the first that held"
    elif asked_count > len(scored):
        yield f"{len(scored)} candidates pass, the record asked {asked_count}"
    else:
        score, row, _ = scored[asked_count - 1]
        runner_up = scored[asked_count][1] if asked_count < len(scored) else NO_ROW
        if row != record.row:
            yield f"row {row} is chosen, the record says {record.row}"
        if score != record.score:
            yield f"its score is {score:g}, the record says {record.score:g}"
        if runner_up != record.runner_up:
            yield f"row {runner_up} is the runner-up, the record says {record.runner_up}"
