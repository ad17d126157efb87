"""What only workers know: who waits for what, why jobs were refused, what was decided of late.

They are asked while somebody watches, together and not often; what they answer becomes rows, with
instants as the second in which something began, so that nothing changes by growing older.  No
names of sessions are among them, nor anything that was in a job.

  table     key               value
  queue     what it asks for  {waiting, since, services, src_lang, tgt_lang, tenant, priority}
  reason    outcome and why   {outcome, code, reason, fix, jobs}
  decision  job and attempt   {at, request_id, services, node_id, code, reason, taken_us, ...}
  job       job id            {since, services, src_lang, tgt_lang, tenant, state, node_id, waits}
  slow      node id           how many times as long as others it takes for the same work
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import monotonic_ns

import msgspec

from pointsman_sched.console.admin.problems import ApiError
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.admin.views import QueuesView, ReasonsView
from pointsman_sched.console.dashboard.picture import Picture
from pointsman_sched.console.dashboard.tables import SECOND_NS, second_of
from pointsman_wire.queries.explain_messages import DecisionView
from pointsman_wire.queries.work_messages import JobLine, Jobs, JobsQuery, QueueLine

ASK_S = 2.0
DECISIONS_MAX = 12
LINES_MAX = 10
NODES_MAX = 6
NODES_KNOWN_MAX = 500
SLOW_TIMES = 1.2  # what is less is not worth a line

Fields = dict[str, object]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers answered at one instant (monotonic)."""

    now_ns: int
    queues: QueuesView
    reasons: ReasonsView
    decisions: Sequence[DecisionView]
    jobs: Sequence[JobLine]


async def ask_workers(reading: Reading) -> Work:
    """Ask all of them; raises ApiError when none answers."""
    queues, reasons, decisions, (jobs, _) = await asyncio.gather(
        reading.queues(LINES_MAX),
        reading.reasons(),
        reading.decisions(DECISIONS_MAX),
        reading.processes.all_workers(JobsQuery(limit=LINES_MAX), Jobs),
    )
    return Work(
        now_ns=monotonic_ns(),
        queues=queues,
        reasons=reasons,
        decisions=decisions.decisions,
        jobs=[line for found in jobs.values() for line in found.jobs],
    )


class WorkTables:
    """Makes rows of answers; remembers when things began, and how fast nodes were seen to be."""

    def __init__(self) -> None:
        self._began: dict[str, int] = {}
        self._slowness: dict[str, float] = {}

    def show(self, picture: Picture, work: Work) -> None:
        """Put everything into the picture."""
        began, self._began = self._began, {}

        def since(key: str, age_ms: float) -> int:
            # What is known keeps its second, which an age that is rounded would shift about.
            now = second_of(work.now_ns - int(age_ms * SECOND_NS / 1_000))
            self._began[key] = began.get(key, now)
            return self._began[key]

        picture.set_table("queue", _queues(work.queues, work.now_ns))
        picture.set_table("reason", _reasons(work.reasons))
        change = {"words": work.reasons.best_change, "jobs": work.reasons.best_change_jobs}
        picture.put("now", "change", change)
        oldest = sorted(work.jobs, key=lambda job: -job.age_ms)[:LINES_MAX]
        picture.set_table("job", {job.job_id: _job(job, since) for job in oldest})
        decisions = {_name_of(view): _decision(view, since) for view in work.decisions}
        picture.set_table("decision", decisions)
        picture.set_table("slow", self._slow(work.decisions))
        picture.put("now", "work", True)

    def _slow(self, decisions: Iterable[DecisionView]) -> dict[str, float]:
        """The slowest among the nodes that were looked at of late."""
        known = self._slowness
        for view in decisions:
            for node in (node for leg in view.legs for node in leg.nodes):
                known.pop(node.node_id, None)
                known[node.node_id] = round(node.slowness, 1)
        while len(known) > NODES_KNOWN_MAX:
            del known[next(iter(known))]
        slow = sorted((-times, name) for name, times in known.items() if times >= SLOW_TIMES)
        return {name: -times for times, name in slow[:NODES_MAX]}


def _queues(view: QueuesView, now_ns: int) -> dict[str, Fields]:
    """One row for what waits alike, at whichever worker."""
    alike: dict[str, list[QueueLine]] = {}
    for found in view.queues:
        alike.setdefault(_queue_name(found.queue), []).append(found.queue)
    return {
        name: _asked(lines[0])
        | {
            "priority": lines[0].priority,
            "waiting": sum(line.waiting for line in lines),
            "since": second_of(now_ns - int(max(line.oldest_ms for line in lines) * 1e6)),
        }
        for name, lines in alike.items()
    }


def _queue_name(line: QueueLine) -> str:
    words = [*line.services, line.src_lang, line.tgt_lang, *line.features, line.tenant]
    return " ".join([*words, line.priority])


def _asked(line: QueueLine | JobLine | DecisionView) -> Fields:
    tenant = {"tenant": line.tenant} if line.tenant else {}
    return {
        "services": line.services,
        "src_lang": line.src_lang,
        "tgt_lang": line.tgt_lang,
        **tenant,
    }


def _reasons(view: ReasonsView) -> dict[str, Fields]:
    return {
        f"{line.outcome} {line.code} {line.reason} {line.fix}": {
            "outcome": line.outcome,
            "code": line.code,
            "reason": line.reason,
            "fix": line.fix,
            "jobs": line.jobs,
        }
        for line in view.reasons[:LINES_MAX]
    }


def _job(job: JobLine, since: Callable[[str, float], int]) -> Fields:
    state = {"state": job.state, "node_id": job.node_id, "waits": job.waits}
    return _asked(job) | state | {"since": since(job.job_id, job.age_ms)}


def _name_of(view: DecisionView) -> str:
    return f"{view.job_id or view.request_id} {view.attempt} {view.code}"


def _decision(view: DecisionView, since: Callable[[str, float], int]) -> Fields:
    return _asked(view) | {
        "at": since(_name_of(view), view.age_ms),
        "request_id": view.request_id,
        "attempt": view.attempt,
        "node_id": view.node_id,
        "code": view.code,
        "reason": view.breakdown.best_reason if view.breakdown is not None else "",
        "taken_us": round(view.taken_us),
        "waited_ms": round(view.waited_ms),
    }


async def keep_asking(reading: Reading, picture: Picture, is_watched: Callable[[], bool]) -> None:
    """Ask again and again while somebody watches; runs until it is cancelled."""
    tables = WorkTables()
    while True:
        if is_watched():
            try:
                tables.show(picture, await ask_workers(reading))
            except ApiError:  # they are being restarted; what they know is not shown until then
                picture.drop("now", "work")
        await asyncio.sleep(ASK_S)
