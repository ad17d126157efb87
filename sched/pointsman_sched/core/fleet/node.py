"""One node as the manager knows it: a plain record, written only inside a turn of the core."""

from pointsman_shm.memory.rows import NodeState
from pointsman_shm.snapshot.records import CapabilityClass, NodeRecord
from pointsman_wire.control_messages import Service
from pointsman_wire.link import Connection

# Percentages (cpu, gpu, its memory, memory), foreign jobs, pause, why, and what is too much.
Said = tuple[float | None, float | None, float | None, float | None, int, bool, str, int]


class Node:
    """Instants are on the core's clock, which stands still while the process was late."""

    __slots__ = (
        "bad_window", "capability", "class_number", "connection", "declared_services",
        "drain_deadline_ns", "epoch", "filed_tick", "flags", "generation", "has_gpus",
        "heard_at_ns", "instance", "interval_ns", "is_drained_by_operator", "is_lanes_ready",
        "is_proven", "is_serving", "is_silent", "node_id", "pause_reason", "reason", "record",
        "row", "said", "slots_max", "state", "state_since_ns", "was_good",
    )  # fmt: skip

    def __init__(self, node_id: str, row: int, generation: int, now_ns: int) -> None:
        self.node_id = node_id
        self.row = row
        self.generation = generation
        self.epoch = 0
        self.class_number = 0
        self.capability = CapabilityClass()
        self.slots_max = 0
        self.flags = 0  # of RowFlag
        # The instance to which it is connected and which judges its health; "" for our own nodes.
        self.instance = ""
        # Why its owner wants no jobs; meaningful while PAUSED is in its flags.
        self.pause_reason = ""
        self.declared_services: tuple[Service, ...] = ()
        self.is_serving = False  # whether one of those runs
        self.has_gpus = False  # in its hardware, as it said when it registered
        # What the node page holds of it; None while it has to be built anew.
        self.record: NodeRecord | None = None

        self.state = NodeState.REGISTERING
        self.state_since_ns = now_ns
        self.reason = ""
        # None while the control connection is broken, or not yet back after a restart of ours.
        self.connection: Connection | None = None
        self.is_lanes_ready = False
        # Whether it is known to have the key of its id.
        self.is_proven = False
        # Whether the last heartbeat of this registration was good.
        self.was_good = False
        # What its last sound heartbeat said, as far as the row's load and flags follow from it;
        # None while they do not.
        self.said: Said | None = None
        # The last heartbeats as bits, the newest lowest; 1 is bad.
        self.bad_window = 0
        self.heard_at_ns = now_ns
        # What the node was told; its misses are counted in these.
        self.interval_ns = 1_000_000_000
        # Missed its beats or lost its control connection: counted by the mass-loss guard.
        self.is_silent = False
        # Meaningful exactly while DRAINING.
        self.drain_deadline_ns = 0
        self.is_drained_by_operator = False
        # The coarse timer that will look at this node; 0 = none.
        self.filed_tick = 0

    def declare(self, services: tuple[Service, ...]) -> None:
        """Note the services that the node says it has."""
        self.declared_services = services
        self.is_serving = any(service.status == "running" for service in services)

    @property
    def is_ready(self) -> bool:
        """May it get jobs, as far as its health goes?"""
        return self.state is NodeState.READY

    def record_in(self, pools: tuple[int, ...]) -> NodeRecord:
        """What a node page holds of it when it is in these pools."""
        return NodeRecord(
            row=self.row,
            generation=self.generation,
            epoch=self.epoch,
            class_number=self.class_number,
            node_id=self.node_id,
            pools=pools,
            slots_max=self.slots_max,
            instance=self.instance,
        )

    @property
    def is_live(self) -> bool:
        """In the fleet, as opposed to remembered for a while after its end."""
        return self.state is not NodeState.OFFLINE and self.state is not NodeState.FREE
