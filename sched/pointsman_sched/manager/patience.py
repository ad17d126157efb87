"""Heartbeats wait a moment for each other, so that one turn takes several.

Between the heartbeats of an idle fleet the process sleeps, and whatever it needs has left the
processor's caches when it wakes: a turn that takes one heartbeat costs five to ten times what one
more of them in it does.  So an ordinary one begins no turn.  It waits until others make a turn
worth while, or for whatever brings one before; the core looks around ten times a second at least.
"""

from collections.abc import Callable

# A turn with so many stays below a millisecond.
TOGETHER_MAX = 32


class Patience:
    """Asked of everything that comes, and told of every turn."""

    def __init__(self, may_wait: Callable[[object], bool]) -> None:
        self._may_wait = may_wait
        self._waiting_count = 0

    def may_wait(self, event: object) -> bool:
        """May this wait for another turn than its own?"""
        if self._waiting_count >= TOGETHER_MAX - 1 or not self._may_wait(event):
            return False
        self._waiting_count += 1
        return True

    def turned(self) -> None:
        """All that waited was taken."""
        self._waiting_count = 0
