"""What the registry core is told beside link events, and what it wishes beside link commands."""

from typing import TYPE_CHECKING

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.logs.events import Event, Fields
from pointsman_shm.uplink import UplinkMessage
from pointsman_wire.messages import Message

if TYPE_CHECKING:
    from pointsman_sched.core.joining.introductions import Wish


class WorkerSaid(msgspec.Struct, frozen=True):
    """A worker sent a message over its uplink; the first is a WorkerHello."""

    worker_index: int
    message: UplinkMessage


class WorkerGone(msgspec.Struct, frozen=True):
    """A worker's uplink broke: the process died, or it will come back."""

    worker_index: int


class PairOrdered(msgspec.Struct, frozen=True):
    """An operator wants a pairing code for a node; answered by Answer with the same ticket."""

    ticket: int
    node_id: str


class EnrolOrdered(msgspec.Struct, frozen=True):
    """An operator introduces a node; answered by Answer with the same ticket."""

    ticket: int
    wish: "Wish"


class RevokeOrdered(msgspec.Struct, frozen=True):
    """An operator takes a node's certificate, or key, away; answered by Answer."""

    ticket: int
    node_id: str


class OrderGiven(msgspec.Struct, frozen=True):
    """An operator orders something of nodes or pools; answered by Answer with the same ticket."""

    ticket: int
    order: Message


class ConfigOffered(msgspec.Struct, frozen=True):
    """A whole and valid configuration that an operator wants in force; answered by Answer.

    is_trial: only to be compared with the present one.
    """

    ticket: int
    source: str
    config: Config
    is_trial: bool = False


class LagMeasured(msgspec.Struct, frozen=True):
    """How late this process came to what was due, looked at once a second."""

    lag_ns: int


class StopWished(msgspec.Struct, frozen=True):
    """The process shall end by itself; answered by Stopped."""


class RegistryEntry(msgspec.Struct, frozen=True, array_like=True):
    """What must survive every process: whose key proves a node id, and its highest epoch.

    key_hash: empty when the node said that it leaves: then its id is anybody's again.
    key_hash empty and epoch 0: the id is forgotten, as others have registered since.
    is_proven: whoever was given the key has shown that the answer with it arrived.  Until then a
    lost answer must not lock the id for ever.
    """

    node_id: str
    key_hash: bytes
    epoch: int
    is_proven: bool = False

    @property
    def is_forgotten(self) -> bool:
        """Is nothing kept of this id any more?"""
        return not self.key_hash and self.epoch == 0


class Record(msgspec.Struct, frozen=True):
    """Have the entries on disk, and say so with Recorded; at most one a step, numbered from 1.

    The turn does not wait for the disk: what must not leave before is held back by the core.
    """

    number: int
    entries: tuple[RegistryEntry, ...]


class Recorded(msgspec.Struct, frozen=True):
    """Every Record up to this number is on disk."""

    number: int


class TellWorkers(msgspec.Struct, frozen=True):
    """Send a message to every worker that has an uplink."""

    message: UplinkMessage


class TellWorker(msgspec.Struct, frozen=True):
    """Send a message to one worker."""

    worker_index: int
    message: UplinkMessage


class Answer(msgspec.Struct, frozen=True):
    """What came of the order with this ticket, for whoever gave it."""

    ticket: int
    message: Message


class Alarm(msgspec.Struct, frozen=True):
    """Say this where an operator reads it: it concerns more than one node."""

    words: str
    event: Event = Event.INSTANCES
    fields: Fields = ()


class NodeNews(msgspec.Struct, frozen=True):
    """Write down what became of one node."""

    event: Event
    words: str
    fields: Fields


class Stopped(msgspec.Struct, frozen=True):
    """The core has nothing left to do: the process may end."""
