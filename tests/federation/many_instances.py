"""Several registry cores over one store that is a few dictionaries, on one virtual clock."""

import msgspec
from manager_harness import MS, SECOND, Harness

from pointsman_sched.core.events import Alarm
from pointsman_sched.core.federation.port import (
    AskFleet,
    FleetAway,
    FleetHeard,
    FleetTold,
    Part,
    TellFleet,
)
from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState, unpack_standing
from pointsman_shm.snapshot.records import InstanceRecord, NodeRecord, PolicyPage


class Store:
    """What Redis would hold; `down` names the instances that cannot reach it."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.presences: dict[str, bytes] = {}
        self.parts: dict[Part, bytes] = {}
        self.down: set[str] = set()

    def obey(self, instance: str, wish: AskFleet | TellFleet) -> object:
        """Answer one wish."""
        if instance in self.down:
            return FleetAway(wish.number, "no route")
        if isinstance(wish, TellFleet):
            self.presences[wish.name] = wish.presence
            self.parts.update(wish.parts)
            return FleetTold(wish.number)
        return FleetHeard(
            number=wish.number,
            holder=self.holders.setdefault(wish.name, wish.uid),
            own_part_count=sum(part.instance == wish.name for part in self.parts),
            presences=dict(self.presences),
            parts={part: self.parts[part] for part in wish.parts if part in self.parts},
        )

    def flush(self) -> None:
        """Forget everything."""
        for held in (self.holders, self.presences, self.parts):
            held.clear()


class Core(Harness):
    """One core, which keeps what it asks of the store, and what it says aloud."""

    def __init__(self, config: Config | None, instance: str) -> None:
        self.wishes: list[AskFleet | TellFleet] = []
        self.alarms: list[str] = []
        super().__init__(config, instance=instance)

    def feed(self, *events: object) -> list[object]:
        commands = super().feed(*events)
        self.alarms += [c.words for c in commands if isinstance(c, Alarm)]
        self.wishes += [c for c in commands if isinstance(c, AskFleet | TellFleet)]
        return commands

    def meet(self, store: Store) -> None:
        """One turn, and then what it asked of the store, and what it asks on the answer."""
        self.feed()
        while self.wishes:
            self.feed(store.obey(self.instance, self.wishes.pop(0)))


class Instances:
    """Cores by name, all stepped when one has something to do."""

    def __init__(self, *names: str, config: Config | None = None) -> None:
        self.store = Store()
        self.cores = {name: Core(config, name) for name in names}
        self.frozen: set[str] = set()

    def __getitem__(self, name: str) -> Core:
        return self.cores[name]

    def advance(self, duration_ns: int = SECOND) -> None:
        """Let time pass for all that are not frozen, in turns of 20 ms."""
        some = next(iter(self.cores.values()))
        end_ns = some.now_ns + duration_ns
        while some.now_ns < end_ns:
            for name, core in self.cores.items():
                core.now_ns += 20 * MS
                if name not in self.frozen:
                    core.meet(self.store)

    def beat(self, *joined: tuple[str, object], seconds: int) -> None:
        """Let seconds pass in which the nodes of these (core, connection) go on beating."""
        for _ in range(2 * seconds):
            self.advance(SECOND // 2)
            for name, connection in joined:
                self.cores[name].beat(connection)  # type: ignore[arg-type]


def record(core: Harness, node_id: str) -> NodeRecord | None:
    """What a worker of this instance reads of a node."""
    return core.read().nodes.get(node_id)


def shown(core: Harness, node_id: str) -> NodeState:
    """The state that a worker of this instance sees in the node's row."""
    found = record(core, node_id)
    assert found is not None, f"{node_id} is not in the catalog"
    return unpack_standing(core.memory.rows.standing[found.row]).state


def others(core: Harness) -> tuple[InstanceRecord, ...]:
    """The instances that a worker reads of."""
    page = core.read().pages[core.layout.policy]
    return msgspec.msgpack.decode(page, type=PolicyPage).instances
