"""Keeps the garbage collector from walking the fleet while the fleet joins.

The registry makes no cycles of references, and neither do connections on uvloop: what is dropped
is freed at once, and a collection finds nothing.  But a full one walks every node there is, which
takes some 0.3 s at 100,000 nodes, in the middle of a turn.  So young objects are looked at in small
portions, and so are the middle-aged, as what has just joined ends up there; and what a burst of
registrations has left is put out of the collector's sight at the next look, after one last cheap
look at the young ones.
"""

import gc

# Net allocations until the young are looked at (about 0.3 ms), and how many such looks until the
# middle-aged are with them (about 1 ms: 4,000 objects).  The old wait for the next freeze.
THRESHOLDS = (2_000, 1, 100_000)
# So many registrations are a burst, or what is left of one.
BURST = 200


class GarbageKeeper:
    """Settled once at the start, then told once a second how many have registered so far."""

    def __init__(self) -> None:
        self._frozen_at = 0

    def settle(self) -> None:
        """Everything that is there now stays for as long as the process."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def look(self, registrations: int) -> bool:
        """Freeze what a burst has left; True when there was one."""
        if registrations - self._frozen_at < BURST:
            return False
        self._frozen_at = registrations
        gc.collect(1)
        gc.freeze()
        return True
