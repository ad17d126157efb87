"""Keeps the membership of all pools while nodes come and go, without looking at the whole fleet.

A node that joins or leaves costs its own change, whatever the size of the fleet. Only when that
makes an automatic language pool appear or retire do the nodes of that language set move too.

An automatic pool's id is never given to another language set, so a session bound to a retired
pool can never mistake its successor for it. An empty outcome never wipes what exists: when no set
has enough nodes any more, the last pools stay.
"""

from collections.abc import Iterable
from itertools import islice

from pointsman_shm.config import PoolsConfig
from pointsman_shm.rules.hashing import fnv1a_64
from pointsman_shm.rules.pools import (
    OTHER_POOL_ID,
    OTHER_POOL_NAME,
    LanguageSet,
    PoolMode,
    capability_pools,
    hash_pool,
    language_pool_name,
    pool_languages,
    pool_mode,
    satisfied_pools,
    winning_sets,
)
from pointsman_shm.snapshot.records import CapabilityClass, PoolRecord, PoolsPage

REMEMBERED_MAX = 1_000  # ids of automatic pools that are no more

Moves = dict[str, tuple[int, ...]]


def key_of(languages: LanguageSet) -> int:
    """What a set is remembered by: sets may be long, and there may be many."""
    return fnv1a_64(" ".join(languages), 0)


class Member:
    """One node as the planner knows it."""

    __slots__ = ("class_number", "is_ready", "languages", "pools")

    def __init__(self) -> None:
        self.class_number = 0
        self.languages: LanguageSet = ()  # empty unless pools are made by language
        self.is_ready = False
        self.pools: tuple[int, ...] = ()  # empty only while the planner is placing it


class PoolPlanner:
    """The manager's pools; members are nodes that are not Offline."""

    def __init__(self, config: PoolsConfig) -> None:
        self.mode = pool_mode(config)
        self._config = config
        self._members: dict[str, Member] = {}
        self._configured = {pool.id: pool for pool in config.pools}
        self._satisfied: dict[int, tuple[int, ...]] = {}  # by class number
        self._counts: dict[int, dict[int, list[int]]] = {}  # pool -> class -> [online, ready]
        self._records: dict[int, PoolRecord] = {}  # of pools that did not change since
        self._nodes_by_set: dict[LanguageSet, dict[str, None]] = {}
        self._qualified_count = 0  # language sets with enough nodes
        self._pool_by_set: dict[LanguageSet, int] = {}
        self._set_by_pool: dict[int, LanguageSet] = {}
        # Ids of sets that have no pool now: those of a predecessor's pools, and of retired ones.
        self._remembered: dict[int, int] = {}  # by `key_of` the set
        self._next_id = OTHER_POOL_ID + 1

    def restore(
        self,
        page: PoolsPage,
        ordered: Iterable[int] = (),
        keys: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Take over the ids of automatic pools from a predecessor; call before the first add.

        `ordered` are those for which orders stand, also if the page has no such pool any more;
        `keys` what `keys_of` said of them.
        """
        assert not self._members, "restore comes before the first node"
        self._remembered.update((key, pool_id) for pool_id, key in keys)
        taken = [0, *self._remembered.values()]
        if self.mode is PoolMode.LANGUAGE and page.mode == self.mode:
            taken += ordered
        self._next_id = max(self._next_id, *(pool_id + 1 for pool_id in taken))
        if self.mode is not PoolMode.LANGUAGE or page.mode != self.mode:
            return
        for pool in page.pools:
            self._next_id = max(self._next_id, pool.id + 1)
            if pool.languages:
                self._remembered[key_of(pool.languages)] = pool.id

    def keys_of(self, ids: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Each automatic pool of these with the key of its set, be it retired or not."""
        wanted = set(ids)
        known = {pool_id: key for key, pool_id in self._remembered.items() if pool_id in wanted}
        for pool_id in wanted & self._set_by_pool.keys():
            known[pool_id] = key_of(self._set_by_pool[pool_id])
        return tuple(sorted(known.items()))

    def successor(self, config: PoolsConfig) -> "PoolPlanner":
        """Return an empty planner for another configuration.

        Ids of automatic pools go on: a language set keeps its id, and no id that a session may
        be bound to is given to another set.
        """
        made = PoolPlanner(config)
        made._next_id = max(self._next_id, *(pool_id + 1 for pool_id in [0, *self._pool_ids()]))
        standing = [(key_of(languages), number) for languages, number in self._pool_by_set.items()]
        known = [*self._remembered.items(), *standing]
        made._remembered = dict(known[-REMEMBERED_MAX:])
        return made

    def dismantle(self, count: int) -> bool:
        """Forget some members of a planner that nobody asks any more; False when none is left.

        To free a large one at once would hold up whatever else has to be done.
        """
        for node_id in [*islice(self._members, count)]:
            del self._members[node_id]
        return bool(self._members)

    def add(
        self, node_id: str, class_number: int, capability: CapabilityClass, *, is_ready: bool
    ) -> Moves:
        """Enter a node, or change its class; return the new pools of every node that moved.

        The node itself is always among them.
        """
        member = self._members.get(node_id)
        if member is None:
            member = self._members[node_id] = Member()
        self._place(member, ())
        member.class_number, member.is_ready = class_number, is_ready
        moves: Moves = {}
        if self.mode is PoolMode.LANGUAGE:
            moves = self._change_set(node_id, member, pool_languages(capability, self._config))
            pools: tuple[int, ...] = (self._pool_by_set.get(member.languages, OTHER_POOL_ID),)
        elif self.mode is PoolMode.CAPABILITY:
            satisfied = self._satisfied_by(class_number, capability)
            pools = capability_pools(node_id, satisfied, self._config)
        else:
            pools = (hash_pool(node_id, self._config),)
        self._place(member, pools)
        moves[node_id] = pools
        return moves

    def remove(self, node_id: str) -> Moves:
        """Take a node out of its pools; return the new pools of every other node that moved.

        A node that is not there is no change.
        """
        member = self._members.get(node_id)
        if member is None:
            return {}
        self._place(member, ())
        moves = self._change_set(node_id, member, ())
        del self._members[node_id]
        return moves

    def set_ready(self, node_id: str, is_ready: bool) -> None:
        """Count a member as Ready or not; a node that is not there is no change."""
        member = self._members.get(node_id)
        if member is None or member.is_ready is is_ready:
            return
        pools = member.pools
        self._place(member, ())
        member.is_ready = is_ready
        self._place(member, pools)

    def pools_of(self, node_id: str) -> tuple[int, ...]:
        """The pools of a node, () when it is in none."""
        member = self._members.get(node_id)
        return member.pools if member is not None else ()

    def page(self) -> PoolsPage:
        """The pools as they stand, sorted by id; only pools that changed are built anew."""
        return PoolsPage(
            mode=self.mode, pools=tuple(self._record(pool_id) for pool_id in self._pool_ids())
        )

    # -- automatic language pools ------------------------------------------------------------

    def _change_set(self, node_id: str, member: Member, languages: LanguageSet) -> Moves:
        """Enter the new set before leaving the old one, so that no pool retires in between."""
        before, member.languages = member.languages, languages
        if before == languages:
            return {}
        moves = self._enter_set(node_id, languages) if languages else {}
        if before:
            moves.update(self._leave_set(node_id, before))
        return moves

    def _enter_set(self, node_id: str, languages: LanguageSet) -> Moves:
        nodes = self._nodes_by_set.setdefault(languages, {})
        nodes[node_id] = None
        has_qualified = len(nodes) == self._config.auto_min_nodes
        self._qualified_count += has_qualified
        is_crowded = self._qualified_count > self._config.auto_max_pools
        if has_qualified or (is_crowded and languages not in self._pool_by_set):
            return self._replan()
        return {}

    def _leave_set(self, node_id: str, languages: LanguageSet) -> Moves:
        nodes = self._nodes_by_set[languages]
        del nodes[node_id]
        has_failed = len(nodes) == self._config.auto_min_nodes - 1
        was_crowded = self._qualified_count > self._config.auto_max_pools
        self._qualified_count -= has_failed
        if not nodes:
            del self._nodes_by_set[languages]
        if has_failed or (was_crowded and languages in self._pool_by_set):
            return self._replan()
        return {}

    def _replan(self) -> Moves:
        """Make and retire automatic pools and move the nodes of their language sets."""
        counts = {languages: len(nodes) for languages, nodes in self._nodes_by_set.items()}
        winners = winning_sets(counts, self._config)
        if not winners:
            return {}
        moves: Moves = {}
        for languages in sorted(self._pool_by_set.keys() - set(winners)):
            retired_id = self._pool_by_set.pop(languages)
            del self._set_by_pool[retired_id]
            self._remember(languages, retired_id)
            moves.update(self._move_all(languages, OTHER_POOL_ID))
            members = self._counts.pop(retired_id, None)
            assert not members, "a retired pool has no members"
            self._records.pop(retired_id, None)
        for languages in winners:
            if languages not in self._pool_by_set:
                pool_id = self._new_pool_id(languages)
                self._pool_by_set[languages] = pool_id
                self._set_by_pool[pool_id] = languages
                moves.update(self._move_all(languages, pool_id))
        return moves

    def _new_pool_id(self, languages: LanguageSet) -> int:
        remembered = self._remembered.pop(key_of(languages), None)
        if remembered is not None:
            return remembered
        self._next_id += 1
        return self._next_id - 1

    def _remember(self, languages: LanguageSet, pool_id: int) -> None:
        """Keep a retired pool's id for when its nodes are back: what is ordered of it stands."""
        self._remembered[key_of(languages)] = pool_id
        if len(self._remembered) > REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]

    def _move_all(self, languages: LanguageSet, pool_id: int) -> Moves:
        moves: Moves = {}
        for node_id in self._nodes_by_set.get(languages, ()):
            member = self._members[node_id]
            if member.pools:  # the node that is just being added is placed by its caller
                self._place(member, ())
                self._place(member, (pool_id,))
                moves[node_id] = (pool_id,)
        return moves

    # -- counts and records ------------------------------------------------------------------

    def _satisfied_by(self, class_number: int, capability: CapabilityClass) -> tuple[int, ...]:
        found = self._satisfied.get(class_number)
        if found is None:
            config = self._config
            found = satisfied_pools(capability, config.pools, multi_pool=config.multi_pool)
            self._satisfied[class_number] = found
        return found

    def _place(self, member: Member, pools: tuple[int, ...]) -> None:
        """Move a member's counts from its pools to `pools`."""
        for pool_id in member.pools:
            self._count(pool_id, member, -1)
        member.pools = pools
        for pool_id in pools:
            self._count(pool_id, member, +1)

    def _count(self, pool_id: int, member: Member, step: int) -> None:
        classes = self._counts.setdefault(pool_id, {})
        count = classes.setdefault(member.class_number, [0, 0])
        count[0] += step
        count[1] += step * member.is_ready
        if count[0] == 0:
            del classes[member.class_number]
        self._records.pop(pool_id, None)

    def _pool_ids(self) -> list[int]:
        if self.mode is PoolMode.HASH:
            return list(range(self._config.pool_count))
        made: Iterable[int] = self._pool_by_set.values()
        if self.mode is PoolMode.CAPABILITY:
            made = self._configured
        others = [OTHER_POOL_ID] if self._counts.get(OTHER_POOL_ID) else []
        return others + sorted(made)

    def _record(self, pool_id: int) -> PoolRecord:
        record = self._records.get(pool_id)
        if record is None:
            record = self._records[pool_id] = self._build_record(pool_id)
        return record

    def _build_record(self, pool_id: int) -> PoolRecord:
        classes = tuple(
            (class_number, online, ready)
            for class_number, (online, ready) in sorted(self._counts.get(pool_id, {}).items())
        )
        if self.mode is PoolMode.HASH:
            return PoolRecord(id=pool_id, name=f"bucket-{pool_id}", classes=classes)
        if pool_id == OTHER_POOL_ID:
            return PoolRecord(id=pool_id, name=OTHER_POOL_NAME, classes=classes)
        if self.mode is PoolMode.CAPABILITY:
            pool = self._configured[pool_id]
            types = tuple(sorted(set(pool.required_services)))
            return PoolRecord(id=pool_id, name=pool.name, required_types=types, classes=classes)
        languages = self._set_by_pool[pool_id]
        name = language_pool_name(languages)
        return PoolRecord(id=pool_id, name=name, languages=languages, classes=classes)
