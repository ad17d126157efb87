"""One line of a history: who saw what happen, and when.

A history is a file of such lines (JSON, one a line), written by clients, nodes and whoever makes
the faults; `python -m pointsman_sim.checker FILE...` judges it.  Instants are of the monotonic
clock, so all recorders of one history run on one machine.  The words for `what`, by recorder:

    any        begin (a life of the recorder starts), full (nothing is recorded from here on)
    client     submit, accepted, refused, result, missing (accepted, and no result came),
               cancel, connect, resume, closed
    agent      registered, state, read (an assignment), started, ended, refused, stopping,
               fenced (a worker that was replaced), capacity
    worker     issued (a dispatch), ended (a job, wherever its client is), version
    observer   state (of a node), version, sample, slots, rest (all must have ended by now)
    nemesis    fault, proof (that it happened), healed, instances (how many share a fleet)
"""

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened; only the fields that say something are set."""

    at_ns: int
    by: str
    who: str
    what: str
    # Whose job.
    tenant: str = ""
    session: str = ""
    request: str = ""
    job_id: str = ""
    # The fence of a dispatch, and its number for people.
    uid: str = ""
    shard: int = -1
    epoch: int = 0
    dispatch: int = 0
    attempt: int = 0
    # How a job ended, what a node or a session is, a code, an order: one word.
    status: str = ""
    # What an acceptance promises; of a fault: the lowest level that survives it.
    level: str = ""
    # Jobs of one session, one kind and one priority leave the queue in their order.
    kind: str = ""
    # Which node; of a fault: whom it strikes.
    node: str = ""
    # A capacity, a version, a count; `bound` is what it may be at most.
    number: int = 0
    bound: int = 0
    # A deadline, a duration, an age.
    seconds: float = 0.0
    words: str = ""


encode_fact = msgspec.json.Encoder().encode
decode_fact = msgspec.json.Decoder(Fact).decode
