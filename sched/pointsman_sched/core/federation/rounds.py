"""The rounds in which an instance meets the others: hear, merge, tell; and what silence means.

    every second:   AskFleet ──► FleetHeard ──► merge, a slice a turn ──► TellFleet ──► FleetTold
                        │             │                                       │
                        └─────────────┴── FleetAway: keep what we have ───────┘

While there is more to read or tell than one round takes, the next one follows at once.  An
instance whose presence has not counted on for `presence_ns` of our clock has lapsed, whether it
died or the store is away: its nodes are Offline at once and workers are told.  If the store has
lost what we told it, all of it is told again.
"""

from collections import deque

from pointsman_sched.core.events import Alarm
from pointsman_sched.core.federation.followed import Followed
from pointsman_sched.core.federation.port import (
    AskFleet,
    FleetAway,
    FleetHeard,
    FleetTold,
    Part,
    TellFleet,
)
from pointsman_sched.core.federation.settings import FederationSettings
from pointsman_sched.core.federation.showing import Shown
from pointsman_sched.core.federation.told import (
    Presence,
    Untrue,
    encode,
    read_presence,
    read_records,
    read_words,
)
from pointsman_sched.core.state import ManagementState
from pointsman_shm.snapshot.records import InstanceRecord

ROUND_NS = 1_000_000_000
# Between rounds while there is more to do than one takes.
BEHIND_NS = 100_000_000
# An answer that the shell owes for so long will not come.
ANSWER_NS = 10_000_000_000
# Rows of an instance that was not heard for so long are marked.
AGED_NS = 5_000_000_000
LOOK_AGAIN_NS = 10_000_000_000
INSTANCES_MAX = 64
PARTS_PER_ROUND = 48
# About 2 ms each when everything in it is new.
PARTS_PER_TURN = 2


class Federation:
    """This instance among the others; `instances` in force are those that workers see."""

    def __init__(self, settings: FederationSettings, state: ManagementState) -> None:
        self.settings = settings
        self.shown = Shown(len(state.nodes.by_row))
        self.followed: dict[str, Followed] = {}
        self.trouble = "nothing was heard yet"
        self.heard_at_ns = 0
        self.leader = ""
        # So that what a successor tells is never taken for what its predecessor told.
        born_ms = (state.setup.wall_clock_offset_ns + state.now_ns) // 1_000_000
        self._count = max(1, born_ms)
        self.shown.begin_at(self._count)
        self._number = 0
        self._is_asking = self._is_telling = False
        self._asked_at_ns = 0
        self._next_round_ns = state.clock_ns
        self._next_tell_ns = state.clock_ns
        self._next_look_ns = state.clock_ns + LOOK_AGAIN_NS
        self._part_count = 0  # of ours in the store, as far as we know
        self._told_count = 0  # the count of the presence that the store was last given
        self._todo: deque[tuple[Part, bytes]] = deque(maxlen=PARTS_PER_ROUND)
        self._left_out = 0
        self._is_namesake_told = False
        self._false_words: set[str] = set()

    def records(self) -> tuple[InstanceRecord, ...]:
        """Return what workers are told of the other instances."""
        return tuple(self.followed[name].record for name in sorted(self.followed))

    @property
    def living_count(self) -> int:
        """Return how many instances live, this one included."""
        return 1 + sum(other.is_alive for other in self.followed.values())

    def restore(self, records: tuple[InstanceRecord, ...], state: ManagementState) -> None:
        """Take the others as a predecessor knew them; who lives has `presence_ns` to show it."""
        for record in records[:INSTANCES_MAX]:
            other = Followed(record.name, record.uid, record.worker_count, state.clock_ns)
            other.is_alive = record.alive
            self.followed[record.name] = other

    def next_deadline_ns(self, state: ManagementState) -> int:
        """Return when to be called next (core's clock)."""
        if self._todo:
            return state.clock_ns
        if self._is_asking or self._is_telling:
            return self._asked_at_ns + ANSWER_NS
        return self._next_round_ns

    # ---- turns

    def run(self, state: ManagementState) -> None:
        """Do what is due: a slice of what was read, and the next round."""
        now_ns = state.clock_ns
        if self._is_asking or self._is_telling:
            if now_ns < self._asked_at_ns + ANSWER_NS:
                return
            self._away(state, "no answer came at all")
        if self._todo:
            for _ in range(min(PARTS_PER_TURN, len(self._todo))):
                self._take(state, *self._todo.popleft())
            if not self._todo:
                self._after_reading(state)
            return
        if now_ns >= self._next_round_ns:
            self._ask(state)

    def _ask(self, state: ManagementState) -> None:
        self._judge(state)
        parts = [part for other in self.followed.values() for part in other.wanted()]
        self._number += 1
        self._is_asking, self._asked_at_ns = True, state.clock_ns
        setup = state.setup
        wish = AskFleet(
            number=self._number,
            name=setup.instance,
            uid=setup.instance_uid,
            parts=tuple(parts[:PARTS_PER_ROUND]),
        )
        state.outbox.wish(wish)
        self._next_round_ns = state.clock_ns + ROUND_NS

    def heard(self, state: ManagementState, event: FleetHeard) -> None:
        """The store answered: who lives, and what we asked for."""
        if not self._is_asking or event.number != self._number:
            return
        self._is_asking = False
        self.leader = event.leader
        if event.holder != state.setup.instance_uid:
            self._namesake(state, event.holder)
            return
        self._is_namesake_told = False
        self.trouble = ""
        self.heard_at_ns = state.clock_ns
        self._compare_own(state, event)
        for name, blob in sorted(event.presences.items()):
            if name != state.setup.instance:
                self._meet(state, name, blob)
        self._todo.extend(event.parts.items())
        if not self._todo:
            self._after_reading(state)

    def told(self, state: ManagementState, event: FleetTold) -> None:
        """The store has what we show."""
        if self._is_telling and event.number == self._number:
            self._is_telling = False
            self._told_count = self._count
            if self.shown.is_behind:
                self._next_round_ns = min(self._next_round_ns, state.clock_ns + BEHIND_NS)
                self._next_tell_ns = self._next_round_ns

    def away(self, state: ManagementState, event: FleetAway) -> None:
        """The store did not answer."""
        if event.number == self._number and (self._is_asking or self._is_telling):
            self._away(state, event.words)

    def _away(self, state: ManagementState, words: str) -> None:
        self._is_asking = self._is_telling = False
        # What it has got of a round that failed is not known.
        self.shown.note_all()
        if not self.trouble:
            state.outbox.wish(Alarm(f"the other instances cannot be heard: {words}"))
        self.trouble = words
        self._judge(state)

    # ---- ourselves

    def _namesake(self, state: ManagementState, holder: str) -> None:
        words = (
            f"another instance is named {state.setup.instance!r} too (uid {holder}): the names of "
            "instances that share a fleet must differ; this one keeps to itself until it is gone"
        )
        self.trouble = words
        if not self._is_namesake_told:
            self._is_namesake_told = True
            state.outbox.wish(Alarm(words))
        self.shown.note_all()
        self._judge(state)

    def _compare_own(self, state: ManagementState, event: FleetHeard) -> None:
        """Tell everything again if the store has lost some of what it was given."""
        if not self._told_count:
            return
        blob = event.presences.get(state.setup.instance)
        try:
            count = read_presence(blob, state.setup.instance).count if blob else 0
        except Untrue:
            count = 0
        if count < self._told_count or event.own_part_count < self.shown.part_count:
            self.shown.note_all()

    def _tell(self, state: ManagementState) -> None:
        self._is_telling, self._asked_at_ns = True, state.clock_ns
        self._next_tell_ns = state.clock_ns + ROUND_NS
        self._count += 1
        parts = self.shown.take(state)
        setup = state.setup
        presence = Presence(
            name=setup.instance,
            uid=setup.instance_uid,
            count=self._count,
            worker_count=setup.worker_count,
            software=setup.server_version,
            addresses=(setup.address,) if setup.address else (),
            node_count=state.nodes.live_count,
            pools_version=0,
            pages=self.shown.versions(),
            shares=(),
        )
        wish = TellFleet(
            number=self._number, name=setup.instance, presence=encode(presence), parts=parts
        )
        state.outbox.wish(wish)

    # ---- the others

    def _meet(self, state: ManagementState, name: str, blob: bytes) -> None:
        try:
            presence = read_presence(blob, name)
        except Untrue as untrue:
            self._say_untrue(state, name, untrue)
            return
        other = self.followed.get(name)
        if other is not None and other.uid != presence.uid:
            self._lapse(state, other, f"instance {name} was replaced by another of this name")
            del self.followed[name]
            other = None
        if other is None:
            if len(self.followed) >= INSTANCES_MAX:
                return
            other = Followed(name, presence.uid, presence.worker_count, state.clock_ns)
            other.is_alive = False
            self.followed[name] = other
        before = other.record
        if other.hear(presence, state.clock_ns) and other.record != before:
            state.dirty.add(state.layout.policy)
            if not before.alive:
                state.outbox.wish(
                    Alarm(
                        f"instance {name} lives: {presence.worker_count} workers, "
                        f"{presence.node_count} nodes"
                    )
                )

    def _take(self, state: ManagementState, part: Part, blob: bytes) -> None:
        other = self.followed.get(part.instance)
        if other is None or not other.is_alive:
            return
        try:
            if part.kind == "r":
                other.take_records(state, read_records(blob))
            else:
                other.take_words(state, *read_words(blob))
        except Untrue as untrue:
            self._say_untrue(state, part.instance, untrue)

    def _after_reading(self, state: ManagementState) -> None:
        for other in self.followed.values():
            if other.is_alive:
                other.settle(state)
        if state.clock_ns >= self._next_look_ns:
            self._next_look_ns = state.clock_ns + LOOK_AGAIN_NS
            for other in self.followed.values():
                other.look_again()
        self._judge(state)
        if any(next(other.wanted(), None) for other in self.followed.values()):
            self._next_round_ns = min(self._next_round_ns, state.clock_ns + BEHIND_NS)
        if state.clock_ns >= self._next_tell_ns:
            self._tell(state)

    def _judge(self, state: ManagementState) -> None:
        """Who is silent for too long has lapsed; who is gone for long is forgotten."""
        for other in [*self.followed.values()]:
            silence_ns = state.clock_ns - other.heard_at_ns
            if other.is_alive and silence_ns >= self.settings.presence_ns:
                seconds = self.settings.presence_ns // 1_000_000_000
                self._lapse(state, other, f"instance {other.name} was not heard for {seconds} s")
            elif other.is_alive and silence_ns >= AGED_NS and not other.is_aged:
                other.age(state)
            elif not other.is_alive and silence_ns >= state.intervals.remember_ns:
                del self.followed[other.name]
                state.dirty.add(state.layout.policy)
        self._tell_left_out(state)

    def _lapse(self, state: ManagementState, other: Followed, words: str) -> None:
        count = other.node_count
        if other.is_alive:
            state.dirty.add(state.layout.policy)
            state.outbox.wish(Alarm(f"{words}: its {count} nodes are Offline here"))
        other.lapse(state, words)

    def _tell_left_out(self, state: ManagementState) -> None:
        left_out = sum(other.left_out_count for other in self.followed.values())
        if left_out and not self._left_out:
            state.outbox.wish(
                Alarm(
                    f"{left_out} nodes of other instances are not in this one's view: a tenth of "
                    f"nodes.max_nodes ({len(state.nodes.by_row)}) is kept for its own nodes; make "
                    "it larger than the whole fleet"
                )
            )
        self._left_out = left_out

    def _say_untrue(self, state: ManagementState, name: str, untrue: Untrue) -> None:
        if name not in self._false_words and len(self._false_words) < INSTANCES_MAX:
            self._false_words.add(name)
            state.outbox.wish(Alarm(f"what instance {name} tells is not taken: {untrue}"))


def fleet_heard(state: ManagementState, event: FleetHeard) -> None:
    """The store answered."""
    if state.federation is not None:
        state.federation.heard(state, event)


def fleet_told(state: ManagementState, event: FleetTold) -> None:
    """The store took what we told."""
    if state.federation is not None:
        state.federation.told(state, event)


def fleet_away(state: ManagementState, event: FleetAway) -> None:
    """The store did neither."""
    if state.federation is not None:
        state.federation.away(state, event)
