"""The names of all counters, gauges and timings; a member's lower-case name is its public name.

Numbers are positions in the page, so a new member goes to the end of its table; the counts of the
tables are part of the page's header, so two builds with other tables refuse each other.
"""

from enum import IntEnum, auto

from pointsman_shm.rules.reasons import Reason

# How a node was looked for, and why there was none: what refusals are counted by.
SELECTORS = ("two_level", "single_level", "failover")
REFUSAL_REASONS = (*(reason.label for reason in Reason), "no_nodes", "no_eligible_pool", "unknown")


class _Position(IntEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count


class Counter(_Position):
    """What only grows."""

    DECISIONS = auto()
    JOBS_ACCEPTED = auto()
    JOBS_COMPLETED = auto()
    JOBS_FAILED = auto()
    JOBS_EXPIRED = auto()
    JOBS_CANCELLED = auto()
    FAILOVERS = auto()
    RESERVE_OK = auto()
    RESERVE_FULL = auto()
    RESERVE_CHANGED = auto()
    RESERVE_BACKED_OFF = auto()
    LEDGER_UNDERFLOW = auto()
    NODE_CAPACITY_REFUSALS = auto()
    STALE_RESULTS = auto()
    HANDOVERS = auto()
    HANDOVER_FAILURES = auto()
    NO_AVAILABLE_NODE = auto()
    SNAPSHOT_REFRESHES = auto()
    SNAPSHOT_RETRIES = auto()
    LOOP_LATE = auto()
    REGISTRATIONS = auto()
    REGISTRATIONS_REFUSED = auto()
    HEARTBEATS = auto()
    PUBLISHES = auto()
    STATE_CHANGES = auto()
    SESSIONS_OPENED = auto()
    SESSION_HITS = auto()
    SESSION_RESETS = auto()
    SESSION_FIRST = auto()
    SESSION_REPLACED = auto()
    SESSION_NONE = auto()
    BAD_FRAMES = auto()
    REGISTRATIONS_DAMPED = auto()
    QUARANTINES = auto()
    MASS_LOSSES = auto()
    FAILOVERS_NO_ACK = auto()
    FAILOVERS_NO_RESULT = auto()
    FAILOVERS_NODE_LOST = auto()
    FAILOVERS_NODE_REFUSAL = auto()
    FAILOVERS_NODE_ERROR = auto()
    FAILOVERS_LANE_BROKEN = auto()
    JOBS_POISON = auto()
    HEDGES = auto()
    HEDGES_WON = auto()
    RESULTS_MISSING = auto()
    QUEUE_REFUSALS = auto()
    RATE_REFUSALS = auto()
    JOBS_SHED = auto()
    OVERLOAD_CHANGES = auto()
    # With Redis: jobs that another instance ran for a client of ours, that became ours, that
    # became another's, and those of durability redis that we ran for an instance that was gone.
    JOBS_FOLLOWED = auto()
    JOBS_TAKEN_OVER = auto()
    JOBS_FENCED = auto()
    JOBS_ADOPTED = auto()
    JOBS_DUPLICATE = auto()
    BINDS_WITHOUT_REDIS = auto()  # refused, or accepted for this instance alone
    BUCKETS_FORGOTTEN = auto()
    LEASES_RENEWED = auto()
    ENDS_TOLD_AGAIN = auto()
    REDIS_REQUESTS = auto()
    REDIS_PIPELINES = auto()
    REDIS_FAILURES = auto()  # requests without an answer of Redis
    GUESTS_TAKEN = auto()  # jobs of other instances that a node of ours was given
    GUESTS_REFUSED = auto()  # those for which there was no slot
    HOME_REFUSALS = auto()  # jobs of ours for which another instance had none
    LINKS_CUT = auto()  # links to other instances that fell silent
    INBOX_ENTRIES = auto()  # read from our inbox
    INBOX_FULL = auto()  # that another's inbox did not take
    INBOX_OVERFLOWS = auto()  # times that what waited for one was thrown away
    DEAD_LETTERS = auto()
    SESSION_AFFINITY = auto()
    SESSION_OVERRIDE = auto()
    # Decisions in pools: the first one asked had a node, another one had, none had.
    POOL_HITS = auto()
    POOL_FALLBACK_HITS = auto()
    POOL_MISSES = auto()
    POOL_FALLBACK_MISSES = auto()  # none of several
    # One set of nodes was looked at: one of them took the job, none passed the checks, or all that
    # passed had lost their room meanwhile.
    POOL_ATTEMPTS_OK = auto()
    POOL_ATTEMPTS_NOBODY = auto()
    POOL_ATTEMPTS_NO_ROOM = auto()
    # Refused, or ended before any node had them, by no fault of their clients.
    SUBMITS_FAILED = auto()
    MANAGEMENT_WAIT_LONG = auto()  # above 10 ms
    SCHEDULING_LONG = auto()  # above 50 ms
    TLS_HANDSHAKES = auto()  # that came to their end
    TLS_HANDSHAKES_FAILED = auto()
    ENROLMENTS = auto()
    ENROLMENTS_REFUSED = auto()
    CERTIFICATES_RENEWED = auto()
    CERTIFICATES_REFUSED = auto()  # shown by a node, but revoked, expired or another's
    CERTIFICATES_OVERDUE = auto()  # a node that is here has not renewed its own in time
    REVOCATIONS = auto()
    TOKENS_REFUSED = auto()  # of clients: none, unknown, expired, of another tenant or scope
    SESSIONS_REFUSED = auto()  # their tenant or their address has as many as it may have
    LOG_LINES_LOST = auto()  # nobody took them in time
    JOBS_TRACED = auto()  # whose spans a collector took
    TRACES_DROPPED = auto()  # jobs whose spans were never sent: it is slow, or away


class Gauge(_Position):
    """What is true now."""

    SESSIONS = auto()
    QUEUE_LENGTH = auto()
    LANES = auto()
    NODES = auto()
    SNAPSHOT_VERSION = auto()
    APPLIED_VERSION = auto()
    JOBS_ACTIVE = auto()
    OVERLOAD_STEP = auto()
    PRESSURE_PERCENT = auto()
    BINDINGS_PENDING = auto()
    ENDS_UNTOLD = auto()
    DRAINING = auto()  # 1: told to stop
    REDIS_DOWN = auto()  # 1: nothing of the last that was asked of Redis was answered
    INBOXES_FILLING = auto()  # inboxes, ours or others', that are nearly full
    REDIS_UNFIT = auto()  # 1: it was set up, while in use, so that it may drop what it was told


class Timing(_Position):
    """How long something took, in nanoseconds."""

    DECISION = auto()
    SUBMIT_TO_ASSIGN = auto()
    TURN = auto()
    PUBLISH = auto()
    REFRESH = auto()
    MANAGEMENT_WAIT = auto()
    QUEUE_WAIT = auto()
    LOOP_LAG = auto()
    SCHEDULING = auto()  # a request was read -> its node is chosen and the frames are written
    REDIS = auto()  # a pipeline, from its sending until its answers are here
    GC_PAUSE = auto()  # a collection of garbage, in which nothing else is done
    SESSION_DECISION = auto()  # one that does not merely keep what the session has
