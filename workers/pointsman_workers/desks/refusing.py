"""The answer of a refusal, in words and as a name; three answers that mean different things.

none_can         no node that was asked can do it; waiting helps only if nodes change
all_busy         some can, and have no room now
preferred_busy   the node that the request prefers could do it and has no room; others cannot
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from pointsman_shm.rules.reasons import BUSY_REASONS, Reason
from pointsman_wire.errors import Code
from pointsman_wire.messages import Breakdown, ErrorInfo, error_info
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job
from pointsman_workers.placement.refusal import Refusal

NONE_CAN = "none_can"
ALL_BUSY = "all_busy"
PREFERRED_BUSY = "preferred_busy"

TOO_BUSY = "over its limit of cpu, gpu or memory"

RETRY_AFTER_MS = 1_000  # where nobody knows better
STALE_RETRY_MS = 5_000  # a manager that died is back in a few seconds
RETRY_AFTER_MS_MIN = 50
RETRY_AFTER_MS_MAX = 30_000


class Preferred(NamedTuple):
    """The node that the request prefers: the check that it fails, and when a slot may be free."""

    node_id: str
    reason: Reason
    free_in_ns: float | None


class Answer(NamedTuple):
    """What the client is told."""

    name: str
    text: str
    retry_after_ms: int


def answer_of(refusal: Refusal, preferred: Preferred | None) -> Answer:
    """Say which of the three it is."""
    breakdown = refusal.breakdown
    counts, total = breakdown.counts, breakdown.total_nodes
    busy_count = sum(counts.get(reason.label, 0) for reason in BUSY_REASONS)
    soonest_ms = next((miss.free_in_ms for miss in breakdown.nearest if miss.free_in_ms), None)
    first = ""
    if preferred is not None and preferred.reason in BUSY_REASONS:
        free_ms = None if preferred.free_in_ns is None else round(preferred.free_in_ns / 1e6)
        is_full = preferred.reason is Reason.CAPACITY_EXCEEDED
        how = "busy" if is_full else TOO_BUSY
        first = f"your preferred node {preferred.node_id} is {how}{_in_words(free_ms)}"
        if not refusal.is_busy:
            text = f"{first}; no other of {total} nodes can do it"
            return Answer(PREFERRED_BUSY, text, _retry_after(free_ms))
        first += "; "
    elif preferred is not None:
        first = f"your preferred node {preferred.node_id} cannot: {preferred.reason.label}; "
    if refusal.is_busy:
        over = counts.get(Reason.RESOURCE_THRESHOLD_EXCEEDED.label, 0)
        how = _how_busy(busy_count - over, over)
        text = f"{first}{busy_count} of {total} nodes can do it, {how}"
        return Answer(ALL_BUSY, text + _in_words(soonest_ms), _retry_after(soonest_ms))
    text = f"{first}none of {total} nodes can do it: {breakdown.best_reason}"
    return Answer(NONE_CAN, text, RETRY_AFTER_MS)


def stale_answer(answer: Answer, silent_ns: int) -> Answer:
    """The same while the manager is silent: only nodes that answer now were asked."""
    seconds = silent_ns // SECOND_NS
    text = f"the manager has been silent for {seconds} s, so only nodes that answer now get jobs; "
    return Answer(answer.name, text + answer.text, STALE_RETRY_MS)


def full_homes(shard: Shard, breakdown: Breakdown) -> set[str]:
    """The instances whose inbox is full, if all who are busy, as far as named, are theirs."""
    homes = set()
    for reason in BUSY_REASONS:
        for node_id in breakdown.nodes.get(reason.label, ()):
            lane = shard.lanes.get(shard.rows_by_node.get(node_id, -1))
            if lane is None or lane.link is None or not lane.link.is_full:
                return set()
            homes.add(lane.link.instance)
    return homes


def full_home_answer(answer: Answer, instances: Collection[str]) -> Answer:
    """The same where all who can are at instances that take nothing in for now."""
    names = ", ".join(sorted(instances))
    text = f"{answer.text}; they are on instance {names}, whose inbox is full"
    return Answer(answer.name, text, RETRY_AFTER_MS)


def _how_busy(full_count: int, over_count: int) -> str:
    if not over_count:
        return "all are busy"
    if not full_count:
        return f"each is {TOO_BUSY}"
    return f"{full_count} without a free slot and {over_count} over a limit of cpu, gpu or memory"


def _in_words(free_ms: int | None) -> str:
    return "" if free_ms is None else f", free in about {max(free_ms, 100) / 1_000:.1f} s"


def _retry_after(free_ms: int | None) -> int:
    if free_ms is None:
        return RETRY_AFTER_MS
    return min(max(free_ms, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX)


def not_open(session_number: int) -> ErrorInfo:
    """What is told to who names a session that its connection does not have."""
    text = f"session number {session_number} is not open on this connection"
    return error_info(Code.INVALID_SESSION, text)


def cancelled(attempts: Sequence[str] = ()) -> ErrorInfo:
    """What a client is told of what it has cancelled; `attempts` failed before that."""
    return error_info(Code.CANCELLED, "cancelled by the client", attempts=[*attempts])


def refusal_of_repeat(job: Job, body: int) -> ErrorInfo | None:
    """Why a request that is known is not answered with its job; None when it is."""
    if job.body != body:
        text = f"request {job.key[2]!r} was submitted before with another payload"
        return error_info(Code.CONFLICT, text)
    return result_gone(job) if job.is_beyond_telling else None


def result_gone(job: Job) -> ErrorInfo:
    """A job has ended, its result was read, and only its end was written down."""
    assert job.result is not None, job.job_id
    text = (
        f"request {job.key[2]!r} has ended as job {job.job_id} ({job.result.status}); its result "
        "was read or given up, had no room in the journal, and is kept no longer"
    )
    return error_info(Code.NOT_FOUND, text)
