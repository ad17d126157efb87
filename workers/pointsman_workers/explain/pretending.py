"""A hand that reaches for slots as a worker's does, and takes none."""

from pointsman_shm.memory.ledger import OwnLedger, Reserve
from pointsman_shm.memory.rows import SLOTS_MASK
from pointsman_workers.placement.fleet import Fleet


class PretendedHand(OwnLedger):
    """Says what a reservation would say, and reserves nothing."""

    __slots__ = ("_fleet",)

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def reserve(self, row: int, standing_column: memoryview, standing_word: int) -> Reserve:
        """Is there room, and is the node still as it was judged?"""
        if self._fleet.held(row) >= standing_word & SLOTS_MASK:
            return Reserve.FULL
        return Reserve.OK if standing_column[row] == standing_word else Reserve.CHANGED
