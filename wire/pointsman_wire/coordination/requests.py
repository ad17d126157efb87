"""What a process asks of the coordination backing, and what it is answered.

`backing.RedisBacking` answers, by scripts in Redis; one list of requests is one pipeline.  Every
request has a number, made by the asker and counting up; its answer repeats it, in the same order.

**Buckets.**  A request key belongs to one of 64 buckets (`keys.bucket_of`).  A bucket has a
*generation*, which names the reign of the primary that it was made in, and counts each member's
calls.  Every script raises the asker's counter and returns both.  A bucket that is missing, that
was made in another reign, or whose counter for the asker is smaller than the asker has `seen`,
has forgotten something: the script forgets the rest, and until the bucket is frozen under a new
generation, published again by all living members and thawed, every Bind is answered `frozen`:

    Touch -> missing    Freeze -> frozen    Republish by each member    Thaw -> open

A member that meets a generation other than the one it published into publishes again, also into an
open bucket (it was away while the others thawed).

**Three outcomes.**  `down` is a clear no: the request had no effect.  `unknown` means that it was
sent and no answer came: Lookup first, then the same Bind again, with the same proposals.

**Time.**  Leases count by the backing's own clock; if that jumps, a lease may lapse early, and then
the next owner has a higher fence: what the former one does is refused.  Nothing else depends on it.
"""

from typing import Any, Literal, NamedTuple

import msgspec

# Lua counts in doubles: fences and counters above this are refused before they are sent.
FENCE_MAX = 2**53 - 1
BINDINGS_PER_REQUEST_MAX = 500

BindOutcome = Literal[
    "won",  # new: the job is the asker's, under the proposed id and fence
    "mine",  # the asker had it already: an unknown outcome read back, or a restart
    "taken_over",  # its owner's lease had lapsed: the asker's now, same job_id, higher fence
    "follows",  # another owner, whose lease holds, has it
    "ended",  # it ended; `owner` may still have the result, or `result` is it
    "conflict",  # the same key with another body
    "missing",  # only to a Lookup: nobody has it
    "lapsed",  # only to a Lookup: its owner's lease has lapsed
    "frozen",  # the bucket forgot, or the asker must publish into its generation first
    "down",
    "unknown",
]
State = Literal["CREATED", "DISPATCHED", "ACCEPTED", "RUNNING", "FINISHED", "RELEASED"]
MoveTarget = Literal["CREATED", "DISPATCHED", "ACCEPTED", "RUNNING", "RELEASED"]
BucketState = Literal["open", "frozen", "missing"]


class RequestKey(NamedTuple):
    """The idempotency key of a job."""

    tenant: str
    session_id: str
    request_id: str


class SessionKey(NamedTuple):
    """A session, for what outlives its connection."""

    tenant: str
    session_id: str


class Owner(msgspec.Struct, frozen=True, gc=False):
    """A shard of an instance; the uid changes when the instance's state directory is lost."""

    instance: str
    uid: str
    shard: int

    @property
    def member(self) -> str:
        """The name under which its calls are counted, which a restart keeps."""
        return f"{self.instance}/{self.shard}"


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What the asker last heard of the bucket; the default expects nothing."""

    generation: str = ""
    counter: int = 0


NOTHING_SEEN = Seen()


class Request(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A wish, numbered by the asker."""

    number: int


class Answer(msgspec.Struct, frozen=True, tag=True, gc=False, kw_only=True):
    """What became of the request of that number.

    `generation` and `counter` are the bucket's (empty and 0 where there is none, or nothing came
    back); `error` says in words why the outcome is down or unknown.
    """

    number: int
    outcome: str  # a word of each kind's own; all have down and unknown
    generation: str = ""
    counter: int = 0
    error: str = ""


# ---- bindings


class Bind(Request, frozen=True, kw_only=True):
    """Bind a request to a job, unless somebody has.

    `fence` is a proposal: an owner's own binding keeps the larger of the two, one that lapsed gets
    at least one more than it had.  `keep` (durability redis) is what another instance would need
    to run the job.  Repeating a Bind with the same proposals changes nothing.
    """

    key: RequestKey
    job_id: str
    body: int  # checks that it is the same request: length << 32 | crc32
    owner: Owner
    fence: int
    keep: bytes | None = None
    seen: Seen = NOTHING_SEEN


class Lookup(Request, frozen=True, kw_only=True):
    """Read what a key is bound to, and change nothing (the counter apart)."""

    key: RequestKey
    owner: Owner  # the asker
    seen: Seen = NOTHING_SEEN


class Bound(Answer, frozen=True, kw_only=True):
    """The answer to Bind and Lookup; after job_id everything is what is stored now."""

    outcome: BindOutcome
    job_id: str = ""
    owner: Owner | None = None
    fence: int = 0
    state: State = "CREATED"
    attempt: int = 0
    ok: bool = False  # of an ended one
    result: bytes | None = None  # of an ended one, where it was stored
    keep: bytes | None = None  # of one that is mine, lapsed or taken over
    body: int = 0


class End(Request, frozen=True, kw_only=True):
    """The job ended: keep its binding for the window, and no longer renew it.

    `result` is stored where given (durability redis).  `released`: its slot is free already, so
    that no Move to RELEASED will follow.  Repeating it changes nothing.
    """

    key: RequestKey
    owner: Owner
    fence: int
    ok: bool
    keep_s: float
    result: bytes | None = None
    released: bool = True
    seen: Seen = NOTHING_SEEN


class Release(Request, frozen=True, kw_only=True):
    """Free a key whose job never ran, so that the same request may be bound anew at once."""

    key: RequestKey
    owner: Owner
    fence: int
    seen: Seen = NOTHING_SEEN


class Ended(Answer, frozen=True, kw_only=True):
    """The answer to End and Release.

    fenced: somebody else has it, or it has a higher fence (a Release also: it has ended already).
    missing: nobody has it; after an unknown Release that is what success looks like.
    """

    outcome: Literal["done", "fenced", "missing", "down", "unknown"]


class Held(NamedTuple):
    """A binding that its owner believes to have."""

    key: RequestKey
    fence: int


class Renew(Request, frozen=True, kw_only=True):
    """Renew the leases of bindings of one bucket, BINDINGS_PER_REQUEST_MAX at most."""

    bucket: int
    owner: Owner
    held: tuple[Held, ...]
    lapses: bool = False  # their owner stops: they end now, and whoever binds takes them over
    seen: Seen = NOTHING_SEEN


class Renewed(Answer, frozen=True, kw_only=True):
    """The answer to Renew: all were renewed but these."""

    outcome: Literal["done", "down", "unknown"]
    lost: tuple[RequestKey, ...] = ()  # somebody else has it now, or it has ended: stop working
    missing: tuple[RequestKey, ...] = ()  # nobody has it: publish it again


class Move(Request, frozen=True, kw_only=True):
    """Move the shared state machine.

    Forward moves are idempotent: at or past the target is done, and changes nothing.  CREATED is
    the reset for a new attempt (`attempt` at least the stored one), the others want the stored
    attempt.  RELEASED wants FINISHED, which only End makes.
    """

    key: RequestKey
    owner: Owner
    fence: int
    attempt: int
    to: MoveTarget
    seen: Seen = NOTHING_SEEN


class Moved(Answer, frozen=True, kw_only=True):
    """The answer to Move; refused: another attempt, or not a move of the diagram."""

    outcome: Literal["done", "fenced", "refused", "missing", "down", "unknown"]
    state: State = "CREATED"  # as it is now


class Kept(Request, frozen=True, kw_only=True):
    """Which bindings with a `keep` have lapsed in this bucket?  Bind takes them over."""

    bucket: int
    owner: Owner  # the asker
    count_max: int = 100
    seen: Seen = NOTHING_SEEN


class KeptFound(Answer, frozen=True, kw_only=True):
    """The answer to Kept: those that lapsed first come first.  Look each up, then Bind it."""

    outcome: Literal["done", "frozen", "down", "unknown"]
    keys: tuple[RequestKey, ...] = ()


# ---- buckets


class Touch(Request, frozen=True, kw_only=True):
    """Ask how a bucket is.

    Each member touches the buckets that it has bindings in once a second, and all others in
    turn, one a second: a bucket that nobody touched for 300 s counts as forgotten.
    """

    bucket: int
    owner: Owner
    seen: Seen = NOTHING_SEEN


class Freeze(Request, frozen=True, kw_only=True):
    """Begin a new generation.

    `proposal` is random (16 hex digits or so); `against` is the generation that is not to be
    trusted, "" where the bucket is missing.  Of several that freeze at once one wins, the others
    join: the answer's generation tells.
    """

    bucket: int
    owner: Owner
    proposal: str
    against: str = ""


class Thaw(Request, frozen=True, kw_only=True):
    """Open a bucket when all `members` have published into the generation, or it is `overdue`.

    Overdue is for the asker to say, by its own clock: frozen for 10 s.
    """

    bucket: int
    owner: Owner
    generation: str
    members: tuple[str, ...]
    overdue: bool = False


class Touched(Answer, frozen=True, kw_only=True):
    """The answer to Touch, Freeze and Thaw: the state after it."""

    outcome: Literal["done", "down", "unknown"]
    state: BucketState = "missing"
    waits_for: tuple[str, ...] = ()  # after a Thaw: the members that have not published


class Binding(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A binding as its owner remembers it, to be published again."""

    key: RequestKey
    job_id: str
    body: int
    fence: int
    state: State = "CREATED"
    attempt: int = 0
    ok: bool = False
    keep_s: float = 0.0  # of an ended one: what is left of its window
    keep: bytes | None = None
    result: bytes | None = None


class Republish(Request, frozen=True, kw_only=True):
    """Publish bindings of one bucket again, BINDINGS_PER_REQUEST_MAX at most.

    `last`: these were all that the member has in this bucket; it counts as having published.
    What is there already wins, unless it is the same job with a smaller fence.
    """

    bucket: int
    generation: str
    owner: Owner
    bindings: tuple[Binding, ...]
    last: bool = True


class Republished(Answer, frozen=True, kw_only=True):
    """The answer to Republish; behind: the bucket has another generation, or is missing."""

    outcome: Literal["done", "behind", "down", "unknown"]
    lost: tuple[RequestKey, ...] = ()  # another job, or another owner with a higher fence, has it


# ---- sessions


class SessionNotes(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is remembered of a session, for the instance it comes back to."""

    pool: int | None = None
    source: str = ""  # the bound language pair
    target: str = ""
    last_node: str = ""
    order: str = "free"  # free | utterance | serial
    order_state: bytes = b""  # numbers of its ordered results, as the worker packs them
    owner: Owner | None = None


class SessionRead(Request, frozen=True, kw_only=True):
    """Read a session's notes."""

    key: SessionKey


class SessionWrite(Request, frozen=True, kw_only=True):
    """Write a session's notes; the last one wins.  Nothing waits for the answer."""

    key: SessionKey
    notes: SessionNotes


class SessionFound(Answer, frozen=True, kw_only=True):
    """The answer to SessionRead; the notes' owner only while its 45 s last."""

    outcome: Literal["found", "missing", "down", "unknown"]
    notes: SessionNotes = SessionNotes()


class SessionWritten(Answer, frozen=True, kw_only=True):
    """The answer to SessionWrite."""

    outcome: Literal["done", "down", "unknown"]


def failed(request: Request, outcome: Literal["down", "unknown"], error: str) -> Answer:
    """The answer to a request that none came for, or that was not sent."""
    answer: Any = ANSWERS[type(request)]
    failure: Answer = answer(number=request.number, outcome=outcome, error=error)
    return failure


ANSWERS: dict[type[Request], type[Answer]] = {
    Bind: Bound,
    Lookup: Bound,
    End: Ended,
    Release: Ended,
    Renew: Renewed,
    Move: Moved,
    Kept: KeptFound,
    Touch: Touched,
    Freeze: Touched,
    Thaw: Touched,
    Republish: Republished,
    SessionRead: SessionFound,
    SessionWrite: SessionWritten,
}
