"""Session ids by the worker that owns them, and what a node answers."""

from itertools import count

from pointsman_wire.shards import shard_of


def session_ids(shard: int, how_many: int, *, prefix: str, worker_count: int = 2) -> list[str]:
    """Ids that begin with the prefix and belong to this worker."""
    found: list[str] = []
    for number in count():
        session_id = f"{prefix}-{number}"
        if shard_of(session_id, worker_count) == shard:
            found.append(session_id)
        if len(found) == how_many:
            break
    return found
