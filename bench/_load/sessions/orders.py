"""What the bench of sessions asks its clients to do, and what they answer."""

import msgspec


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open so many sessions, each on a connection of its own.

    With `is_keyed` the client chooses their ids, as many of each shard, and says in the preamble
    whose they are: about half of them arrive at the wrong one of two workers and are handed over.
    """

    count: int
    worker_count: int
    is_keyed: bool = False
    at_once: int = 32


class OpenOnTrunks(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open so many sessions over one trunk to each worker."""

    count: int
    worker_count: int
    at_once: int = 500


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Submit so many jobs a second by the clock, in the open sessions in turn.

    `hot_share` of them go to the first session.
    """

    per_s: float
    seconds: float
    hot_share: float = 0.0


SessionOrder = Open | OpenOnTrunks | Submit


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """How long all took, and one, from its first dial until its session stood.

    `retries` are dials that an overloaded worker turned away.
    """

    count: int
    retries: int
    elapsed_s: float
    mean_us: float
    p50_us: float
    p99_us: float


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """From submit to acceptance, as the client saw it.

    `unanswered` are jobs that had no result and no refusal 20 s after the last was submitted.
    """

    jobs: int
    unanswered: int
    elapsed_s: float
    refused: int
    accepted_p50_us: float
    accepted_p95_us: float
    accepted_p99_us: float
