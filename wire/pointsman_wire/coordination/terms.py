"""How long things last in the backing, and how many there may be; the scripts are passed these.

**Why a bucket that nobody touched for GAP counts as forgotten.**  Keys of living bindings have
LINGER beyond their lease to live, renewed every third of a lease.  So only a jump of the backing's
clock by more than GAP can take a living binding away before its time, and such a jump shows in the
bucket itself, which has no time to live: the next script finds GAP between two touches, and the
bucket is frozen and published again.  Correctness therefore never rests on a time to live.
"""

import msgspec

GAP_MS = 300_000
LINGER_MS = 600_000
MEMBERS_MAX = 1_024  # of a bucket; one more, and it is forgotten and made anew
SESSION_MS = 3_600_000
SESSION_OWNER_MS = 45_000
INBOX_MS = 86_400_000  # since something was sent to it
DEAD_LETTERS_MAX = 1_000


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What the configuration says of these."""

    lease_ms: int = 45_000
    inbox_max: int = 10_000

    @property
    def binding_ms(self) -> int:
        """How long the key of a binding lives that is not renewed: then nobody can take it over."""
        return self.lease_ms + LINGER_MS
