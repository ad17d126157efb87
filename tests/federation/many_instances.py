"""Several registry cores over one store that is a few dictionaries, on one virtual clock."""

import msgspec
from manager_harness import MS, SECOND, Harness
from redis_model.model import Model

from pointsman_sched.core.events import Alarm
from pointsman_sched.core.joining.certified import Authority
from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState, unpack_standing
from pointsman_shm.snapshot.records import InstanceRecord, NodeRecord, PolicyPage
from pointsman_wire.coordination.fleet_requests import (
    FleetAsk,
    FleetHeard,
    FleetLeave,
    FleetLeft,
    FleetPair,
    FleetRedeem,
    FleetSettle,
    FleetSettled,
    FleetTell,
    FleetTold,
    Part,
)
from pointsman_wire.coordination.requests import Answer, failed

TURN_NS = 100 * MS

FleetRequest = FleetAsk | FleetTell | FleetSettle | FleetLeave | FleetPair | FleetRedeem


class Store:
    """What Redis would hold; `down` names the instances that cannot reach it."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.presences: dict[str, bytes] = {}
        self.parts: dict[Part, bytes] = {}
        self.settings: tuple[int, str, bytes] = (0, "", b"")
        self.leader = ""
        self.down: set[str] = set()
        self.codes = Model()  # of pairing codes

    def obey(self, instance: str, wish: FleetRequest) -> Answer:
        """Answer one wish."""
        if instance in self.down:
            return failed(wish, "down", "no route")
        if isinstance(wish, FleetSettle):
            return self._settle(wish)
        if isinstance(wish, FleetPair | FleetRedeem):
            return self.codes.answer([wish], now_ms=0)[0]
        if isinstance(wish, FleetTell):
            self.holders.setdefault(wish.name, wish.uid)
            self.presences[wish.name] = wish.presence
            self.parts.update({Part(wish.name, field): blob for field, blob in wish.parts})
            return FleetTold(number=wish.number, outcome="done")
        if isinstance(wish, FleetLeave):
            return self._leave(wish)
        self.leader = self.leader or wish.name
        version, by, settings = self.settings
        asked = {wish.name, *wish.known}
        return FleetHeard(
            number=wish.number,
            outcome="done",
            holder=self.holders.setdefault(wish.name, wish.uid),
            leader=self.leader,
            own_part_count=sum(part.instance == wish.name for part in self.parts),
            names=tuple(self.holders),
            presences={name: blob for name, blob in self.presences.items() if name in asked},
            parts={part: self.parts[part] for part in wish.parts if part in self.parts},
            settings_version=version,
            settings_by=by,
            settings=settings if version != wish.settings_version else b"",
        )

    def _settle(self, wish: FleetSettle) -> FleetSettled:
        if self.settings[0] >= wish.version:
            return FleetSettled(number=wish.number, outcome="behind")
        self.settings = (wish.version, wish.name, wish.settings)
        self.leader = wish.name
        return FleetSettled(number=wish.number, outcome="done")

    def _leave(self, wish: FleetLeave) -> FleetLeft:
        self.holders.pop(wish.name, None)
        self.presences[wish.name] = wish.presence
        self.parts = {part: blob for part, blob in self.parts.items() if part.instance != wish.name}
        self.leader = "" if self.leader == wish.name else self.leader
        return FleetLeft(number=wish.number, outcome="done")

    def flush(self) -> None:
        """Forget everything."""
        for held in (self.holders, self.presences, self.parts):
            held.clear()
        self.settings, self.leader = (0, "", b""), ""


class Core(Harness):
    """One core, which keeps what it asks of the store, and what it says aloud."""

    def __init__(
        self, config: Config | None, instance: str, authority: Authority | None = None
    ) -> None:
        self.wishes: list[FleetRequest] = []
        self.alarms: list[str] = []
        super().__init__(config, instance=instance, authority=authority)

    def feed(self, *events: object) -> list[object]:
        commands = super().feed(*events)
        self.alarms += [c.words for c in commands if isinstance(c, Alarm)]
        self.wishes += [c for c in commands if isinstance(c, FleetRequest)]
        return commands

    def meet(self, store: Store) -> bool:
        """Have the store answer one wish, if there is one."""
        if not self.wishes:
            return False
        self.feed(store.obey(self.instance, self.wishes.pop(0)))
        return True


class Instances:
    """Cores by name, all stepped when one has something to do."""

    def __init__(
        self, *names: str, config: Config | None = None, authority: Authority | None = None
    ) -> None:
        self.store = Store()
        self.authority = authority
        self.cores = {name: Core(config, name, authority) for name in names}
        self.frozen: set[str] = set()

    def __getitem__(self, name: str) -> Core:
        return self.cores[name]

    def advance(self, duration_ns: int = SECOND) -> None:
        """Let time pass for all that are not frozen, in turns of 100 ms.

        All ask the store at the same instants, so that whatever can meet there does.
        """
        some = next(iter(self.cores.values()))
        end_ns = some.now_ns + duration_ns
        while some.now_ns < end_ns:
            awake = [core for name, core in self.cores.items() if name not in self.frozen]
            for core in self.cores.values():
                core.now_ns += TURN_NS
            for core in awake:
                core.feed()
            while sum(core.meet(self.store) for core in awake):
                pass

    def join(self, name: str, config: Config | None = None) -> None:
        """Another instance comes."""
        now_ns = next(iter(self.cores.values())).now_ns
        self.cores[name] = Core(config, name, self.authority)
        self.cores[name].now_ns = now_ns

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
