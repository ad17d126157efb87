"""The other instances together: who is met, who has lapsed, and what is read of whom.

An instance whose presence has not counted on for `presence_ns` of our clock has lapsed, whether it
died or the store is away: its nodes are Offline at once and workers are told.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from pointsman_sched.core.events import Alarm
from pointsman_sched.core.federation.followed import Followed
from pointsman_sched.core.federation.told import Untrue, read_presence, read_records, read_words
from pointsman_sched.core.joining.revocations import take_revocations
from pointsman_sched.core.state import ManagementState
from pointsman_shm.snapshot.records import InstanceRecord
from pointsman_wire.coordination.fleet_requests import Part

INSTANCES_MAX = 64
PARTS_PER_ROUND = 48
# About 2 ms each when everything in it is new.
PARTS_PER_TURN = 2
# Rows of an instance that was not heard for so long are marked.
AGED_NS = 5_000_000_000
LOOK_AGAIN_NS = 10_000_000_000


class Neighbours:
    """All other instances that are known."""

    def __init__(self, presence_ns: int, now_ns: int) -> None:
        self.by_name: dict[str, Followed] = {}
        # Those whose presence is asked for.
        self.names: tuple[str, ...] = ()
        # Whether we have looked at everybody that there was when we came.
        self.is_met = False
        self._presence_ns = presence_ns
        self._todo: deque[tuple[Part, bytes]] = deque(maxlen=PARTS_PER_ROUND)
        self._next_look_ns = now_ns + LOOK_AGAIN_NS
        self._left_out = 0
        self._false_words: set[str] = set()

    @property
    def living(self) -> list[Followed]:
        """Return the others that live."""
        return [other for other in self.by_name.values() if other.is_alive]

    @property
    def is_reading(self) -> bool:
        """Is there something that was read and not taken yet?"""
        return bool(self._todo)

    @property
    def is_behind(self) -> bool:
        """Is there something to read that was not asked for yet?"""
        return any(next(other.wanted(), None) for other in self.living)

    def records(self) -> tuple[InstanceRecord, ...]:
        """Return what workers are told of them."""
        return tuple(self.by_name[name].record for name in sorted(self.by_name))

    def restore(self, records: Iterable[InstanceRecord], now_ns: int) -> None:
        """Take them as a predecessor knew them; who lives has a presence's length to show it."""
        for record in [*records][:INSTANCES_MAX]:
            other = Followed(record.name, record.uid, record.worker_count, now_ns)
            other.is_alive = record.alive
            self.by_name[record.name] = other

    def wanted(self) -> tuple[Part, ...]:
        """Name what is to be read next, of those whose presence is asked for."""
        asked = set(self.names)
        parts = [part for other in self.living if other.name in asked for part in other.wanted()]
        return tuple(parts[:PARTS_PER_ROUND])

    def heard(
        self, state: ManagementState, presences: Mapping[str, bytes], parts: Mapping[Part, bytes]
    ) -> None:
        """Take presences at once, and parts for the next turns."""
        for name in sorted(presences):
            self._meet(state, name, presences[name])
        self._todo.extend(parts.items())

    def name(self, names: Iterable[str], own: str) -> None:
        """Take whose presences there may be: of too many, those that were there last."""
        found = tuple(sorted([name for name in names if name != own][-INSTANCES_MAX:]))
        self.is_met |= found == self.names
        self.names = found

    def take_slice(self, state: ManagementState) -> None:
        """Take what was read, as much as fits a turn; after the last of it, look at the whole."""
        for _ in range(min(PARTS_PER_TURN, len(self._todo))):
            self._take(state, *self._todo.popleft())
        if self._todo:
            return
        for other in self.living:
            other.settle(state)
        if state.clock_ns >= self._next_look_ns:
            self._next_look_ns = state.clock_ns + LOOK_AGAIN_NS
            for other in self.living:
                other.look_again()
        self._tell_left_out(state)

    def judge(self, state: ManagementState) -> None:
        """Who is silent for too long has lapsed; who is gone for long is forgotten."""
        for other in [*self.by_name.values()]:
            silence_ns = state.clock_ns - other.heard_at_ns
            if other.is_alive and silence_ns >= self._presence_ns:
                seconds = self._presence_ns / 1e9
                self._lapse(state, other, f"instance {other.name} was not heard for {seconds:g} s")
            elif other.is_alive and silence_ns >= AGED_NS and not other.is_aged:
                other.age(state)
            elif not other.is_alive and silence_ns >= state.intervals.remember_ns:
                del self.by_name[other.name]
                state.dirty.add(state.layout.policy)

    def _meet(self, state: ManagementState, name: str, blob: bytes) -> None:
        try:
            presence = read_presence(blob, name)
        except Untrue as untrue:
            self._say_untrue(state, name, untrue)
            return
        take_revocations(state, name, presence.revoked)
        other = self.by_name.get(name)
        if presence.is_leaving:
            if other is not None and other.uid == presence.uid:
                self._lapse(state, other, f"instance {name} has stopped")
            return
        if other is not None and other.uid != presence.uid:
            self._lapse(state, other, f"instance {name} was replaced by another of its name")
            other = None
        if other is None:
            if name not in self.by_name and not self._make_room():
                return
            other = Followed(name, presence.uid, presence.worker_count, state.clock_ns)
            other.is_alive = False
            self.by_name[name] = other
            state.dirty.add(state.layout.policy)
        before = other.record
        if not other.hear(presence, state.clock_ns) or other.record == before:
            return
        state.dirty.add(state.layout.policy)
        if not before.alive:
            words = f"{presence.worker_count} workers, {presence.node_count} nodes"
            state.outbox.wish(Alarm(f"instance {name} lives: {words}"))

    def _make_room(self) -> bool:
        """Is there room for one more?  Who is gone for longest gives way."""
        if len(self.by_name) < INSTANCES_MAX:
            return True
        gone = [other for other in self.by_name.values() if not other.is_alive]
        if gone:
            del self.by_name[min(gone, key=lambda other: other.heard_at_ns).name]
        return bool(gone)

    def _take(self, state: ManagementState, part: Part, blob: bytes) -> None:
        other = self.by_name.get(part.instance)
        if other is None or not other.is_alive:
            return
        try:
            if part.field.startswith("r"):
                other.take_records(state, read_records(blob))
            else:
                other.take_words(state, *read_words(blob))
        except Untrue as untrue:
            self._say_untrue(state, part.instance, untrue)

    def _lapse(self, state: ManagementState, other: Followed, words: str) -> None:
        if other.is_alive:
            state.dirty.add(state.layout.policy)
            count = other.node_count
            state.outbox.wish(Alarm(f"{words}: its {count} nodes are Offline here"))
        other.lapse(state, words)

    def _tell_left_out(self, state: ManagementState) -> None:
        left_out = sum(other.left_out_count for other in self.by_name.values())
        if left_out and not self._left_out:
            words = (
                f"{left_out} nodes of other instances are not in this one's view: a tenth of "
                f"nodes.max_nodes ({len(state.nodes.by_row)}) is kept for its own nodes; make "
                "it larger than the whole fleet"
            )
            state.outbox.wish(Alarm(words))
        self._left_out = left_out

    def _say_untrue(self, state: ManagementState, name: str, untrue: Untrue) -> None:
        if name not in self._false_words and len(self._false_words) < INSTANCES_MAX:
            self._false_words.add(name)
            state.outbox.wish(Alarm(f"what instance {name} tells is not taken: {untrue}"))
