"""How a node goes: jobs end, what is on its way arrives, and the manager is told.

    STAYING --- wish ---> DRAINING --- no job left, or the deadline ---> leave, stopped
                             |                                             ^
                             +-- the manager is away just then: FAREWELL --+

Who goes without a word keeps its id for a key that may be gone with it, and its jobs wait for a
grace period before they are run elsewhere.  So a node that was registered, and is not while its
manager restarts, waits a moment for that before it goes; asked a second time it goes at once.
"""

from pointsman.backoff import NS_PER_S
from pointsman.node_core.events import DrainWished

# After the wish to drain, jobs that were on their way are still taken for so long, and the node
# stays at least so long that they find it there.
DRAIN_TAKES_S = 1.0
DRAIN_SETTLE_S = 0.25
# A manager that restarts is away for less than half a second, and each of the node's first tries
# to reach it again comes within one.
FAREWELL_S = 2.0


class Departure:
    """What was wished, and when the node may go."""

    def __init__(self) -> None:
        self.reason = ""
        self._since_ns: int | None = None
        self._by_ns = 0
        self._is_hurried = False
        self._was_registered = False
        # When the server was lost that knows this node; None while it is there, and before.
        self._lost_at_ns: int | None = None

    @property
    def is_wished(self) -> bool:
        """Shall the node go?"""
        return self._since_ns is not None

    def wish(self, now_ns: int, event: DrainWished) -> bool:
        """Take a wish; was it the first?"""
        by_ns = now_ns + int(event.deadline_s * NS_PER_S)
        if self._since_ns is not None:
            self._by_ns = min(self._by_ns, by_ns)
            self._is_hurried = True
            return False
        self._since_ns, self._by_ns, self.reason = now_ns, by_ns, event.reason
        return True

    def see(self, now_ns: int, *, is_registered: bool) -> None:
        """Notice when the server was lost, or is there again."""
        if is_registered:
            self._lost_at_ns = None
        elif self._was_registered:
            self._lost_at_ns = now_ns
        self._was_registered = is_registered

    def shift(self, late_ns: int) -> None:
        """Move the deadline by what the machine slept."""
        self._by_ns += late_ns

    def left_s(self, now_ns: int) -> float:
        """Return how much time running jobs have."""
        return max(0.0, (self._by_ns - now_ns) / NS_PER_S)

    def refuses(self, now_ns: int) -> bool:
        """Is it too late for a job that comes now?"""
        since_ns = self._since_ns
        return since_ns is not None and now_ns - since_ns > DRAIN_TAKES_S * NS_PER_S

    def due_at_ns(self, *, is_busy: bool) -> int | None:
        """Return when the node goes if nothing else happens, or None when nobody wishes that."""
        if self._since_ns is None:
            return None
        due_ns = self._by_ns
        if not is_busy:
            settle_s = DRAIN_SETTLE_S if self._was_registered else 0.0
            due_ns = min(due_ns, self._since_ns + int(settle_s * NS_PER_S))
        if self._lost_at_ns is not None and not self._is_hurried:
            lost_at_ns = max(self._since_ns, self._lost_at_ns)
            due_ns = max(due_ns, lost_at_ns + int(FAREWELL_S * NS_PER_S))
        return due_ns
