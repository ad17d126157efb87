"""When a worker takes no new jobs, whatever they are: it stops, is drained, or all is paused."""

from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_workers.core.shard import Shard

PAUSE_RETRY_MS = 2_000


def closed_to_jobs(shard: Shard) -> ErrorInfo | None:
    """Return what a new request is told, None when it may come in."""
    if shard.is_stopping:
        words = "this worker takes no new jobs"
        return error_info(Code.SHUTTING_DOWN, words, retry_after_ms=500)
    if shard.is_drained:
        words = "an operator drains this worker: it takes no new jobs"
        return error_info(Code.SHUTTING_DOWN, words, retry_after_ms=PAUSE_RETRY_MS)
    if shard.fleet.snapshot.policy.orders.is_paused:
        words = "an operator has paused the service: it takes no new jobs"
        return error_info(Code.PAUSED, words, retry_after_ms=PAUSE_RETRY_MS)
    return None
