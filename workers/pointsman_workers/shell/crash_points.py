"""The named points at which a test kills a worker, in the order in which a job meets them.

worker-at-start is passed before the first journal or segment is touched; worker-after-bind and
worker-after-reserve lie inside a step, on either side of the store into the ledger that others see.
"""

from collections.abc import Callable

from pointsman_shm.memory.ledger import Ledger, OwnLedger, Reserve
from pointsman_wire.lane_messages import Assign, AssignAck, NodeResult
from pointsman_wire.session_messages import JobAccepted, Result, Submit
from pointsman_wire.sockets.crash_points import CrashSpot, Moment
from pointsman_workers.core.events import WriteJournal

WORKER_SPOTS = (
    CrashSpot("worker-after-receive", Moment.HEARD, (Submit,)),
    CrashSpot("worker-after-journal", Moment.DONE, (WriteJournal,)),
    CrashSpot("worker-before-accept", Moment.UNSENT, (JobAccepted,)),
    CrashSpot("worker-after-accept", Moment.SENT, (JobAccepted,)),
    CrashSpot("worker-mid-dispatch", Moment.HALF_SENT, (Assign,)),
    CrashSpot("worker-after-dispatch", Moment.SENT, (Assign,)),
    CrashSpot("worker-after-node-ack", Moment.HEARD, (AssignAck,)),
    CrashSpot("worker-after-result", Moment.HEARD, (NodeResult,)),
    CrashSpot("worker-before-reply", Moment.UNSENT, (Result,)),
    CrashSpot("worker-after-reply", Moment.SENT, (Result,)),
)


class CrashingLedger(OwnLedger):
    """A hand in the ledger that may die on either side of a reservation."""

    __slots__ = ("_crash",)

    def __init__(self, ledger: Ledger, worker_index: int, crash: Callable[[str], None]) -> None:
        super().__init__(ledger, worker_index)
        self._crash = crash

    def reserve(self, row: int, standing_column: memoryview, standing_word: int) -> Reserve:
        """Take one slot, as its base does."""
        self._crash("worker-after-bind")
        outcome = super().reserve(row, standing_column, standing_word)
        if outcome is Reserve.OK:
            self._crash("worker-after-reserve")
        return outcome
