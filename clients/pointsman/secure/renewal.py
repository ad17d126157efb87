"""When a node's certificate is renewed: pure, told the wall clock's time.

begins ------------------ 67 % ------------- 90 % ------ ends
         nothing to do      | asked for       | and an alarm
                            | again and again |
"""

import msgspec

RENEW_PERCENT = 67
ALARM_PERCENT = 90
# Looked at so often in a life, so that a sleeping machine finds out soon after it woke.
LOOKS_PER_LIFE = 50
LOOK_MAX_S = 60.0


class Life(msgspec.Struct, frozen=True):
    """From when to when a certificate is good, in seconds of the wall clock."""

    begins_at_s: int
    ends_at_s: int

    @property
    def look_s(self) -> float:
        """How often to look whether something is due."""
        return min(LOOK_MAX_S, max(0.2, (self.ends_at_s - self.begins_at_s) / LOOKS_PER_LIFE))

    def is_due(self, now_s: float) -> bool:
        """Shall it be renewed?"""
        return self._percent(now_s) >= RENEW_PERCENT

    def is_alarming(self, now_s: float) -> bool:
        """Should somebody know that renewing has not worked?"""
        return self._percent(now_s) >= ALARM_PERCENT

    def is_over(self, now_s: float) -> bool:
        """Is it of no use any more?"""
        return now_s >= self.ends_at_s

    def _percent(self, now_s: float) -> float:
        life_s = max(1, self.ends_at_s - self.begins_at_s)
        return 100 * (now_s - self.begins_at_s) / life_s
