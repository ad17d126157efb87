"""How loaded a node is: the one formula that orders candidates."""

from math import inf


def effective_load(held: int, foreign: int, slots_max: int) -> float:
    """Share of the node's slots in use; a node without slots is infinitely loaded.

    `held` is the ledger's sum over all workers, `foreign` what the node runs for others.
    """
    return (held + foreign) / slots_max if slots_max else inf


def foreign_load(reported_running: int, held_at_report: int) -> int:
    """Jobs that a node runs beyond those we held when it made its report; never negative.

    A report is compared with the count, and never overwrites it.
    """
    return max(0, reported_running - held_at_report)
