"""What decisions and refusals are counted as, where more than one counter could be meant."""

from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.rules.reasons import LANGUAGE_REASONS, Reason
from pointsman_shm.rules.session_pool import PoolOutcome
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo
from pointsman_workers.core.state import Job
from pointsman_workers.placement.deciding import FAILOVER, SINGLE_LEVEL, TWO_LEVEL
from pointsman_workers.placement.trail import Decided

# Finding a member on its enum costs as much as counting with it, and only plain numbers are quick
# to index with.
_OUTCOME_COUNTERS: dict[str, int] = {
    PoolOutcome.HIT: Counter.SESSION_HITS.value,
    PoolOutcome.FIRST: Counter.SESSION_FIRST.value,
    PoolOutcome.AFFINITY: Counter.SESSION_AFFINITY.value,
    PoolOutcome.OVERRIDE: Counter.SESSION_OVERRIDE.value,
    PoolOutcome.RESET: Counter.SESSION_RESETS.value,
    PoolOutcome.REPLACED: Counter.SESSION_REPLACED.value,
    PoolOutcome.NONE: Counter.SESSION_NONE.value,
}
_POOL_HITS = Counter.POOL_HITS.value
_POOL_FALLBACK_HITS = Counter.POOL_FALLBACK_HITS.value
_POOL_MISSES = Counter.POOL_MISSES.value
_POOL_FALLBACK_MISSES = Counter.POOL_FALLBACK_MISSES.value

# Refusals that say nothing of their request.
_SERVICE_CODES = frozenset(
    {
        Code.QUEUE_FULL.value,
        Code.QUEUE_TIMEOUT.value,
        Code.STALE.value,
        Code.SCHEDULER_DEPENDENCY_DOWN.value,
        Code.SHUTTING_DOWN.value,
        Code.PAUSED.value,
    }
)
# No fleet could do better with such a request.
_REASONS_OF_REQUESTS = frozenset(
    reason.label
    for reason in (
        *LANGUAGE_REASONS,
        Reason.FEATURE_UNSUPPORTED,
        Reason.LABEL_MISMATCH,
        Reason.NOT_IN_PUBLIC_POOL,
        Reason.EXCLUDED,
    )
)


def count_decision(tally: dict[int, int], decided: Decided) -> None:
    """Count what became of a decision in its session and in its pools."""
    session, choice = decided.session, decided.choice
    if session is None:
        return
    tally[_OUTCOME_COUNTERS[session.outcome]] += 1
    pools = session.pools
    if choice is None:
        tally[_POOL_MISSES if len(pools) < 2 else _POOL_FALLBACK_MISSES] += 1
    elif choice.pool_id is None or choice.pool_id == pools[0]:  # a preferred node may be anywhere
        tally[_POOL_HITS] += 1
    else:
        tally[_POOL_FALLBACK_HITS] += 1


def selector_of(job: Job) -> str:
    """How a node was looked for, as refusals are counted (stats_names.SELECTORS)."""
    if job.failed_nodes:
        return FAILOVER
    return SINGLE_LEVEL if job.decision is None else TWO_LEVEL


def is_fault_of_service(error: ErrorInfo) -> bool:
    """Could the request have been served by a service in good health?"""
    if error.code == Code.NO_AVAILABLE_NODE.value:
        return error.breakdown is None or error.breakdown.best_reason not in _REASONS_OF_REQUESTS
    return error.code in _SERVICE_CODES
