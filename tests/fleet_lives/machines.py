"""Nodes of a life: they work, fail, lie, refuse, lose their lane, and are replaced by others."""

from collections import defaultdict
from collections.abc import Callable
from random import Random

from fleet_lives.settings import ABILITIES
from msgspec.structs import replace
from several import Instance, Several
from worker_harness import Node

from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_standing
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    JobRefused,
    NodePartial,
    NodeProgress,
    TurnAsk,
)

FIRST_ROW = 3
MILLISECOND_NS = 1_000_000
Dispatch = tuple[int, int]  # epoch and number
Place = tuple[int, int]  # of a lane: the node's row, and the worker of its home
ENDS: tuple[dict[str, object], ...] = (
    {},
    {},
    {},
    {"status": "failed", "code": "INTERNAL_ERROR", "retryable": True},
    {"status": "failed", "code": "BAD_INPUT"},
    {"status": "completed_no_text"},
    {"status": "cancelled"},
)
UNDERSTOOD = {"heard": "hi", "src_lang": "en", "translation": "hola"}


class Machines:
    """All nodes, each in a row of its own at every instance, connected to its home."""

    def __init__(
        self, dice: Random, fleet: Several, names: tuple[str, ...], note: Callable[..., None]
    ) -> None:
        self._dice = dice
        self._fleet = fleet
        self._note = note
        self.homes: dict[int, str] = {}
        self._paused: dict[int, RowFlag] = {}  # rows whose pool is paused
        self._lanes: dict[Place, Node] = {}
        self._running: dict[Place, dict[Dispatch, Assign]] = defaultdict(dict)
        self._lost_at_ns: dict[Place, int] = {}
        for row in range(FIRST_ROW, FIRST_ROW + dice.randrange(1, 5)):
            home = self.homes[row] = dice.choice(names)
            fleet.node(row, home, dice.choice(ABILITIES), slots=dice.randrange(1, 4))
            for place in self._places(row):
                self._lanes[place] = self._worker(place).node(row)

    def _places(self, row: int) -> list[Place]:
        return [(row, 0), (row, 1)] if self.homes[row] in self._fleet.seconds else [(row, 0)]

    def _all_places(self) -> list[Place]:
        return [place for row in self.homes for place in self._places(row)]

    def _worker(self, place: Place) -> Instance:
        row, worker_index = place
        workers = self._fleet.seconds if worker_index else self._fleet.all
        return workers[self.homes[row]]

    def acts(self) -> dict[Callable[[], None], float]:
        """What they do, and how often."""
        return {self.work: 50, self.change_lane: 3, self.change_state: 1, self.change_node: 0.5}

    # -- work

    def read(self) -> None:
        """They take what they were given, most of the time at once."""
        for place, node in self._lanes.items():
            for message, _ in node.harness.sent.pop(node.connection, []):
                if isinstance(message, Assign):
                    self._assigned(place, node, message)
                elif isinstance(message, CancelJob):
                    self._cancelled(place, node, message)

    def _assigned(self, place: Place, node: Node, job: Assign) -> None:
        if job.silence_ms and not job.origin:
            self._check_turn(place, job)
        shown = unpack_standing(self._fleet.hosts[self.homes[place[0]]].rows.standing[place[0]])
        may = shown.state is NodeState.READY and RowFlag.PAUSED not in shown.flags
        assert may, (place, shown, job)
        self._running[place][node.harness.epoch, job.dispatch] = job
        if self._dice.random() < 0.9:
            node.acknowledge(job.number)

    def _check_turn(self, place: Place, job: Assign) -> None:
        """I5: nothing else of its serial session runs that came from the same shard."""
        home, worker_index = self.homes[place[0]], place[1]
        for other_place, running in self._running.items():
            if (self.homes[other_place[0]], other_place[1]) != (home, worker_index):
                continue
            self._stop_unheard(other_place)
            for other in running.values():
                whose = (other.tenant, other.session_id)
                is_beside = other.silence_ms and not other.origin
                assert not is_beside or whose != (job.tenant, job.session_id), (job, other)

    def _stop_unheard(self, place: Place) -> None:
        """A node that nobody has heard of for so long has ended its serial jobs."""
        lost_at_ns = self._lost_at_ns.get(place)
        if place in self._lanes or lost_at_ns is None:
            return
        unheard_ms = (self._fleet.now_ns - lost_at_ns) / MILLISECOND_NS
        for key, job in [*self._running[place].items()]:
            if 0 < job.silence_ms <= unheard_ms:
                del self._running[place][key]

    def _lose(self, place: Place) -> None:
        self._lost_at_ns[place] = self._fleet.now_ns
        self._lanes.pop(place).hang_up()

    def _cancelled(self, place: Place, node: Node, cancel: CancelJob) -> None:
        key = cancel.epoch, cancel.dispatch
        if self._dice.random() < 0.7 and self._running[place].pop(key, None) is not None:
            node.end_fence(JobFence(cancel.job_id, *key), b"")

    def _anything(self) -> tuple[Place, Dispatch] | None:
        busy = [place for place in self._lanes if self._running[place]]
        if not busy:
            return None
        place = self._dice.choice(busy)
        return place, self._dice.choice([*self._running[place]])

    def work(self) -> None:
        """A node tells something of a job, or ends it."""
        found = self._anything()
        if found is None:
            return
        place, key = found
        job, node, dice = self._running[place][key], self._lanes[place], self._dice
        what = dice.choices(("tell", "ask", "refuse", "lie", "end"), (20, 5, 8, 4, 63))[0]
        self._note(what, place, key)
        fence = {"job_id": job.job_id, "epoch": key[0], "dispatch": job.dispatch}
        if what == "tell":
            stage = dice.choice((None, {"stage": dice.choice(("asr_partial", "asr", "nmt"))}))
            progress, partial = NodeProgress(**fence), NodePartial(**fence, meta=stage)  # type: ignore[arg-type]
            told = dice.choice((progress, partial, partial, partial))
            node.harness.receive(node.connection, told, b"word" if told is partial else b"")
        elif what == "ask":
            node.harness.receive(node.connection, TurnAsk(**fence, asked=3))  # type: ignore[arg-type]
        elif what == "refuse":
            del self._running[place][key]
            code = dice.choice(("NODE_BUSY", "STALE_FENCE", "NO_SUCH_SERVICE"))
            node.harness.receive(node.connection, JobRefused(**fence, code=code))  # type: ignore[arg-type]
        elif what == "lie":
            node.end_fence(JobFence("another", *key), b"a lie")
        else:
            how = {"meta": dice.choice((None, UNDERSTOOD)), **dice.choice(ENDS)}
            self._end(place, key, b"y" * dice.choice((4, 4, 100)), **how)

    def _end(self, place: Place, key: Dispatch, output: bytes, **how: object) -> None:
        job = self._running[place].pop(key)
        self._lanes[place].end(job, output, epoch=key[0], **how)

    def end_all(self) -> None:
        """Everything that is known to run ends well."""
        while (found := self._anything()) is not None:
            self._end(*found, b"z")
            self._fleet.carry()
            self.read()

    # -- lanes

    def change_lane(self) -> None:
        """A lane breaks, or is there again."""
        place = self._dice.choice(self._all_places())
        if place in self._lanes and self._dice.random() < 0.7:
            self._note("lane lost", place)
            self._lose(place)
        elif place not in self._lanes:
            self._open(place)

    def _open(self, place: Place) -> None:
        """A node dials its home, and says what it runs; some have lost it."""
        self._stop_unheard(place)
        if self._dice.random() < 0.2:
            self._running[place].clear()
        running = [
            JobFence(job.job_id, *key, job.tenant, job.session_id, job.request_id, job.origin)
            for key, job in self._running[place].items()
        ]
        self._note("lane", place, running)
        self._lanes[place] = self._worker(place).open_lane(place[0], running=running)

    def home_began_anew(self, name: str) -> None:
        """The first worker of an instance is another one: its nodes dial again."""
        for row, home in self.homes.items():
            if home == name:
                self._lanes.pop((row, 0), None)
                self._open((row, 0))

    # -- rows

    def _flags(self, row: int, name: str) -> RowFlag:
        is_home = self.homes[row] == name
        flags = RowFlag.PUBLIC | self._paused.get(row, RowFlag(0))
        return flags if is_home else flags | RowFlag.REMOTE

    def change_state(self) -> None:
        """A node drains, or is ready again; it may run jobs of others."""
        dice = self._dice
        row = dice.choice([*self.homes])
        state = dice.choice((NodeState.READY, NodeState.READY, NodeState.DRAINING))
        self._paused[row] = dice.choice((RowFlag(0), RowFlag(0), RowFlag.PAUSED))
        self._note("state", row, state, self._paused[row])
        for name, host in self._fleet.hosts.items():
            host.stand(row, state=state, flags=self._flags(row, name))
            if dice.random() < 0.2:
                host.burden(row, foreign=dice.randrange(2))
        if dice.random() < 0.5:
            self._fleet.publish()

    def change_node(self) -> None:
        """Another node is in the row, with abilities of its own."""
        dice = self._dice
        row = dice.choice([*self.homes])
        home = self.homes[row]
        self._note("another node", row)
        for place in self._places(row):
            if place in self._lanes:
                self._lose(place)
            self._running[place].clear()
        ability, slots = dice.choice(ABILITIES), dice.randrange(1, 4)
        generation = self._fleet.hosts[home].records[row].generation
        states = [(NodeState.READY, generation + 1)]
        if dice.random() < 0.5:
            states.insert(0, (NodeState.OFFLINE, generation))
        for state, number in states:
            for name, host in self._fleet.hosts.items():
                host.node(row, ability, slots=slots, state=state, generation=number)
                if name != home:
                    host.records[row] = replace(host.records[row], instance=home)
                host.stand(row, state=state, flags=self._flags(row, name))
            self._fleet.publish()
            self._fleet.run(dice.choice((0.1, 2.0)))
        for place in self._places(row):
            self._open(place)

    def recover(self) -> None:
        """All are well, and connected."""
        self._paused.clear()
        for place in self._all_places():
            if place not in self._lanes:
                self._open(place)
        for row in self.homes:
            for name, host in self._fleet.hosts.items():
                host.burden(row, foreign=0)
                host.stand(row, flags=self._flags(row, name))
        self._fleet.publish()
