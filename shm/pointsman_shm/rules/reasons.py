"""Why a node was not chosen: the sixteen reasons, in the order in which they are reported.

The values are the order of the breakdown, not the order of the checks: `eligibility` and the
selection decide which check comes first, this table decides who wins when two counters tie.
"""

from collections.abc import Sequence
from enum import IntEnum


class Reason(IntEnum):
    """One counter of a breakdown; the value is its place in the array of counters."""

    OFFLINE = 0
    STATUS_NOT_READY = 1
    NOT_IN_PUBLIC_POOL = 2
    GPU_UNAVAILABLE = 3
    MODEL_NOT_AVAILABLE = 4
    CAPACITY_EXCEEDED = 5
    RESOURCE_THRESHOLD_EXCEEDED = 6
    LANG_PAIR_UNSUPPORTED = 7
    ASR_LANG_UNSUPPORTED = 8
    TTS_LANG_UNSUPPORTED = 9
    SRC_AUTO_NO_CANDIDATE = 10
    FEATURE_UNSUPPORTED = 11
    LABEL_MISMATCH = 12
    OWNER_PAUSED = 13
    EXCLUDED = 14
    NO_LANE = 15

    @property
    def label(self) -> str:
        """The name used in breakdowns, logs and metrics."""
        return self.name.lower()


REASON_COUNT = len(Reason)

# Reasons that pass when a job ends or a report comes in: somebody could do it, only not now.
BUSY_REASONS = frozenset({Reason.CAPACITY_EXCEEDED, Reason.RESOURCE_THRESHOLD_EXCEEDED})

LANGUAGE_REASONS = frozenset(
    {
        Reason.LANG_PAIR_UNSUPPORTED,
        Reason.ASR_LANG_UNSUPPORTED,
        Reason.TTS_LANG_UNSUPPORTED,
        Reason.SRC_AUTO_NO_CANDIDATE,
    }
)


def best_reason_label(
    counts: Sequence[int], total_nodes: int, *, strict_left_none: bool = False
) -> str:
    """Name the one reason to show: the largest counter, the earliest on ties.

    `counts` has one entry per Reason. "no_nodes" when there was no node at all,
    "no_eligible_pool" when strict eligibility left no pool, "unknown" when nothing was counted.
    """
    if total_nodes == 0:
        return "no_nodes"
    if strict_left_none:
        return "no_eligible_pool"
    largest = max(counts, default=0)
    if largest <= 0:
        return "unknown"
    return Reason(list(counts).index(largest)).label
