"""How many handshakes may begin: so many a second, so many at a time.

A handshake costs some hundred times what accepting costs, and anybody may ask for one.  What is
too much stays in the queue of the listening socket, where it costs nothing.
"""


class HandshakeAllowance:
    """A bucket that holds a second's worth, and a count of those under way."""

    def __init__(self, *, per_s_max: int, under_way_max: int, now_s: float) -> None:
        self.under_way = 0
        self._per_s_max = per_s_max
        self._under_way_max = under_way_max
        self._left = float(per_s_max)
        self._counted_at_s = now_s

    def take(self, now_s: float) -> bool:
        """Begin one handshake; False while none may begin."""
        earned = max(0.0, now_s - self._counted_at_s) * self._per_s_max
        self._left = min(float(self._per_s_max), self._left + earned)
        self._counted_at_s = now_s
        if self._left < 1 or self.under_way >= self._under_way_max:
            return False
        self._left -= 1
        self.under_way += 1
        return True

    def was_not_needed(self) -> None:
        """Nobody was there to begin it with."""
        self.under_way -= 1
        self._left += 1

    def give_back(self) -> None:
        """One is over, however it ended."""
        self.under_way -= 1
