"""The jobs of a node: what runs, and which results still wait to be taken.

      admit              end                 release
    --------> RUNNING ----------> HELD ----------------> gone
                 |                         (acknowledged, or too old)
                 +---------> gone: abandoned, its server is another one now

A slot is taken from admit to end, cancelled or not: capacity is measured here, whatever the
server believes.  Held results are never thrown out to make room: when they reach their bound the
node takes no new jobs.
"""

from typing import Any

import msgspec

from pointsman.backoff import NS_PER_S
from pointsman.node_core.events import AgentLimits, JobEnded
from pointsman.node_core.fences import Seen, SeenFences
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import Assign, JobFence, NodeResult
from pointsman_wire.messages import meta_bytes

# Reports list at most so many bytes of ids, so that they fit a frame; a job left out is
# dispatched again with a higher fence, which stops the older run.
REPORT_BYTES_MAX = 400 * 1024
_FENCE_BYTES = 32

JobKey = tuple[int, str, int, int]  # place, job_id, epoch, dispatch


class Run(msgspec.Struct, kw_only=True):
    """One job in one dispatch on this node."""

    number: int
    place: int
    fence: JobFence
    started_at_ns: int
    stream: bool
    # A stop was asked for; the slot stays taken until the handler has ended.
    is_stopping: bool = False
    # Nobody waits for the result any more.
    is_abandoned: bool = False
    partials: int = 0

    @property
    def key(self) -> JobKey:
        """What names the run on the wire."""
        return self.place, self.fence.job_id, self.fence.epoch, self.fence.dispatch


class HeldResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result that no worker has acknowledged yet; its number is set for each lane anew."""

    run: Run
    result: NodeResult
    payload: bytes
    ended_at_ns: int
    size: int  # what it takes while it is held


class Refusal(msgspec.Struct, frozen=True):
    """Why a job is not started."""

    code: Code
    message: str


class JobTable:
    """All runs and held results of the node, by number and by fence."""

    def __init__(self, max_concurrency: int, limits: AgentLimits) -> None:
        self.max_concurrency = max_concurrency
        self.running: dict[int, Run] = {}
        self.held: dict[int, HeldResult] = {}
        self.held_bytes = 0
        self._limits = limits
        self._by_key: dict[JobKey, Run] = {}
        self._seen = SeenFences(limits.seen_count_max, limits.seen_age_s)
        self._runs_made = 0

    def find(self, key: JobKey) -> Run | None:
        """Return the run of this fence that runs or whose result is held."""
        return self._by_key.get(key)

    def supersede(self, place: int, job_id: str) -> Run | None:
        """Return the run of the job's highest fence so far, if it still runs."""
        highest = self._seen.highest((place, job_id))
        run = self._by_key.get((place, job_id, *highest)) if highest else None
        return run if run and run.number in self.running else None

    def see(self, now_ns: int, key: JobKey) -> Seen:
        """Judge a fence against all earlier ones of its job, and remember it."""
        return self._seen.see(now_ns, (key[0], key[1]), (key[2], key[3]))

    def room(self) -> Refusal | None:
        """Return why the node can take no job now, or None when it can."""
        if len(self.running) >= self.max_concurrency:
            return Refusal(Code.NODE_OVERLOADED, f"{len(self.running)} jobs run, all there is room")
        limits = self._limits
        if len(self.held) >= limits.held_count_max or self.held_bytes >= limits.held_bytes_max:
            return Refusal(Code.NODE_OVERLOADED, f"{len(self.held)} results wait to be taken")
        return None

    def room_for_results(self) -> bool:
        """Can one more result be held?"""
        return len(self.held) < self._limits.held_count_max

    def admit(self, now_ns: int, key: JobKey, assign: Assign) -> Run:
        """Take a slot for a job that has one."""
        assert len(self.running) < self.max_concurrency
        place, job_id, epoch, dispatch = key
        self._runs_made += 1
        run = Run(
            number=self._runs_made,
            place=place,
            fence=JobFence(
                job_id,
                epoch,
                dispatch,
                assign.tenant,
                assign.session_id,
                assign.request_id,
                assign.origin,
            ),
            started_at_ns=now_ns,
            stream=assign.stream,
        )
        self.running[run.number] = run
        self._by_key[key] = run
        return run

    def end(self, now_ns: int, ended: JobEnded) -> HeldResult | None:
        """Free the slot and hold the result; None when nobody waits for it."""
        run = self.running.pop(ended.run)
        if run.is_abandoned:
            del self._by_key[run.key]
            return None
        status: Any = ended.status
        if run.is_stopping and status == "failed":
            status = "cancelled"
        result = NodeResult(
            number=0,
            job_id=run.fence.job_id,
            epoch=run.fence.epoch,
            dispatch=run.fence.dispatch,
            status=status,
            content_type=ended.content_type,
            meta=ended.meta,
            duration_us=(now_ns - run.started_at_ns) // 1000,
            code=ended.code,
            message=ended.message,
            retryable=ended.retryable,
        )
        return self._hold(now_ns, run, result, ended.payload)

    def confirm_unknown(self, now_ns: int, key: JobKey) -> HeldResult:
        """Hold a cancelled result for a job that never ran here or was taken long ago."""
        place, job_id, epoch, dispatch = key
        self._runs_made += 1
        fence = JobFence(job_id, epoch, dispatch)
        run = Run(
            number=self._runs_made, place=place, fence=fence, started_at_ns=now_ns, stream=False
        )
        self._by_key[key] = run
        result = NodeResult(
            number=0, job_id=job_id, epoch=epoch, dispatch=dispatch, status="cancelled"
        )
        return self._hold(now_ns, run, result, b"")

    def _hold(self, now_ns: int, run: Run, result: NodeResult, payload: bytes) -> HeldResult:
        size = len(payload) + len(result.content_type) + len(result.message)
        size += meta_bytes(result.meta)
        held = HeldResult(run=run, result=result, payload=payload, ended_at_ns=now_ns, size=size)
        self.held[run.number] = held
        self.held_bytes += size
        return held

    def release(self, number: int) -> None:
        """Forget a held result: it was acknowledged."""
        held = self.held.pop(number, None)
        if held is not None:
            self.held_bytes -= held.size
            del self._by_key[held.run.key]

    def forget_old_results(self, now_ns: int) -> int:
        """Drop results that nobody took for so long that no server knows them; return the count."""
        too_old_ns = now_ns - int(self._limits.held_age_s * NS_PER_S)
        old = []
        for number, held in self.held.items():
            if held.ended_at_ns > too_old_ns:
                break
            old.append(number)
        for number in old:
            self.release(number)
        return len(old)

    def abandon(self, places: set[int]) -> list[Run]:
        """Forget what belongs to other places than these; return the runs to be stopped."""
        for number in [n for n, held in self.held.items() if held.run.place not in places]:
            self.release(number)
        runs = [r for r in self.running.values() if r.place not in places and not r.is_abandoned]
        for run in runs:
            run.is_abandoned = run.is_stopping = True
        return runs

    def report(self, place: int) -> tuple[list[JobFence], list[HeldResult]]:
        """Return what runs and what is held for one place, for a lane's report."""
        bytes_left = REPORT_BYTES_MAX
        running = []
        for run in self.running.values():
            if run.place == place and not run.is_abandoned and bytes_left > 0:
                running.append(run.fence)
                bytes_left -= _size(run.fence)
        return running, [held for held in self.held.values() if held.run.place == place]


def listed(held: list[HeldResult]) -> list[JobFence]:
    """Return the fences of held results, as many as a report may list."""
    bytes_left = REPORT_BYTES_MAX
    fences = []
    for result in held:
        bytes_left -= _size(result.run.fence)
        if bytes_left < 0:
            break
        fences.append(result.run.fence)
    return fences


def _size(fence: JobFence) -> int:
    texts = (fence.job_id, fence.tenant, fence.session_id, fence.request_id, fence.origin)
    return _FENCE_BYTES + sum(len(text.encode()) for text in texts)
