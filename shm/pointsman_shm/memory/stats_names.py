"""The names of all counters, gauges and timings; a member's lower-case name is its public name.

Numbers are positions in the page, so a new member goes to the end of its table; the counts of the
tables are part of the page's header, so two builds with other tables refuse each other.
"""

from enum import IntEnum, auto


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
