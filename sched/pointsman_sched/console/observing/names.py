"""The names under which counters, gauges and timings of the stats pages are exposed.

Each member is in exactly one family here, so that nothing is counted and never told; families of
several members tell them apart by labels.  Names are pointsman_<layer>_<what>_<unit>.
"""

from typing import NamedTuple

from pointsman_shm.memory.stats_names import Counter, Gauge, Timing

WORKER, MANAGER = "worker", "manager"


class Family(NamedTuple):
    """One metric: its layers, what follows pointsman_<layer>_, help, and label names."""

    layers: tuple[str, ...]
    name: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One member's place in its family."""

    family: Family
    labels: tuple[str, ...] = ()


_W, _M, _BOTH = (WORKER,), (MANAGER,), (WORKER, MANAGER)

_ENDED = Family(_W, "jobs_ended", "Jobs that ended, by outcome", ("outcome",))
_RESERVE = Family(_W, "reservations", "Attempts to reserve a slot, by result", ("result",))
_FAILOVERS = Family(_W, "failovers_by_cause", "Attempts given up for another, by cause", ("cause",))
_SESSION = Family(_W, "session_decisions", "Pool decisions of sessions", ("outcome",))
_SELECTED = Family(
    _W, "pool_selected", "Whether a pool had a node, and not the first", ("outcome", "fallback")
)
_ATTEMPTS = Family(_W, "pool_attempts", "Sets of nodes that were looked at", ("result", "reason"))
_HANDOVERS = Family(_W, "handovers", "Connections given to another process", ("result",))
_REGISTRATIONS = Family(_M, "registrations", "Registrations of nodes, by result", ("result",))


def _one(layers: tuple[str, ...], name: str, words: str) -> Sample:
    return Sample(Family(layers, name, words))


COUNTERS: dict[Counter, Sample] = {
    Counter.DECISIONS: _one(_W, "decisions", "Placements that were decided"),
    Counter.JOBS_ACCEPTED: _one(_W, "jobs_accepted", "Jobs that were accepted"),
    Counter.JOBS_COMPLETED: Sample(_ENDED, ("completed",)),
    Counter.JOBS_FAILED: Sample(_ENDED, ("failed",)),
    Counter.JOBS_EXPIRED: Sample(_ENDED, ("expired",)),
    Counter.JOBS_CANCELLED: Sample(_ENDED, ("cancelled",)),
    Counter.FAILOVERS: _one(_W, "failovers", "Jobs that were tried on another node"),
    Counter.RESERVE_OK: Sample(_RESERVE, ("ok",)),
    Counter.RESERVE_FULL: Sample(_RESERVE, ("full",)),
    Counter.RESERVE_CHANGED: Sample(_RESERVE, ("changed",)),
    Counter.RESERVE_BACKED_OFF: Sample(_RESERVE, ("backed_off",)),
    Counter.LEDGER_UNDERFLOW: _one(_W, "ledger_underflows", "Slots released that nobody held"),
    Counter.NODE_CAPACITY_REFUSALS: _one(
        _W, "node_capacity_refusals", "Jobs that a node refused for its capacity"
    ),
    Counter.STALE_RESULTS: _one(_W, "stale_results", "Results of attempts given up before"),
    Counter.HANDOVERS: Sample(_HANDOVERS, ("taken",)),
    Counter.HANDOVER_FAILURES: Sample(_HANDOVERS, ("failed",)),
    Counter.NO_AVAILABLE_NODE: _one(_W, "jobs_without_node", "Jobs for which there was no node"),
    Counter.SNAPSHOT_REFRESHES: _one(_W, "snapshot_refreshes", "Snapshots that were taken up"),
    Counter.SNAPSHOT_RETRIES: _one(_W, "snapshot_retries", "Looks at a snapshot being written"),
    Counter.LOOP_LATE: _one(_BOTH, "pauses", "Times that the process did not run for a while"),
    Counter.REGISTRATIONS: Sample(_REGISTRATIONS, ("accepted",)),
    Counter.REGISTRATIONS_REFUSED: Sample(_REGISTRATIONS, ("refused",)),
    Counter.HEARTBEATS: _one(_M, "heartbeats", "Heartbeats of nodes"),
    Counter.PUBLISHES: _one(_M, "publishes", "Snapshots that were published"),
    Counter.STATE_CHANGES: _one(_M, "node_state_changes", "Changes of a node's state"),
    Counter.SESSIONS_OPENED: _one(_W, "sessions_opened", "Sessions that were opened"),
    Counter.SESSION_HITS: Sample(_SESSION, ("hit",)),
    Counter.SESSION_RESETS: Sample(_SESSION, ("reset",)),
    Counter.SESSION_FIRST: Sample(_SESSION, ("first",)),
    Counter.SESSION_REPLACED: Sample(_SESSION, ("replaced",)),
    Counter.SESSION_NONE: Sample(_SESSION, ("none",)),
    Counter.SESSION_AFFINITY: Sample(_SESSION, ("affinity",)),
    Counter.SESSION_OVERRIDE: Sample(_SESSION, ("override",)),
    Counter.BAD_FRAMES: _one(_BOTH, "bad_frames", "Messages that could not be understood"),
    Counter.REGISTRATIONS_DAMPED: Sample(_REGISTRATIONS, ("damped",)),
    Counter.QUARANTINES: _one(_M, "quarantines", "Node ids kept out for a while"),
    Counter.MASS_LOSSES: _one(_BOTH, "mass_losses", "Losses of nodes too large to be believed"),
    Counter.FAILOVERS_NO_ACK: Sample(_FAILOVERS, ("no_ack",)),
    Counter.FAILOVERS_NO_RESULT: Sample(_FAILOVERS, ("no_result",)),
    Counter.FAILOVERS_NODE_LOST: Sample(_FAILOVERS, ("node_lost",)),
    Counter.FAILOVERS_NODE_REFUSAL: Sample(_FAILOVERS, ("node_refusal",)),
    Counter.FAILOVERS_NODE_ERROR: Sample(_FAILOVERS, ("node_error",)),
    Counter.FAILOVERS_LANE_BROKEN: Sample(_FAILOVERS, ("lane_broken",)),
    Counter.JOBS_POISON: _one(_W, "jobs_poison", "Jobs given up as harmful to nodes"),
    Counter.HEDGES: _one(_W, "hedges", "Second dispatches of slow jobs"),
    Counter.HEDGES_WON: _one(_W, "hedges_won", "Second dispatches that were faster"),
    Counter.RESULTS_MISSING: _one(_W, "results_missing", "Results that others did not wait for"),
    Counter.QUEUE_REFUSALS: _one(_W, "queue_refusals", "Jobs refused for a full queue or overload"),
    Counter.RATE_REFUSALS: _one(_W, "rate_refusals", "Jobs refused for a limit of their tenant"),
    Counter.TOKENS_REFUSED: _one(_W, "tokens_refused", "Tokens of clients that did not do"),
    Counter.SESSIONS_REFUSED: _one(
        _W, "sessions_refused", "Sessions refused for a limit of their tenant or address"
    ),
    Counter.JOBS_SHED: _one(_W, "jobs_shed", "Waiting jobs that were shed under overload"),
    Counter.OVERLOAD_CHANGES: _one(_W, "overload_changes", "Moves on the ladder of overload"),
    Counter.JOBS_FOLLOWED: _one(_W, "jobs_followed", "Jobs that another instance ran for clients"),
    Counter.JOBS_TAKEN_OVER: _one(_W, "jobs_taken_over", "Jobs that were another instance's"),
    Counter.JOBS_FENCED: _one(_W, "jobs_fenced", "Jobs that became another instance's"),
    Counter.JOBS_ADOPTED: _one(_W, "jobs_adopted", "Jobs run for an instance that was gone"),
    Counter.JOBS_DUPLICATE: _one(_W, "jobs_duplicate", "Jobs that two instances had run"),
    Counter.BINDS_WITHOUT_REDIS: _one(_W, "binds_without_redis", "Keys bound without Redis"),
    Counter.BUCKETS_FORGOTTEN: _one(_W, "buckets_forgotten", "Buckets that Redis had forgotten"),
    Counter.LEASES_RENEWED: _one(_W, "leases_renewed", "Leases of jobs that were renewed"),
    Counter.ENDS_TOLD_AGAIN: _one(_W, "ends_told_again", "Ends that Redis was told once more"),
    Counter.REDIS_REQUESTS: _one(_W, "redis_requests", "Requests to Redis"),
    Counter.REDIS_PIPELINES: _one(_W, "redis_pipelines", "Pipelines to Redis"),
    Counter.REDIS_FAILURES: _one(_W, "redis_failures", "Requests that Redis did not answer"),
    Counter.GUESTS_TAKEN: _one(_W, "guests_taken", "Jobs of other instances given to our nodes"),
    Counter.GUESTS_REFUSED: _one(_W, "guests_refused", "Jobs of others for which was no slot"),
    Counter.HOME_REFUSALS: _one(_W, "home_refusals", "Our jobs that another instance refused"),
    Counter.LINKS_CUT: _one(_W, "links_cut", "Links to other instances that fell silent"),
    Counter.INBOX_ENTRIES: _one(_W, "inbox_entries", "Entries read from the inbox"),
    Counter.INBOX_FULL: _one(_W, "inbox_full", "Entries that another's inbox did not take"),
    Counter.INBOX_OVERFLOWS: _one(_W, "inbox_overflows", "Times that what waited was dropped"),
    Counter.DEAD_LETTERS: _one(_W, "dead_letters", "Entries that could not be absorbed"),
    Counter.POOL_HITS: Sample(_SELECTED, ("hit", "false")),
    Counter.POOL_FALLBACK_HITS: Sample(_SELECTED, ("hit", "true")),
    Counter.POOL_MISSES: Sample(_SELECTED, ("miss", "false")),
    Counter.POOL_FALLBACK_MISSES: Sample(_SELECTED, ("miss", "true")),
    Counter.POOL_ATTEMPTS_OK: Sample(_ATTEMPTS, ("ok", "")),
    Counter.POOL_ATTEMPTS_NOBODY: Sample(_ATTEMPTS, ("none", "no_candidate")),
    Counter.POOL_ATTEMPTS_NO_ROOM: Sample(_ATTEMPTS, ("none", "no_room")),
    Counter.SUBMITS_FAILED: _one(
        _W, "submits_failed", "Submits refused or ended unserved by no fault of their clients"
    ),
    Counter.MANAGEMENT_WAIT_LONG: _one(_M, "waits_long", "Events that waited above 10 ms"),
    Counter.LOG_LINES_LOST: _one(_BOTH, "log_lines_lost", "Lines of the log that nobody took"),
    Counter.JOBS_TRACED: _one(_W, "jobs_traced", "Jobs whose spans a collector took"),
    Counter.TRACES_DROPPED: _one(_W, "traces_dropped", "Jobs whose spans were never sent"),
    Counter.SCHEDULING_LONG: _one(_W, "scheduling_long", "Jobs that took above 50 ms to place"),
    Counter.TLS_HANDSHAKES: _one(_W, "tls_handshakes", "TLS handshakes that came to their end"),
    Counter.TLS_HANDSHAKES_FAILED: _one(_W, "tls_handshakes_failed", "TLS handshakes that failed"),
    Counter.ENROLMENTS: _one(_M, "enrolments", "Nodes that were given a certificate"),
    Counter.ENROLMENTS_REFUSED: _one(_M, "enrolments_refused", "Introductions that were refused"),
    Counter.CERTIFICATES_RENEWED: _one(_M, "certificates_renewed", "Certificates renewed"),
    Counter.CERTIFICATES_REFUSED: _one(
        _M, "certificates_refused", "Certificates shown that were revoked, expired or another's"
    ),
    Counter.CERTIFICATES_OVERDUE: _one(
        _M, "certificates_overdue", "Certificates of nodes that are near their end, not renewed"
    ),
    Counter.REVOCATIONS: _one(_M, "revocations", "Certificates that an operator has revoked"),
}

GAUGES: dict[Gauge, Sample] = {
    Gauge.SESSIONS: _one(_W, "sessions_open", "Sessions, those included that may be resumed"),
    Gauge.QUEUE_LENGTH: _one(_W, "queue_jobs", "Jobs that wait for a node"),
    Gauge.LANES: _one(_W, "lanes_open", "Lanes of nodes that are up"),
    Gauge.NODES: _one(_M, "nodes_known", "Nodes that the manager remembers"),
    Gauge.SNAPSHOT_VERSION: _one(_BOTH, "snapshot_version", "Version published or used"),
    Gauge.APPLIED_VERSION: _one(_W, "applied_version", "Version that was taken up last"),
    Gauge.JOBS_ACTIVE: _one(_W, "jobs_open", "Jobs that are accepted and have not ended"),
    Gauge.OVERLOAD_STEP: _one(_W, "overload_step", "Step of the ladder of overload, 0 to 4"),
    Gauge.PRESSURE_PERCENT: _one(_W, "pressure_percent", "The worst pressure of the worker"),
    Gauge.BINDINGS_PENDING: _one(_W, "bindings_pending", "Keys that are being bound in Redis"),
    Gauge.ENDS_UNTOLD: _one(_W, "ends_untold", "Ends that Redis has not heard of"),
    Gauge.DRAINING: _one(_W, "draining", "1 while the worker stops"),
    Gauge.REDIS_DOWN: _one(_W, "redis_down", "1 while Redis does not answer"),
    Gauge.REDIS_UNFIT: _one(_M, "redis_unfit", "1 while Redis is set up to drop keys"),
    Gauge.INBOXES_FILLING: _one(_W, "inboxes_filling", "Inboxes that are nearly full"),
}

TIMINGS: dict[Timing, Family] = {
    Timing.DECISION: Family(_W, "decision_seconds", "Deciding a placement"),
    Timing.SUBMIT_TO_ASSIGN: Family(_W, "submit_to_assign_seconds", "Acceptance to assignment"),
    Timing.TURN: Family(_BOTH, "turn_seconds", "One turn of the core"),
    Timing.PUBLISH: Family(_M, "publish_seconds", "Publishing a snapshot"),
    Timing.REFRESH: Family(_W, "snapshot_refresh_seconds", "Taking up a snapshot: a stall"),
    Timing.MANAGEMENT_WAIT: Family(_M, "wait_seconds", "Event read to event applied"),
    Timing.QUEUE_WAIT: Family(_W, "queue_wait_seconds", "Waiting of jobs that got a node"),
    Timing.LOOP_LAG: Family(_BOTH, "loop_lag_seconds", "Lateness of the event loop"),
    Timing.SCHEDULING: Family(_W, "scheduling_seconds", "Request read to node chosen"),
    Timing.REDIS: Family(_W, "redis_seconds", "A pipeline of requests to Redis"),
    Timing.GC_PAUSE: Family(_BOTH, "gc_pause_seconds", "Collections of garbage"),
    Timing.SESSION_DECISION: Family(_W, "session_decision_seconds", "Choosing a session's pools"),
}
