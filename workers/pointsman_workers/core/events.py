"""What the worker core is told and what it wishes, beyond connections (pointsman_wire.link)."""

import msgspec

from pointsman_shm.uplink import UplinkMessage


class BellRang(msgspec.Struct, frozen=True, gc=False):
    """Another worker freed a slot of this capability class and it is our turn."""

    worker_index: int
    class_number: int


class ManagerSaid(msgspec.Struct, frozen=True, gc=False):
    """An order or hint from the manager came over the uplink."""

    message: UplinkMessage


class StopWished(msgspec.Struct, frozen=True, gc=False):
    """Take no new jobs; finish what runs until the deadline, then answer Stopped."""

    deadline_ns: int


class RingWorker(msgspec.Struct, frozen=True, gc=False):
    """Ring another worker: a slot of this class is free and its job waits longest."""

    worker_index: int
    class_number: int


class TellManager(msgspec.Struct, frozen=True, gc=False):
    """Send a fact up; lost when the manager is away, it will find out by itself."""

    message: UplinkMessage


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """Nothing runs any more: the process may end."""
