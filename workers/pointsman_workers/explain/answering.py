"""Answers to the questions about decisions; they change nothing and are bounded."""

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from pointsman_shm.memory.rows import (
    CLASS_MASK,
    CLASS_SHIFT,
    FLAGS_SHIFT,
    SLOTS_MASK,
    STATE_MASK,
    STATE_SHIFT,
    NodeState,
    RowFlag,
)
from pointsman_shm.rules.coverage import Covered, Stock, Wanted, cover
from pointsman_shm.rules.languages import AUTO, normalise
from pointsman_shm.rules.modules import UnknownName
from pointsman_shm.snapshot.records import Requirement
from pointsman_wire.errors import Code
from pointsman_wire.messages import Breakdown, Error, error_answer
from pointsman_wire.queries.explain_messages import (
    Coverage,
    CoverageLine,
    CoverageQuery,
    DecisionView,
    Explained,
    ExplainQuery,
    JobAsk,
    JobView,
    Where,
    WhereQuery,
    WhyNot,
    WhyNotQuery,
)
from pointsman_workers.core.shard import MILLISECOND_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Job, Key
from pointsman_workers.explain.comparing import differences
from pointsman_workers.explain.dry_run import DryFleet, Rehearsal
from pointsman_workers.explain.names import find_record
from pointsman_workers.explain.records import Placed, decode_record
from pointsman_workers.explain.telling import Teller, in_order
from pointsman_workers.explain.what_if import WhatIfError, imagine
from pointsman_workers.explain.why_not import Beside, Skips, beside, check_all, describe, words_of
from pointsman_workers.placement.deciding import named_rows
from pointsman_workers.placement.refusal import Refusals, scope_of

KEYS_MAX = 16  # requests of one id, in as many sessions
DECISIONS_MAX = 32  # the latest of them

_LIVE = RowFlag.PAUSED << FLAGS_SHIFT | STATE_MASK << STATE_SHIFT
_READY = NodeState.READY << STATE_SHIFT


class Explainer:
    """Answers about one worker's decisions."""

    def __init__(self, shard: Shard, refusals: Refusals) -> None:
        self._shard = shard
        self._refusals = refusals
        self._stocks: list[Stock] = []
        self._stocks_until_ns = 0

    # -- explain ---------------------------------------------------------------------------------

    def explain(self, query: ExplainQuery) -> Explained:
        """Every decision about a request that is still kept, and how its job stands."""
        recorder = self._shard.recorder
        teller = Teller(self._shard.fleet, recorder)
        found = recorder.find(query.request_id)
        keys = self._keys(found, query.request_id, query.session_id)
        views = [
            teller.tell(key, decode_record(data), with_replay=query.replay)
            for key in keys
            for data in found.get(key, [])[-DECISIONS_MAX:]
        ]
        jobs = [job for key in keys if (job := self._shard.window.find(key)) is not None]
        return Explained(
            decisions=in_order(views)[-DECISIONS_MAX:],
            jobs=[self._job_view(job) for job in jobs],
            decisions_kept=len(recorder.placed) + len(recorder.troubled),
            decisions_dropped=recorder.placed.dropped_count + recorder.troubled.dropped_count,
            bytes_kept=recorder.size,
        )

    def _keys(self, recorded: Iterable[Key], request_id: str, session_id: str) -> list[Key]:
        """Requests of this id: those with a record, and those that still wait for their first."""
        found = dict.fromkeys(recorded)
        for session in self._shard.sessions.values():
            job = session.open_jobs.get(request_id)
            if job is not None:
                found[job.key] = None
        wanted = [key for key in found if session_id in ("", key[1])]
        return wanted[-KEYS_MAX:]

    def _job_view(self, job: Job) -> JobView:
        hold, result = job.hold, job.result
        node_id = hold.lane.node_id if hold is not None else result.node_id if result else ""
        tenant, session_id, request_id = job.key
        return JobView(
            request_id=request_id,
            session_id=session_id,
            tenant=tenant,
            job_id=job.job_id,
            state=job.state.name.lower(),
            attempt=job.attempt,
            failovers=job.failovers,
            node_id=node_id,
            age_ms=(self._shard.now_ns - job.accepted_at_ns) / MILLISECOND_NS,
            waits=job.is_queued,
            attempts=list(job.reasons),
            breakdown=self._why_waiting(job) if job.is_queued else None,
        )

    def _why_waiting(self, job: Job) -> Breakdown:
        fleet = self._shard.fleet
        fleet.prepare(job.kind)
        scope = scope_of(job.decision)
        return self._refusals.explain(job.kind, named_rows(fleet, job), scope).breakdown

    # -- where -----------------------------------------------------------------------------------

    def where(self, query: WhereQuery) -> Where | Error:
        """A dry run, and with assumptions a second one that is compared with the first."""
        fleet = self._shard.fleet
        rehearsal = Rehearsal(self._shard, query.ask, self._refusals)
        if isinstance(rehearsal.kind, UnknownName):
            return error_answer(Code.UNSUPPORTED_FEATURE, rehearsal.kind.hint)
        now = rehearsal.play(DryFleet(fleet))
        if not query.what_if:
            return Where(decision=now, session_known=rehearsal.is_session_known)
        try:
            scene = imagine(fleet, query.what_if)
        except WhatIfError as error:
            return error_answer(Code.INVALID_MESSAGE, str(error))
        then = rehearsal.play(DryFleet(fleet, scene))
        return Where(
            decision=now,
            session_known=rehearsal.is_session_known,
            then=then,
            assumed=scene.words,
            differences=differences(now, then),
        )

    # -- why not ---------------------------------------------------------------------------------

    def why_not(self, query: WhyNotQuery) -> WhyNot | Error:
        """A node beside a job, a recorded request, or the jobs of late."""
        fleet = self._shard.fleet
        record = find_record(fleet.snapshot, query.node_id)
        if record is None:
            return WhyNot(node_id=query.node_id, known=False)
        node = beside(fleet, record)
        if query.request_id:
            return self._why_not_request(node, query.request_id)
        if query.ask is not None:
            return self._why_not_ask(node, query.ask)
        skips = Skips(self._shard, node)
        skips.count_all()
        return skips.answer(describe(fleet, node))

    def _why_not_ask(self, node: Beside, ask: JobAsk) -> WhyNot | Error:
        rehearsal = Rehearsal(self._shard, ask, self._refusals)
        if isinstance(rehearsal.kind, UnknownName):
            return error_answer(Code.UNSUPPORTED_FEATURE, rehearsal.kind.hint)
        view = rehearsal.play(DryFleet(self._shard.fleet))
        is_excluded = node.record.node_id in ask.exclude
        return self._verdict(node, rehearsal.kind.requirement, view, is_excluded=is_excluded)

    def _why_not_request(self, node: Beside, request_id: str) -> WhyNot | Error:
        recorder = self._shard.recorder
        found = recorder.find(request_id)
        if not found:
            text = f"this worker has no record of a request {request_id!r}"
            return error_answer(Code.NOT_FOUND, text)
        key, records = found.popitem()
        record = decode_record(records[-1])
        view = Teller(self._shard.fleet, recorder).tell(key, record)
        is_excluded = isinstance(record, Placed) and any(
            node.record.row in leg.ranking.excluded for leg in record.legs
        )
        return self._verdict(node, record.requirement, view, is_excluded=is_excluded)

    def _verdict(
        self, node: Beside, requirement: Requirement, view: DecisionView, *, is_excluded: bool
    ) -> WhyNot:
        fleet = self._shard.fleet
        checks = check_all(fleet, node, requirement, is_excluded=is_excluded)
        return replace(
            describe(fleet, node),
            job=words_of(requirement),
            checks=checks,
            able=all(check.passes for check in checks),
            verdict=_verdict_words(node.record.node_id, view, is_past=bool(view.job_id)),
        )

    # -- coverage --------------------------------------------------------------------------------

    def coverage(self, query: CoverageQuery) -> Coverage:
        """Who can do what, from the pinned snapshot and the words."""
        shard, src = self._shard, normalise(query.src_lang)
        wanted = Wanted(
            service=query.service,
            src="" if src == AUTO else src,
            tgt=normalise(query.tgt_lang),
            feature=query.feature,
            tenant=query.tenant,
        )
        pipeline = shard.fleet.config.catalogue.default_services
        lines, is_truncated = cover(self._live_stocks(), pipeline, wanted)
        single_count = sum(line.nodes == 1 for line in lines)
        if query.nodes_max is not None:
            lines = [line for line in lines if line.nodes <= query.nodes_max]
        page = lines[query.offset : query.offset + query.limit]
        return Coverage(
            lines=[_coverage_line(line) for line in page],
            total=len(lines),
            more=query.offset + len(page) < len(lines),
            truncated=is_truncated,
            single=single_count,
            snapshot_version=shard.fleet.version,
        )

    def _live_stocks(self) -> list[Stock]:
        """The live nodes by class; counted at most once a second, however often it is asked."""
        shard = self._shard
        if shard.now_ns >= self._stocks_until_ns:
            self._stocks = list(_stocks(shard))
            self._stocks_until_ns = shard.now_ns + SECOND_NS
        return self._stocks


def _stocks(shard: Shard) -> Iterator[Stock]:
    """Live nodes by class: one pass over the words, and a look at rows that have slots in use."""
    fleet, ledger = shard.fleet, shard.setup.memory.ledger
    words = fleet.standing.tolist()  # the manager writes meanwhile
    row_by_word = {word: row for row, word in enumerate(words)}
    counts = Counter(words)
    stocks: dict[int, list[int]] = {}  # class -> nodes, slots, in use, one of the rows
    for word, count in counts.items():
        if word & _LIVE == _READY:
            stock = stocks.setdefault(word >> CLASS_SHIFT & CLASS_MASK, [0, 0, 0, 0])
            stock[0] += count
            stock[1] += count * (word & SLOTS_MASK)
            stock[3] = row_by_word[word]
    for row in {at // ledger.stride for at, cell in enumerate(ledger.cells) if cell}:
        word = words[row]
        stock = stocks.get(word >> CLASS_SHIFT & CLASS_MASK, [0, 0, 0, 0])
        stock[2] += min(fleet.held(row), word & SLOTS_MASK) if word & _LIVE == _READY else 0
    for number, (nodes, slots, held, row) in stocks.items():
        capability = fleet.snapshot.class_of(number)
        if capability is not None:
            yield Stock(capability, nodes, slots, slots - held, fleet.node_id(row))


def _coverage_line(line: Covered) -> CoverageLine:
    return CoverageLine(
        service=line.service,
        src_lang=line.src,
        tgt_lang=line.tgt,
        feature=line.feature,
        tenant=line.tenant,
        nodes=line.nodes,
        slots=line.slots,
        free=line.free,
        node_id=line.node_id,
    )


def _verdict_words(node_id: str, view: DecisionView, *, is_past: bool) -> str:
    """How the node fared in a decision, in words."""
    if not view.node_id:
        return "no node took it" if is_past else "no node takes it"
    if view.node_id == node_id:
        return "it took the job" if is_past else "it takes the job"
    when = "then " if is_past else ""
    for leg in reversed(view.legs):
        for place, node in enumerate(leg.nodes, 1):
            if node.node_id != node_id:
                continue
            if node.score is None:
                return f"{when}it was looked at, and failed a check: {_in_words(node.reason)}"
            rank_words = f"{when}it was number {place} of {leg.passed} in pool {leg.pool}"
            if node.score == view.score:
                return (
                    f"{rank_words}, with the same score as {view.node_id}, which chance put first"
                )
            return (
                f"{rank_words} with score {node.score:.2f}; {view.node_id} was ahead "
                f"with {view.score:.2f}"
            )
    pools = ", ".join(dict.fromkeys(leg.pool for leg in view.legs if leg.pool))
    count = sum(leg.looked_at for leg in view.legs)
    return f"{when}others were looked at ({count} of pool {pools}), and {view.node_id} was chosen"


def _in_words(reason: str) -> str:
    return reason.replace("_", " ")
