"""The single parts of a job that have a budget, each measured alone in a fleet of 10,000 nodes.

A call is timed in a row of like ones, so that looking at the clock costs nothing; `max` is of
such rows, except for the session decision, which is timed call by call.
"""

import gc
from collections.abc import Callable, Sequence
from itertools import count
from time import thread_time_ns

from _shared.dispatch import SESSIONS, Dispatch
from _shared.report import Row, quantile
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.state import Job
from pointsman_workers.placement.kinds import Kind
from pointsman_workers.placement.session_pools import decide_for_session

NODES = 10_000
QUICK_NODES = 1_000
ROWS = 300
QUICK_ROWS = 50
CALLS_A_ROW = 100
KEYS = 50_000
PAYLOAD = bytes(200)


def budget_rows(*, is_quick: bool) -> list[Row]:
    """Measure every part."""
    dispatch = Dispatch(QUICK_NODES if is_quick else NODES)
    row_count = QUICK_ROWS if is_quick else ROWS
    dispatch.submit()
    gc.collect()
    gc.freeze()
    found = [
        ("pin a snapshot", 1.0, _timed(dispatch.core.shard.fleet.is_behind, row_count)),
        ("session decision", 1_000.0, _session_decisions(dispatch, row_count * CALLS_A_ROW)),
        *_bindings(dispatch, row_count),
    ]
    gc.unfreeze()
    return [_row(part, budget_us, took_ns, dispatch) for part, budget_us, took_ns in found]


def _row(part: str, budget_us: float, took_ns: Sequence[int], dispatch: Dispatch) -> Row:
    ordered = sorted(took_ns)
    return {
        "kind": "budget",
        "part": part,
        "nodes": dispatch.node_count,
        "budget_us": budget_us,
        "p50_us": quantile(ordered, 0.5) / 1e3,
        "p99_us": quantile(ordered, 0.99) / 1e3,
        "max_us": ordered[-1] / 1e3,
    }


def _timed(act: Callable[[], object], row_count: int) -> list[int]:
    """Return what a call took, in ns, in each row of calls."""
    found = []
    for _ in range(row_count):
        began_ns = thread_time_ns()
        for _ in range(CALLS_A_ROW):
            act()
        found.append((thread_time_ns() - began_ns) // CALLS_A_ROW)
    return found


def _session_decisions(dispatch: Dispatch, call_count: int) -> list[int]:
    """Decide the pools of sessions that have no binding, as for the first job of each."""
    shard = dispatch.core.shard
    session = next(iter(shard.sessions.values()))
    kind = shard.kinds.find(_submit(1), session)
    assert isinstance(kind, Kind), kind
    shard.fleet.prepare(kind)
    found = []
    for _ in range(call_count):
        session.binding = None
        began_ns = thread_time_ns()
        decide_for_session(shard.fleet, kind, session)
        found.append(thread_time_ns() - began_ns)
    return found


def _bindings(dispatch: Dispatch, row_count: int) -> list[tuple[str, float, list[int]]]:
    """Make jobs and bind their keys; then read keys that are bound."""
    core = dispatch.core
    shard = core.shard
    session = next(iter(shard.sessions.values()))
    numbers = count(1)
    jobs: list[Job] = []

    def write() -> None:
        submit = _submit(next(numbers))
        key = (session.tenant, session.session_id, submit.request_id)
        job = core._jobs._new_job(session, submit, PAYLOAD, key)
        assert isinstance(job, Job), job
        shard.window.bind(job)
        jobs.append(job)

    written = _timed(write, row_count)
    while len(jobs) < KEYS:
        write()
    keys = [job.key for job in jobs[:: max(1, len(jobs) // CALLS_A_ROW)]]
    following = count()

    def read() -> None:
        assert shard.window.find(keys[next(following) % len(keys)]) is not None

    return [
        ("binding read", 1.0, _timed(read, row_count)),
        ("job and binding write", 10.0, written),
    ]


def _submit(number: int) -> Submit:
    return Submit(
        session_number=number % SESSIONS,
        request_id=f"b-{number:08}",
        services=["nmt"],
        src_lang="en",
        tgt_lang="es",
    )
