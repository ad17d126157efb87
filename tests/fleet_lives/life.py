"""Lives of a fleet at random: people, nodes and troubles of three instances over one Redis.

The simulator plays whole processes, their networks and disks; here it is only worker cores, in
memory, and so every feature may meet every other: who speaks, in rooms and in every order; jobs
with all that a submit may ask for; nodes that fail, lie, refuse and come back as another; limits,
reloads, orders and questions; instances that stop, are cut off, die and read their journal; a Redis
that is away, or forgets.

When the sky has cleared, everybody who was promised a result has it, and nothing is held.
"""

from random import Random
from typing import Any

import msgspec
from fleet_lives.machines import Machines
from fleet_lives.people import People
from fleet_lives.questions import ask
from fleet_lives.settings import reloaded, sections_of
from several import Instance, Several
from worker_harness import SECOND_NS

from pointsman_shm.snapshot.records import MarkRecord, OrdersRecord
from pointsman_shm.uplink import Alternatives, RateShares
from pointsman_wire.link import LoopWasLate
from pointsman_wire.queries.operating_messages import (
    CancelOrder,
    DrainWorkerOrder,
    UndrainWorkerOrder,
)
from pointsman_workers.core.events import (
    HearingChanged,
    InstanceMissed,
    JournalState,
    JournalSynced,
    ManagerSaid,
    OrderGiven,
    PressureMeasured,
    StopWished,
    WayChanged,
    WriteJournal,
)
from pointsman_workers.core.overload import Pressure
from pointsman_workers.core.setup import SharingSettings
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.journal.replay import Fold, FoundEntry

NAMES = ("A", "B", "C")
MIB = 1 << 20
JOURNAL = JournalState(1, room_bytes=64 * MIB, held_bytes=16 * MIB, oldest=1)
CALM_S = 200.0
_decode = msgspec.msgpack.Decoder(list[FoundEntry]).decode


class Journalled(Several):
    """Instances whose workers write down what they accept."""

    def __init__(self, sharing: SharingSettings, workers: int, **config: object) -> None:
        self._setup: dict[str, object] = {"journal": JOURNAL, "sharing": sharing}
        super().__init__(*NAMES, workers=workers, **config)

    def start(self, name: str, *, epoch: int = 1, **setup: object) -> Instance:
        """An instance, or its next life."""
        return super().start(name, epoch=epoch, **self._setup, **setup)

    def second(self, name: str, **setup: object) -> Instance:
        """The second worker of an instance."""
        return super().second(name, **self._setup, **setup)


class Life:
    """A fleet, its people and nodes, and what befalls it."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = Random(seed)
        self.diary: list[str] = []
        worker_count = dice.choice((1, 2))
        # What is done while Redis is away: with the latter, jobs are taken all the same.
        sharing = SharingSettings(lease_s=45.0, is_local=dice.choice((False, True)))
        self.fleet = Journalled(sharing, worker_count, **sections_of(dice))
        if worker_count > 1:
            self.fleet.second(NAMES[0])
        self._epochs = dict.fromkeys(NAMES, 1)
        self._written: dict[str, list[WriteJournal]] = {name: [] for name in NAMES}
        self._seen: dict[int, int] = {}  # by id of a worker: its commands that were looked at
        self.machines = Machines(dice, self.fleet, NAMES, self._note)
        self.people = People(dice, self.fleet, self._note)
        troubles = {
            self._moment: 14,
            self._mend: 1.5,
            self._long: 1,
            self._redis: 1,
            self._reload: 1,
            self._hint: 0.8,
            self._way: 0.7,
            self._order: 0.6,
            self._pause: 0.4,
            self._press: 0.6,
            self._mark: 0.5,
            self._cut: 0.5,
            self._stall: 0.5,
            self._kill: 0.5,
            self._stop: 0.3,
            self._question: 4,
        }
        self._acts = self.people.acts() | self.machines.acts() | troubles

    def _note(self, *words: object) -> None:
        self.diary.append(f"{self.fleet.now_ns / SECOND_NS - 1:8.2f} {' '.join(map(str, words))}")

    def live(self, steps: int) -> None:
        """So many things happen; then all is well for a while."""
        for _ in range(steps):
            (act,) = self._dice.choices([*self._acts], [*self._acts.values()])
            act()
            self.fleet.carry()
            self._look()
        self._end_well()

    def _look(self) -> None:
        """Nodes and people read, disks sync."""
        self.machines.read()
        for instance in self.fleet.everybody():
            seen = self._seen.get(id(instance), 0)
            self._seen[id(instance)] = len(instance.commands)
            written = [c for c in instance.commands[seen:] if isinstance(c, WriteJournal)]
            if self.fleet.all.get(instance.name) is instance:
                self._written[instance.name] += written
            if synced := [write.number for write in written if write.must_sync]:
                instance.feed(JournalSynced(max(synced)))
        self.machines.read()  # what waited for a disk
        self.people.hear()

    def _pass(self, seconds: float) -> None:
        while seconds > 0:
            self.fleet.run(min(seconds, 2.0))
            seconds -= 2.0
            self._look()
            for host in self.fleet.hosts.values():
                host.writer.beat(self.fleet.now_ns)
            self.people.beat()

    def _end_well(self) -> None:
        self._note("all is well")
        self._mend()
        self.fleet.way_ns = 0
        for instance in self.fleet.everybody():
            name = instance.name
            instance.feed(PressureMeasured(Pressure()), OrderGiven(1, UndrainWorkerOrder()))
            ways = [WayChanged(other, 0, "open") for other in NAMES if other != name]
            instance.feed(HearingChanged(True), *ways)
            self.fleet.hosts[name].marks = []
            self.fleet.hosts[name].orders = OrdersRecord()
        self.machines.recover()
        calm_s = CALM_S
        while calm_s > 0:
            self._pass(5.0)
            self.machines.end_all()
            self._look()
            calm_s -= 5.0

    def left_over(self) -> list[str]:
        """What is still held, or was promised and never given."""
        found = [
            f"{name} has not told {session_id} of {requests}"
            for (name, session_id), requests in self.people.waiting_in_vain().items()
        ]
        for instance in self.fleet.everybody():
            held = held_by(instance, [*self.machines.homes])
            found += [
                f"{instance.name} has {what}: {value}" for what, value in held.items() if value
            ]
        return found

    # -- time and troubles

    def _anybody(self) -> Instance:
        return self._dice.choice(self.fleet.everybody())

    def _moment(self) -> None:
        self._pass(self._dice.choice((0.02, 0.3, 0.3, 1.0, 3.0)))

    def _long(self) -> None:
        self._pass(self._dice.choice((6.0, 12.0, 50.0)))

    def _stall(self) -> None:
        name, seconds = self._dice.choice(NAMES), self._dice.choice((0.5, 4.0, 20.0))
        self._note("stall", name, seconds)
        self.fleet.stop(name, seconds)

    def _cut(self) -> None:
        instance = self.fleet[self._dice.choice(NAMES)]
        self._note("cut", instance.name)
        instance.is_cut = self._dice.random() < 0.7
        instance.is_without_redis = not instance.is_cut or self._dice.random() < 0.7

    def _mend(self) -> None:
        self._note("mend")
        for instance in self.fleet.all.values():
            instance.is_cut = instance.is_without_redis = False
        self.fleet.model.down = ""

    def _redis(self) -> None:
        what = self._dice.choices(("away", "back", "forgets"), (5, 3, 2))[0]
        self._note("redis", what)
        self.fleet.model.down = "away" if what == "away" else ""
        if what == "forgets":
            self.fleet.model.flush()

    def _way(self) -> None:
        self.fleet.way_ns = self._dice.choice((0, 0, 30_000_000, 400_000_000))
        self._note("way", self.fleet.way_ns)

    def _reload(self) -> None:
        host = self.fleet.hosts[self._dice.choice(NAMES)]
        host.config = reloaded(host.config, self._dice)
        self._note("reload", host.config.jobs, host.config.talk, host.config.sessions)
        host.publish(self.fleet.now_ns)

    def _press(self) -> None:
        instance, share = self._anybody(), self._dice.choice((0.0, 0.0, 0.6, 0.8, 0.95, 1.0))
        self._note("pressure", instance.name, share)
        instance.feed(PressureMeasured(Pressure(memory=share)))

    def _hint(self) -> None:
        instance, dice = self._anybody(), self._dice
        other = dice.choice([name for name in NAMES if name != instance.name])
        hints: tuple[Any, ...] = (
            *(WayChanged(other, 0, state) for state in ("open", "full", "stopped", "lost")),
            InstanceMissed(other, 0),
            HearingChanged(dice.random() < 0.6),
            ManagerSaid(RateShares(3, (("t2", 0.5),))),
            ManagerSaid(Alternatives(("host:1",))),
            LoopWasLate(2 * SECOND_NS),
        )
        hint = dice.choice(hints)
        self._note("hint", instance.name, hint)
        instance.feed(hint)

    def _mark(self) -> None:
        dice = self._dice
        host = self.fleet.hosts[dice.choice(NAMES)]
        until_ns = self.fleet.now_ns + dice.randrange(5) * SECOND_NS
        marks = [MarkRecord(dice.randrange(3, 7), 1, "nmt", "", until_ns)]
        host.marks = dice.choice((marks, []))
        self._note("marks", host.marks)
        host.publish(self.fleet.now_ns)

    def _order(self) -> None:
        dice, instance = self._dice, self._anybody()
        cancel = CancelOrder(
            session_id=f"s-{dice.randrange(7)}",
            request_id=f"r-{dice.randrange(12)}",
            tenant=dice.choice(("", "t1")),
        )
        order = dice.choice((cancel, DrainWorkerOrder(), UndrainWorkerOrder()))
        self._note("order", instance.name, order)
        instance.feed(OrderGiven(1, order))

    def _pause(self) -> None:
        """An operator pauses a service, or has it go on."""
        host = self.fleet.hosts[self._dice.choice(NAMES)]
        host.orders = OrdersRecord(is_paused=self._dice.random() < 0.4)
        self._note("orders", host.orders)
        host.publish(self.fleet.now_ns)

    def _question(self) -> None:
        ask(self._anybody(), self._dice)

    # -- deaths

    def _kill(self) -> None:
        self._replace(self._dice.choice(NAMES))

    def _stop(self) -> None:
        instance = self.fleet[self._dice.choice(NAMES)]
        self._note("stop", instance.name)
        instance.feed(StopWished(instance.now_ns + 25 * SECOND_NS))
        self._pass(self._dice.choice((0.5, 3.0)))
        self._replace(instance.name)

    def _replace(self, name: str) -> None:
        """A worker dies, and another one begins where its journal ends, if there is one."""
        dice = self._dice
        self._look()
        recovered = self._recovered(name) if dice.random() < 0.8 else None
        if recovered is None:
            self._written[name].clear()
        self._note("death of", name, "with" if recovered else "without", "its journal")
        self.fleet.kill(name)
        others = [other for other in NAMES if other != name]
        if dice.random() < 0.5:
            self._presence(others, name)
            self._pass(dice.choice((1.0, 10.0)))
            self._presence(others)
        if dice.random() < 0.3:
            self.fleet.streams[name].clear()
        self._epochs[name] += 1
        setup: dict[str, object] = {} if recovered is None else {"recovered": recovered}
        self.fleet.start(name, epoch=self._epochs[name], **setup)
        self.machines.home_began_anew(name)

    def _presence(self, others: list[str], *dead: str) -> None:
        for other in others:
            self.fleet.introduce(other, *dead)
        self.fleet.publish()

    def _recovered(self, name: str) -> Recovered:
        fold = Fold(200_000)
        for write in self._written[name]:
            fold.absorb(1, _decode(msgspec.msgpack.encode(write.entries)))
        return fold.recovered(is_same_boot=True, lost_records=0)


def held_by(instance: Instance, rows: list[int]) -> dict[str, object]:
    """What a worker holds, by its name; nothing of it when all is done."""
    core = instance.core
    shard, sharing, talk, guests = core.shard, core._sharing, core._talk, core._lanes.guests
    assert sharing is not None
    return {
        "open jobs": shard.open_job_count,
        "jobs in lines": core._serial._count,
        "unsure jobs in lines": core._serial._unsure,
        "counted jobs": shard.tenants._open,
        "bytes that wait": shard.waiting.bytes,
        "shelved jobs": shard.shelved,
        "strays": shard.strays,
        "orphans": shard.orphans,
        "repeated submits": core._jobs._unsettled,
        "held sessions": len(shard.sessions) - shard.crowd._count,
        "waiting jobs": shard.waiting.count,
        "talks": shard.talks,
        "bytes of sound": talk.hearing.memory.held_bytes,
        "keys to bind": sharing.binding.pending_count,
        "ends to tell": sharing.ending.untold_count,
        "doubts": sharing.leases.doubt_count + len(sharing.unknown),
        "questions to Redis": sharing.book.waiting_count,
        "slots": {row: held for row in rows if (held := instance.held(row))},
        "dispatches": {row: lane.holds for row, lane in shard.lanes.items() if lane.holds},
        "guests": [
            guest.fence
            for borrower in guests.borrowers.all()
            for guest in borrower.guests.values()
            if guest.hold is not None
        ],
    }
