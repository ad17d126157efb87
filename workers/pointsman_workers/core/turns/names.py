"""What names have over all workers of the host: of tenants that are not listed, and of addresses.

Each worker knows exactly what is its own, and adds what the shared words say of the others'
(named_counts.py): that is never too little, and too much only by what a few other names have that
fall into the same cells.  So a limit holds over all workers, and a host on which very many are
near their limits may refuse one of them a little early.
"""

from hashlib import blake2b

from pointsman_shm.memory.named_counts import CELL_COUNT, ROW_COUNT, NamedCount
from pointsman_shm.memory.waiting import OwnWaiting, WaitingWords

# Names whose cells are kept at hand; beyond so many they are found anew.
NAMES_MAX = 10_000
_CELL_BYTES = 2
_PERSON = b"pm-named-counts"


class NamedCounts:
    """The counts of one worker, and what the others have."""

    def __init__(self, words: WaitingWords, own: OwnWaiting, worker_index: int, key: bytes) -> None:
        self._words = words
        self._own = own
        self._worker_index = worker_index
        self._key = key[: blake2b.MAX_KEY_SIZE]
        self.worker_count = words.worker_count
        self._cells: dict[tuple[str, str], tuple[int, ...]] = {}

    def add(self, kind: NamedCount, what: str, name: str, change: int) -> None:
        """Count; `what` tells different things of one name apart."""
        if self.worker_count > 1:
            self._own.count_named(kind, self._cells_of(what, name), change)

    def elsewhere(self, kind: NamedCount, what: str, name: str) -> int:
        """Return what the other workers have: at least that."""
        return min(self.rows_elsewhere(kind, what, name), default=0)

    def rows_elsewhere(self, kind: NamedCount, what: str, name: str) -> tuple[int, ...]:
        """Return the same of each row, nothing where there is no other worker."""
        if self.worker_count == 1:
            return ()
        cells = self._cells_of(what, name)
        return self._words.named_elsewhere(self._worker_index, kind, cells)

    def _cells_of(self, what: str, name: str) -> tuple[int, ...]:
        cells = self._cells.get((what, name))
        if cells is None:
            if len(self._cells) >= NAMES_MAX:
                self._cells.clear()
            said = f"{what}\0{name}".encode("utf-8", "surrogatepass")
            size = ROW_COUNT * _CELL_BYTES
            digest = blake2b(said, key=self._key, person=_PERSON, digest_size=size).digest()
            parts = (digest[at : at + _CELL_BYTES] for at in range(0, size, _CELL_BYTES))
            cells = tuple(int.from_bytes(part, "little") % CELL_COUNT for part in parts)
            self._cells[what, name] = cells
        return cells
