"""Holds back deaths while most of the fleet is gone: then the fault is rather ours.

A switch, a network, this host itself: when more than half the fleet (and at least three nodes)
goes silent at once, declaring all of them dead would run every job twice.  So nobody is declared
dead until fewer are silent, or until the hold has lasted long enough to believe it.

Manager and workers each judge by what they see themselves, heartbeats here and lanes there: either
may be without the other just then.
"""


class MassLossGuard:
    """Told the counts whenever they change, asked before each death."""

    def __init__(self, *, percent: int, nodes_min: int, hold_ns: int) -> None:
        self._percent = percent
        self._nodes_min = nodes_min
        self._hold_ns = hold_ns
        # When the loss began; None while few are silent.
        self.held_since_ns: int | None = None

    def observe(self, clock_ns: int, silent_count: int, live_count: int) -> bool:
        """Take note of how many of the living nodes are silent; True when a loss begins."""
        is_mass = (
            silent_count >= self._nodes_min and silent_count * 100 > self._percent * live_count
        )
        if not is_mass:
            self.held_since_ns = None
            return False
        has_begun = self.held_since_ns is None
        if has_begun:
            self.held_since_ns = clock_ns
        return has_begun

    def may_declare(self, clock_ns: int) -> bool:
        """Say whether a silent node may be declared dead now."""
        return self.held_since_ns is None or clock_ns - self.held_since_ns >= self._hold_ns
