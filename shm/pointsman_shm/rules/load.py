"""How loaded a node is, and how candidates are ordered by it: the one formula, and its terms.

    load    = (held + foreign) / slots                      what is in use now
    score   = (slowness * (held + foreign + 1) - 1) / slots the least is best

`slowness` is 1 for a node of which nothing is known; then the score *is* the load.  A node that
takes twice the time of others for the same work has slowness 2: one more job occupies it for twice
as long, so what it holds, and the job to come, weigh double.  (This is the rule of the shortest
expected delay, shifted so that it agrees with the load where nodes are alike.)

    slowness = speed term * slow start term * distance term
    speed term       mean service time of this node over the mean of all nodes known for the same
                     work, within SLOWNESS_MIN .. SLOWNESS_MAX; 1 below OBSERVATIONS_MIN of them
    slow start term  of a node that joined a running fleet a moment ago: from SLOWNESS_MAX down to
                     1 at the end of the window, in inverse proportion to its age
    distance term    DISTANCE_TERM for a node of another instance, whose jobs and results travel
                     twice; so of two nodes that are alike the one that is connected here is taken
"""

from math import inf

SLOWNESS_MIN = 0.25
SLOWNESS_MAX = 4.0
OBSERVATIONS_MIN = 20
DISTANCE_TERM = 1.1


def effective_load(held: int, foreign: int, slots_max: int) -> float:
    """Share of the node's slots in use; a node without slots is infinitely loaded.

    `held` is the ledger's sum over all workers, `foreign` what the node runs for others.
    """
    return (held + foreign) / slots_max if slots_max else inf


def score(held: int, foreign: int, slots_max: int, slowness: float) -> float:
    """Order candidates by this, the least first; with slowness 1 it is the effective load."""
    return (slowness * (held + foreign + 1) - 1) / slots_max if slots_max else inf


def speed_term(service_time: float, mean_service_time: float) -> float:
    """How slow a node is beside the others; both times in one unit, the mean above 0."""
    ratio = service_time / mean_service_time  # compared and not min(max()): it is asked every job
    if ratio < SLOWNESS_MIN:
        return SLOWNESS_MIN
    return ratio if ratio < SLOWNESS_MAX else SLOWNESS_MAX


def slow_start_term(age_ns: int, window_ns: int) -> float:
    """How much slower than it may be a node is taken to be at this age; 1 when past the window."""
    if age_ns >= window_ns:
        return 1.0
    return min(window_ns / max(age_ns, 1), SLOWNESS_MAX)


def foreign_load(reported_running: int, held_at_report: int) -> int:
    """Jobs that a node runs beyond those we held when it made its report; never negative.

    A report is compared with the count, and never overwrites it.
    """
    return reported_running - held_at_report if reported_running > held_at_report else 0
