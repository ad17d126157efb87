"""A dry run: the same decision, over copies, with a hand that only pretends to reserve.

The numbers that chance would draw next are drawn from a copy as well, so a dry run says what the
very next decision would be; a decision in between moves on.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable

from msgspec.structs import replace

from pointsman_shm.rules.modules import UnknownName
from pointsman_shm.snapshot.pool_view import PoolView
from pointsman_wire.errors import Code
from pointsman_wire.queries.explain_messages import DecisionView, JobAsk
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Session
from pointsman_workers.explain.pretending import PretendedHand
from pointsman_workers.explain.recorder import Recorder
from pointsman_workers.explain.records import decode_record
from pointsman_workers.explain.telling import Teller
from pointsman_workers.explain.what_if import Scene
from pointsman_workers.placement.deciding import decide, memory_of
from pointsman_workers.placement.draws import Draws
from pointsman_workers.placement.fleet import FIELDS, Fleet
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.refusal import Refusals
from pointsman_workers.placement.room import Room

SCRATCH_BYTES = 16 * 1024 * 1024
LOOKS_MAX = 17  # legs of a walk, which a job would make in as many turns


class DryFleet(Fleet):
    """The fleet as a decision sees it, as it is or as a scene has it; nothing is written."""

    def __init__(self, real: Fleet, scene: Scene | None = None) -> None:
        for name in FIELDS:
            setattr(self, name, getattr(real, name))
        self.own = PretendedHand(self)
        self.draws = Draws(real.draws.seed)
        self.draws.counter = real.draws.counter
        self.trail = []
        self.tally = defaultdict(int)  # nothing of it is told
        self.observe_session = lambda took_ns: None
        self._scene = scene
        if scene is not None:
            self.standing = memoryview(scene.standing)
            self.lane_generations = scene.lane_generations
            self.rows_by_node = scene.rows_by_node
            self.room = Room(self.standing, self.load, self.held)
            snapshot = real.snapshot
            view = PoolView(scene.pools, snapshot.classes.get, snapshot.config, snapshot.pair_memo)
            self.snapshot = replace(snapshot, pools=scene.pools, pool_view=view)

    def candidates(self, kind: Kind, pool_id: int | None) -> "array[int]":
        """Rows of the pool, and those that would join it."""
        scene = self._scene
        if scene is None or pool_id not in scene.newcomers:
            return super().candidates(kind, pool_id)
        rows = kind.lists.get(pool_id)
        if rows is None:
            there = () if pool_id in scene.new_pools else super().candidates(kind, pool_id)
            codes = kind.codes
            able = [
                row
                for row in scene.newcomers[pool_id]
                if self.class_number(row) < len(codes) and not codes[self.class_number(row)]
            ]
            rows = kind.lists[pool_id] = array("I", [*there, *able])
        return rows


class Rehearsal:
    """A job that is never submitted, in a copy of its session."""

    def __init__(self, shard: Shard, ask: JobAsk, refusals: Refusals) -> None:
        self._shard = shard
        self._refusals = refusals
        session = shard.sessions.get((ask.tenant, ask.session_id))
        self.is_session_known = session is not None
        self._session = replace(session) if session else _session_for(ask)
        self._submit = Submit(
            src_lang=ask.src_lang,
            tgt_lang=ask.tgt_lang,
            auto_langs=ask.auto_langs,
            services=ask.services,
            features=ask.features,
            labels_required=ask.labels_required,
            labels_preferred=ask.labels_preferred,
            accept_public=ask.accept_public,
            preferred_node=ask.preferred_node,
            exclude=ask.exclude,
        )
        self.kind = shard.kinds.find(self._submit, self._session)

    def job(self) -> Job:
        """The job, new each time, with a kind whose memory nobody else shares."""
        assert not isinstance(self.kind, UnknownName), "the asker looks first"
        session, kind = self._session, self.kind
        wished = self._submit.labels_preferred
        favoured = self._shard.kinds.favoured(kind, wished) if wished else ()
        return Job(
            job_id="",
            key=(session.tenant, session.session_id, ""),
            session=replace(session),
            submit=self._submit,
            payload=b"",
            body=0,
            kind=_fresh(kind),
            favoured=tuple(map(_fresh, favoured)),
            arrival=0,
            accepted_at_ns=self._shard.now_ns,
        )

    def play(self, fleet: DryFleet) -> DecisionView:
        """Decide, and tell the decision like one that was made."""
        refusals = Refusals(fleet, self._refusals.free_in)
        return rehearse(fleet, self.job(), refusals, self._shard.setup.stopwatch)


def _fresh(kind: Kind) -> Kind:
    """A kind that asks for the same, and remembers nothing that others will use."""
    return Kind(
        requirement=kind.requirement,
        services=kind.services,
        bucket=kind.bucket,
        encoded=kind.encoded,
    )


def _session_for(ask: JobAsk) -> Session:
    return Session(
        tenant=ask.tenant,
        session_id=ask.session_id,
        resume_token="",
        peer=None,
        src_lang=ask.src_lang,
        tgt_lang=ask.tgt_lang,
    )


def rehearse(
    fleet: DryFleet, job: Job, refusals: Refusals, stopwatch: Callable[[], int]
) -> DecisionView:
    """Decide for a job over a fleet that only pretends, and tell the decision."""
    recorder = Recorder(fleet, SCRATCH_BYTES)
    fleet.prepare(job.kind)
    started_ns = stopwatch()
    for _ in range(LOOKS_MAX):
        fleet.trail = []
        decided = decide(fleet, job)
        if decided.choice is not None or memory_of(job).walk is None:
            break
    job.placement_ns = stopwatch() - started_ns
    if decided.choice is not None:
        recorder.note_placed(job, decided, decided.choice)
    else:
        refusal = refusals.of_job(job)
        code = Code.QUEUE_TIMEOUT if refusal.is_busy else Code.NO_AVAILABLE_NODE
        recorder.note_refused(job, refusal, code.value)
    record = decode_record(recorder.of(job.key)[0])
    return Teller(fleet, recorder).tell(job.key, record)
