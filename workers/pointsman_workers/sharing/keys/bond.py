"""Bonds: how a job stands to its key in the fleet.

             won, mine, taken_over                        ended, or never ran
    Bind  ------------------------->  BOUND  ---------------------------------->  OVER
      |                               |   ^
      | follows                fenced |   | taken_over
      v                               v   |
    FOLLOWING  <----------------------+---+

    UNSURE   ours as far as we know: asked again until there is an answer (a restart, a lost key)
    LOCAL    accepted without Redis, by policy: known in this instance only, until it is back

A job of a service without Redis has no bond at all.
"""

from enum import IntEnum

import msgspec

from pointsman_wire.coordination.requests import Bound, Owner, State
from pointsman_wire.session_messages import Submit
from pointsman_workers.fields import plainly_set


class Standing(IntEnum):
    """See the picture."""

    BOUND = 0
    UNSURE = 1
    LOCAL = 2
    FOLLOWING = 3
    OVER = 4


@plainly_set
class Bond(msgspec.Struct, eq=False, kw_only=True, gc=False):
    """A job's hold on its key."""

    standing: Standing
    bucket: int
    fence: int = 0
    owner: Owner | None = None  # while FOLLOWING: whose job it is
    leased_at_ns: int = 0  # by the clock: the lease counts from here at the earliest
    is_renewing: bool = False
    state: State = "CREATED"  # as Redis was told last, of which attempt
    attempt: int = 0
    attempts_before: int = 0  # those of former owners, and of our former lives
    is_cancelled: bool = False  # while FOLLOWING: its client wants no result any more
    ended_since_ns: int = 0  # while FOLLOWING: known to have ended since, and no result is here
    # While its end waits for its answer: what it takes to run it again, if that comes out so.
    submit: Submit | None = None
    payload: bytes = b""

    def take(self, answer: Bound, asked_at_ns: int, attempt: int) -> None:
        """The key is ours by this answer, and the job is in this attempt of ours."""
        self.standing, self.owner = Standing.BOUND, None
        self.fence, self.leased_at_ns = answer.fence, asked_at_ns
        self.state, self.attempt = answer.state, answer.attempt
        is_new = answer.outcome == "taken_over"
        self.attempts_before = answer.attempt if is_new else max(0, answer.attempt - attempt)

    @property
    def is_following(self) -> bool:
        """Does another instance run it?"""
        return self.standing is Standing.FOLLOWING
