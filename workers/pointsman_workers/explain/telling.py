"""From a record to what people read: rows become nodes, numbers become names and words."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from pointsman_shm.memory.ledger import Reserve
from pointsman_shm.memory.rows import GENERATION_MASK, GENERATION_SHIFT, SLOTS_MASK
from pointsman_shm.rules.pools import OTHER_POOL_NAME
from pointsman_wire.queries.explain_messages import CandidateView, DecisionView, LegView, ReplayView
from pointsman_workers.core.shard import MILLISECOND_NS
from pointsman_workers.core.state import Key
from pointsman_workers.explain.pages import Pages
from pointsman_workers.explain.recorder import Recorder
from pointsman_workers.explain.records import Kept, LegRecord, Placed, Refused
from pointsman_workers.explain.replay import (
    Grounds,
    Replay,
    drawn_positions,
    judgement_of,
    replay,
    replay_refusal,
)
from pointsman_workers.placement.checks import Judgement, Reading, first_failed_check
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.ranking import load_of, rank
from pointsman_workers.placement.trail import How

NODES_SHOWN_MAX = 64  # of one leg: the best, then those that failed a check
WHOLE_FLEET = "whole fleet"


class Teller(msgspec.Struct, frozen=True):
    """Reads records of one worker."""

    fleet: Fleet
    recorder: Recorder

    def tell(self, key: Key, record: Kept, *, with_replay: bool = False) -> DecisionView:
        """Say what a record says."""
        view = self._common(key, record)
        grounds = self._grounds(key, record)
        if isinstance(record, Refused):
            shared = self.recorder.shared(record.shared)
            breakdown = shared.breakdown if shared is not None else None
            view = replace(view, code=record.code, breakdown=breakdown)
            again = replay_refusal(record, shared, grounds) if with_replay else None
        else:
            view = self._placed(view, record, grounds)
            again = replay(record, grounds) if with_replay else None
        return view if again is None else replace(view, replay=_replay_view(again))

    def _common(self, key: Key, record: Kept) -> DecisionView:
        tenant, session_id, request_id = key
        requirement = record.requirement
        beat_age_ns = record.at_ns - record.beat_at_ns if record.beat_at_ns else 0
        return DecisionView(
            request_id=request_id,
            session_id=session_id,
            tenant=tenant,
            job_id=record.job_id,
            attempt=record.attempt,
            age_ms=(self.fleet.clock_ns - record.at_ns) / MILLISECOND_NS,
            services=list(requirement.types),
            src_lang=requirement.src,
            tgt_lang=requirement.tgt,
            auto_langs=list(requirement.auto_langs),
            features=list(requirement.features),
            labels=dict(requirement.labels),
            accept_public=requirement.accept_public,
            snapshot_version=record.version,
            beat_age_ms=max(0, beat_age_ns) / MILLISECOND_NS,
            waited_ms=record.waited_ns / MILLISECOND_NS,
        )

    def _grounds(self, key: Key, record: Kept) -> Grounds:
        pages = self.recorder.pages
        latest = pages.latest()
        assert latest is not None, "a placement keeps the pages of its snapshot"
        return Grounds(key, self.fleet.draws.seed, pages.of(record.version), latest)

    def _placed(self, view: DecisionView, record: Placed, grounds: Grounds) -> DecisionView:
        pages = grounds.kept or grounds.latest
        chosen, last = _reading_of(record, record.row), record.legs[-1]
        step = record.session
        names = pool_names(pages)
        return replace(
            view,
            selector=record.selector,
            node_id=self._name(chosen),
            instance=self._home(chosen),
            pool=_pool_name(last.asked[0], names) if last.asked[0] is not None else "",
            load=load_of(chosen),
            score=record.score,
            runner_up=self._name(_reading_of(record, record.runner_up))
            if record.runner_up >= 0
            else "",
            preferred_node=record.preferred_node,
            session_decision=step.outcome if step else "",
            bound_before=_pool_name(step.before.pool_id, names) if step and step.before else "",
            eligible_pools=step.eligible_count if step else 0,
            pool_order=[_pool_name(pool_id, names) for pool_id in step.pools] if step else [],
            pool_count=step.pool_count if step else 0,
            fallback_used=bool(step and step.pools and last.asked[0] not in (None, step.pools[0])),
            legs=[
                self._leg(leg, judgement_of(record, leg, pages), names, grounds.seed)
                for leg in record.legs
            ],
            legs_left_out=record.legs_left_out,
            taken_us=record.taken_ns / 1_000,
        )

    def _leg(
        self, leg: LegRecord, judgement: Judgement, names: Mapping[int, str], seed: int
    ) -> LegView:
        pool_id, how, candidates, at = leg.asked
        scored = rank(leg.readings, judgement, leg.ranking)
        outcomes = dict(zip((row for _, row, _ in scored), leg.outcomes, strict=False))
        scores = {row: score for score, row, _ in scored}
        by_row = {reading[0]: reading for reading in leg.readings}
        ordered = [by_row[row] for row in scores]
        ordered += [reading for reading in leg.readings if reading[0] not in scores]
        return LegView(
            pool=_pool_name(pool_id, names) if how != How.PREFERRED else "",
            how=How(how).name.lower(),
            candidates=candidates,
            looked_at=len(leg.readings) + leg.left_out,
            passed=len(scored),
            left_out=leg.left_out,
            digest=leg.digest,
            draw=at if how == How.SAMPLE else 0,
            drawn=drawn_positions(leg, seed)[:NODES_SHOWN_MAX],
            reserved=bool(leg.outcomes) and leg.outcomes[-1] == Reserve.OK,
            nodes=[
                self._candidate(
                    reading,
                    score=scores.get(reading[0]),
                    outcome=outcomes.get(reading[0]),
                    reason=_reason(reading, judgement, leg),
                )
                for reading in ordered[:NODES_SHOWN_MAX]
            ],
        )

    def _candidate(
        self, reading: Reading, *, score: float | None, outcome: int | None, reason: str
    ) -> CandidateView:
        row, word, load, held, _, slowness = reading
        return CandidateView(
            node_id=self._name(reading),
            row=row,
            generation=word >> GENERATION_SHIFT,
            held=held,
            foreign=load >> 16 & 0xFFFF,
            slots_max=word & SLOTS_MASK,
            slowness=slowness,
            score=score,
            reason=reason,
            outcome="" if outcome is None else Reserve(outcome).name.lower(),
            instance=self._home(reading),
        )

    def _home(self, reading: Reading) -> str:
        """To which instance the node is connected, while it has its row; empty: to ours."""
        record = self.fleet.snapshot.node(reading[0])
        is_same = record is not None and record.generation & GENERATION_MASK == (
            reading[1] >> GENERATION_SHIFT
        )
        return record.instance if record is not None and is_same else ""

    def _name(self, reading: Reading) -> str:
        """Who had the row then; whoever has it now is somebody else when generations differ."""
        row, generation = reading[0], reading[1] >> GENERATION_SHIFT
        name = self.fleet.former_names.name(self.fleet.snapshot, row, generation)
        return name or f"row {row} of generation {generation}"


def _replay_view(again: Replay) -> ReplayView:
    return ReplayView(
        equal=again.is_equal, differences=list(again.differences), notes=list(again.notes)
    )


def _reading_of(record: Placed, row: int) -> Reading:
    return next(
        reading for leg in reversed(record.legs) for reading in leg.readings if reading[0] == row
    )


def _reason(reading: Reading, judgement: Judgement, leg: LegRecord) -> str:
    reason = first_failed_check(reading, judgement, leg.ranking)
    return "" if reason is None else reason.label


def pool_names(pages: Pages) -> dict[int, str]:
    """Pool id -> name."""
    return {pool.id: pool.name for pool in pages.pools.pools}


def _pool_name(pool_id: int | None, names: Mapping[int, str]) -> str:
    if pool_id is None:
        return WHOLE_FLEET
    return names.get(pool_id) or (OTHER_POOL_NAME if pool_id == 0 else f"pool {pool_id}")


def in_order(views: Sequence[DecisionView]) -> list[DecisionView]:
    """Decisions in the order in which they were made."""
    return sorted(views, key=lambda view: -view.age_ms)
