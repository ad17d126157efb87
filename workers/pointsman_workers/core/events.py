"""What the worker core is told and what it wishes, beyond connections (pointsman_wire.link)."""

from typing import Literal

import msgspec

from pointsman_shm.logs.events import Event
from pointsman_shm.tokens.judging import KnownToken
from pointsman_shm.uplink import UplinkMessage
from pointsman_wire.coordination.requests import Answer, Request
from pointsman_wire.messages import Message
from pointsman_workers.core.overload import Pressure
from pointsman_workers.journal.entries import AnyEntry

WayState = Literal["open", "full", "stopped", "lost"]


class BellRang(msgspec.Struct, frozen=True, gc=False):
    """Another worker freed a slot of this capability class and it is our turn."""

    worker_index: int
    class_number: int


class ManagerSaid(msgspec.Struct, frozen=True, gc=False):
    """An order or hint from the manager came over the uplink."""

    message: UplinkMessage


class TokensChanged(msgspec.Struct, frozen=True, gc=False):
    """These tokens of clients, and no others, count from now on."""

    tokens: tuple[KnownToken, ...]


class StopWished(msgspec.Struct, frozen=True, gc=False):
    """Take no new jobs; finish what runs until the deadline, then answer Stopped."""

    deadline_ns: int


class OrderGiven(msgspec.Struct, frozen=True, gc=False):
    """An operator orders something; answered by OrderAnswered with the same ticket."""

    ticket: int
    order: Message


class OrderAnswered(msgspec.Struct, frozen=True, gc=False):
    """What came of an order, for whoever gave it."""

    ticket: int
    message: Message


class PressureMeasured(msgspec.Struct, frozen=True, gc=False):
    """How much of what this process has is used up; comes four times a second."""

    pressure: Pressure


class RefuseClients(msgspec.Struct, frozen=True, gc=False):
    """Refuse new connections of clients, or take them again; nodes are always let in."""

    is_refusing: bool


class CloseSlowest(msgspec.Struct, frozen=True, gc=False):
    """Hang up on at most so many connections that do not read what they are sent."""

    count: int


class JobTraced(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Tell a collector of traces of a job that has ended; times are how long it took."""

    trace_id: str
    job_id: str
    request_id: str
    tenant: str = ""
    status: str = ""
    error_code: str = ""
    node_id: str = ""
    attempt: int = 0
    failovers: int = 0
    placement_ns: int = 0
    lasted_ns: int = 0  # from its acceptance
    ran_ns: int | None = None  # from its last dispatch; None: no node had it at the end


class Say(msgspec.Struct, frozen=True, gc=False):
    """Tell the operator, in one line."""

    text: str
    event: Event


class RingWorker(msgspec.Struct, frozen=True, gc=False):
    """Ring another worker: a slot of this class is free and its job waits longest."""

    worker_index: int
    class_number: int


class TellManager(msgspec.Struct, frozen=True, gc=False):
    """Send a fact up; lost when the manager is away, it will find out by itself."""

    message: UplinkMessage


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """Nothing runs any more: the process may end."""


class WriteJournal(msgspec.Struct, frozen=True, gc=False):
    """Write these entries as one record before any frame of this step leaves.

    With `must_sync` the core waits for JournalSynced of this number (they count up) or a later one.
    """

    number: int
    entries: list[AnyEntry]
    must_sync: bool = False


class DropSegments(msgspec.Struct, frozen=True, gc=False):
    """Nothing that lives has anything in segments before this one: they may go."""

    below: int


class JournalState(msgspec.Struct, frozen=True, gc=False):
    """Where the journal stands; told at start, after each new segment, and when room changes."""

    segment: int  # the one that the next record is written to, or the one before it
    room_bytes: int  # this much can certainly be written, whatever the disk does
    held_bytes: int  # size of all segments
    oldest: int  # number of the oldest segment


class JournalSynced(msgspec.Struct, frozen=True, gc=False):
    """Every record up to this number is on the disk itself."""

    number: int


class SendInstance(msgspec.Struct, frozen=True, gc=False):
    """Put a message into the inbox of a worker of another instance.

    What one step sends to one worker arrives in order and together, or waits until it can.
    """

    instance: str
    shard: int
    message: Message
    payload: bytes = b""


class InstanceSaid(msgspec.Struct, frozen=True, gc=False):
    """A worker of another instance put this into our inbox."""

    instance: str
    shard: int
    message: Message
    payload: bytes = b""


class Coordinate(msgspec.Struct, frozen=True, gc=False):
    """Ask Redis, all in one pipeline; every request is answered, if need be by the shell."""

    requests: list[Request]


class Coordinated(msgspec.Struct, frozen=True, gc=False):
    """The answers to one Coordinate, in the order of its requests."""

    answers: list[Answer]


class InboxRead(msgspec.Struct, frozen=True, gc=False):
    """Comes after all that was said in these entries of our inbox; they are absorbed by then."""

    ids: tuple[str, ...]


class AcknowledgeInbox(msgspec.Struct, frozen=True, gc=False):
    """What these entries of our inbox said has been acted upon: they may go."""

    ids: tuple[str, ...]


class WayChanged(msgspec.Struct, frozen=True, gc=False):
    """How what we send to a worker of another instance fares.

    open: it leaves.  full: its inbox takes no more; what we send waits.  stopped: Redis is away,
    and it waits as well.  lost: so much waited that it was thrown away.
    """

    instance: str
    shard: int
    state: WayState


class InstanceMissed(msgspec.Struct, frozen=True, gc=False):
    """Something that a worker of another instance put into our inbox is lost: Redis forgot it."""

    instance: str
    shard: int


class HearingChanged(msgspec.Struct, frozen=True, gc=False):
    """Can our inbox be read?  While it cannot, silence of others says nothing."""

    can_hear: bool
