"""Two machines with one id and one key: they push each other out, so both are kept out for a time.

The newer of two connections wins, with a higher epoch; that is right when a machine comes back
before its old connection was missed.  But a copied disk makes a second machine that does the same,
and each one's jobs die with each turn.  Three takeovers within a minute are no coincidence.
"""

from pointsman_sched.core.fleet.intervals import NANOSECONDS

WINDOW_NS = 60 * NANOSECONDS
# Whom an operator keeps out asks again this soon at the latest: he may be released any time.
ASK_AGAIN_NS = 15 * NANOSECONDS


class Quarantine:
    """Takeovers by node id, and until when an id is kept out; the oldest entries make room."""

    def __init__(self, *, takeovers_max: int, lasts_ns: int, known_max: int) -> None:
        self._takeovers_max = takeovers_max
        self._lasts_ns = lasts_ns
        self._known_max = known_max
        self._takeovers: dict[str, tuple[int, ...]] = {}
        self._until: dict[str, int] = {}
        # Why an operator keeps an id out; for those that keep themselves out there is no word.
        self._words: dict[str, str] = {}

    def left_ns(self, node_id: str, clock_ns: int) -> int:
        """Return for how long an id is kept out still; 0: it is not."""
        until_ns = self._until.get(node_id, 0)
        if until_ns and until_ns <= clock_ns:
            self.release(node_id)
        return max(0, until_ns - clock_ns)

    def keep_out(self, node_id: str, until_ns: int, words: str) -> None:
        """An operator keeps an id out; a second order counts instead of the first."""
        self.release(node_id)
        self._until[node_id], self._words[node_id] = until_ns, words
        _bound(self._until, self._known_max)
        _bound(self._words, self._known_max)

    def release(self, node_id: str) -> None:
        """Let an id in again; one that is not kept out is no change."""
        self._until.pop(node_id, None)
        self._words.pop(node_id, None)

    def words_of(self, node_id: str) -> str:
        """Return why an operator keeps it out, "" for one that is kept out by itself."""
        return self._words.get(node_id, "")

    def by_operator(self, clock_ns: int) -> tuple[tuple[str, int, str], ...]:
        """Return (id, until when, why) of those that an operator keeps out still."""
        found = ((name, self._until.get(name, 0), why) for name, why in self._words.items())
        return tuple(entry for entry in found if entry[1] > clock_ns)

    def note_takeover(self, node_id: str, clock_ns: int) -> bool:
        """A newer connection pushes a living one out; True when that is once too often."""
        before = self._takeovers.pop(node_id, ())
        recent = (*(at for at in before if clock_ns - at < WINDOW_NS), clock_ns)
        if len(recent) < self._takeovers_max:
            self._takeovers[node_id] = recent
            _bound(self._takeovers, self._known_max)
            return False
        self._until[node_id] = clock_ns + self._lasts_ns
        _bound(self._until, self._known_max)
        return True


def _bound(
    table: dict[str, tuple[int, ...]] | dict[str, int] | dict[str, str], count_max: int
) -> None:
    if len(table) > count_max:
        del table[next(iter(table))]
