"""Questions and orders about the dead letters of a worker's inbox: what it could not absorb.

They are put to each worker about its own inbox; Redis has the letters, so an answer may take as
long as one of its calls.  Without Redis the answer is an `error`.
"""

from typing import Annotated

import msgspec

from pointsman_wire.messages import Message, Number, PageLimit

LetterId = Annotated[str, msgspec.Meta(max_length=41)]  # two numbers of 64 bits: 1700000-0


class DeadLettersQuery(Message, tag="dead_letters_query", frozen=True, kw_only=True):
    """Which entries could this worker not absorb?"""

    limit: PageLimit = 100


class LetterLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One of them: why, and what can be read of who wrote it, true or not."""

    id: str
    why: str = ""
    bytes: int = 0
    buried_ago_s: float = 0.0
    sender: str = ""
    sender_epoch: int = 0
    number: int = 0


class DeadLetters(Message, tag="dead_letters", frozen=True, kw_only=True):
    """The newest first; `total` counts all that are kept."""

    letters: list[LetterLine]
    total: int = 0


class LetterQuery(Message, tag="letter_query", frozen=True, kw_only=True):
    """What does this dead letter say?"""

    id: LetterId


class FrameLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One frame of an entry: the start of its message as text, and the size of its payload."""

    message: str
    payload_bytes: int = 0


class LetterView(Message, tag="letter_view", frozen=True, kw_only=True):
    """The letter; `trouble` says why it could not be read now, empty when it can."""

    letter: LetterLine
    trouble: str = ""
    frames: list[FrameLine] = []
    frames_left_out: Number = 0


class RedriveOrder(Message, tag="redrive_order", frozen=True, kw_only=True):
    """Put a dead letter, or without an id all of them, at the end of the inbox again."""

    id: LetterId = ""


class DropOrder(Message, tag="drop_order", frozen=True, kw_only=True):
    """Throw a dead letter away."""

    id: LetterId


class LettersSettled(Message, tag="letters_settled", frozen=True, kw_only=True):
    """How many were redriven or dropped; is_full: the inbox took no more of them."""

    count: Number
    is_full: bool = False


InboxOrder = DeadLettersQuery | LetterQuery | RedriveOrder | DropOrder
InboxAnswer = DeadLetters | LetterView | LettersSettled
