"""What if: assumptions about nodes and pools, applied to copies of what a decision reads.

node=pc-17:up        it is Ready, with a lane, neither paused nor overloaded
node=gpu-3:gone      it is Offline
node=gpu-3:paused    its owner has paused it; resumed: he has not
node=gpu-3:slots+4   it has four slots more; slots-1: one less
pool=3:slots+4       the Ready nodes of the pool (by number or name) have four slots more in all
"""

import re
from array import array
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from pointsman_shm.memory.rows import (
    FLAGS_SHIFT,
    GENERATION_SHIFT,
    SLOTS_MASK,
    SLOTS_MAX,
    STATE_MASK,
    STATE_SHIFT,
    NodeState,
    RowFlag,
)
from pointsman_shm.rules.pools import (
    OTHER_POOL_ID,
    OTHER_POOL_NAME,
    PoolMode,
    capability_pools,
    hash_pool,
    language_pool_name,
    pool_languages,
    satisfied_pools,
)
from pointsman_shm.snapshot.records import CapabilityClass, NodeRecord, PoolRecord, PoolsPage
from pointsman_workers.explain.names import find_record
from pointsman_workers.placement.fleet import Fleet

ASSUMPTION = re.compile(r"(node|pool)=(.+):(up|gone|paused|resumed|slots([+-]\d{1,5}))")
EXAMPLES = "node=pc-17:up, node=gpu-3:gone, node=gpu-3:slots+2, pool=3:slots+4"

_STATE_BITS = STATE_MASK << STATE_SHIFT
_PAUSED = int(RowFlag.PAUSED) << FLAGS_SHIFT
_OVERLOADED = int(RowFlag.OVERLOADED) << FLAGS_SHIFT


class WhatIfError(Exception):
    """An assumption that cannot be made; the text says why."""


class Scene(msgspec.Struct):
    """Copies of what a decision reads, as they would be; made by `imagine`."""

    standing: "array[int]"
    lane_generations: list[int]
    rows_by_node: dict[str, int]
    pools: PoolsPage
    newcomers: dict[int, list[int]] = {}  # pool -> rows that would join it
    new_pools: set[int] = set()  # pools that there are not
    placed: set[str] = set()  # nodes of which it was assumed whether they are there
    words: list[str] = []  # what was assumed, told


def imagine(fleet: Fleet, assumptions: Sequence[str]) -> Scene:
    """Apply every assumption in turn.  Raises WhatIfError for one that makes no sense."""
    scene = Scene(
        standing=array("Q", fleet.standing),
        lane_generations=[*fleet.lane_generations],
        rows_by_node=dict(fleet.rows_by_node),
        pools=fleet.snapshot.pools,
    )
    for assumption in assumptions:
        found = ASSUMPTION.fullmatch(assumption.strip())
        if found is None:
            raise WhatIfError(f"{assumption!r} is no assumption; write such as {EXAMPLES}")
        what, name, act, step = found.groups()
        if what == "pool":
            if step is None:
                raise WhatIfError(f"{assumption!r}: of a pool only slots can be assumed")
            scene.words.append(_give_pool(fleet, scene, name, int(step)))
        else:
            record = _record_of(fleet, name)
            scene.words.append(_change_node(fleet, scene, record, act, int(step or 0)))
    return scene


def _record_of(fleet: Fleet, node_id: str) -> NodeRecord:
    record = find_record(fleet.snapshot, node_id)
    if record is None:
        raise WhatIfError(
            f"no node {node_id!r} is known; one that left is remembered for ten minutes"
        )
    return record


# -- nodes ---------------------------------------------------------------------------------------


def _change_node(fleet: Fleet, scene: Scene, record: NodeRecord, act: str, slots_step: int) -> str:
    row, name = record.row, record.node_id
    word = scene.standing[row]
    if act in ("up", "gone"):
        if name in scene.placed:
            raise WhatIfError(f"of {name} it is assumed twice whether it is there")
        scene.placed.add(name)
    if act == "up":
        return _bring_up(fleet, scene, record)
    if act == "gone":
        scene.standing[row] = word & ~_STATE_BITS | NodeState.OFFLINE << STATE_SHIFT
        scene.lane_generations[row] = 0
        scene.rows_by_node.pop(name, None)
        was_ready = _is_ready(word)
        for pool_id in record.pools:
            _recount(scene, pool_id, record.class_number, online=-1, ready=-int(was_ready))
        return f"{name} is gone"
    if act == "paused":
        scene.standing[row] = word | _PAUSED
        return f"{name} is paused by its owner"
    if act == "resumed":
        scene.standing[row] = word & ~_PAUSED
        return f"{name} is not paused"
    slots = _with_slots(scene, row, slots_step)
    return f"{name} has {slots} slots"


def _bring_up(fleet: Fleet, scene: Scene, record: NodeRecord) -> str:
    row, word = record.row, scene.standing[record.row]
    was_ready = _is_ready(word)
    kept = word & ~(_STATE_BITS | _PAUSED | _OVERLOADED)
    scene.standing[row] = kept | NodeState.READY << STATE_SHIFT
    scene.lane_generations[row] = word >> GENERATION_SHIFT
    scene.rows_by_node[record.node_id] = row
    pools = record.pools or _pools_if_back(fleet, scene, record)
    for pool_id in pools:
        is_back = not record.pools
        _recount(scene, pool_id, record.class_number, online=int(is_back), ready=int(not was_ready))
        if is_back:
            scene.newcomers.setdefault(pool_id, []).append(row)
    names = {pool.id: pool.name for pool in scene.pools.pools}
    into = ", ".join(names.get(pool_id, str(pool_id)) for pool_id in pools)
    return f"{record.node_id} is up, with {word & SLOTS_MASK} slots, in pool {into}"


def _is_ready(word: int) -> bool:
    return word >> STATE_SHIFT & STATE_MASK == NodeState.READY


def _with_slots(scene: Scene, row: int, step: int) -> int:
    word = scene.standing[row]
    slots = min(max((word & SLOTS_MASK) + step, 0), SLOTS_MAX)
    scene.standing[row] = word & ~SLOTS_MASK | slots
    return slots


# -- pools ---------------------------------------------------------------------------------------


def _give_pool(fleet: Fleet, scene: Scene, name: str, step: int) -> str:
    """Spread slots over the pool's Ready nodes, one each in turn."""
    pool = next((p for p in scene.pools.pools if name in (str(p.id), p.name)), None)
    if pool is None:
        known = ", ".join(f"{p.id} ({p.name})" for p in scene.pools.pools[:16])
        raise WhatIfError(f"there is no pool {name!r}; there are {known or 'none'}")
    members = [
        row
        for rows in fleet.index.buckets(pool.id).values()
        for row in rows
        if _is_ready(scene.standing[row])
    ]
    if not members:
        raise WhatIfError(f"pool {pool.name} has no ready node that could have other slots")
    each, odd = divmod(abs(step), len(members))
    sign = 1 if step > 0 else -1
    for at, row in enumerate(sorted(members)):
        _with_slots(scene, row, sign * (each + (at < odd)))
    return f"the {len(members)} ready nodes of pool {pool.name} have {step:+d} slots in all"


def _pools_if_back(fleet: Fleet, scene: Scene, record: NodeRecord) -> tuple[int, ...]:
    """The pools that a node would join that is in none, because it is Offline."""
    capability = fleet.snapshot.class_of(record.class_number)
    config = fleet.config.pools
    if capability is None:
        return ()
    if scene.pools.mode == PoolMode.HASH:
        return (hash_pool(record.node_id, config),)
    if scene.pools.mode == PoolMode.CAPABILITY:
        satisfied = satisfied_pools(capability, config.pools, multi_pool=config.multi_pool)
        return capability_pools(record.node_id, satisfied, config)
    return (_language_pool(fleet, scene, capability),)


def _language_pool(fleet: Fleet, scene: Scene, capability: CapabilityClass) -> int:
    """The automatic pool of this class's languages; a new one where one node is enough for that."""
    config = fleet.config.pools
    languages = pool_languages(capability, config)
    for pool in scene.pools.pools:
        if languages and pool.languages == languages:
            return pool.id
    made_count = sum(bool(pool.languages) for pool in scene.pools.pools)
    if not languages or config.auto_min_nodes > 1 or made_count >= config.auto_max_pools:
        pool_id, name, languages = OTHER_POOL_ID, OTHER_POOL_NAME, ()
    else:
        pool_id = max((pool.id for pool in scene.pools.pools), default=OTHER_POOL_ID) + 1
        name = language_pool_name(languages)
    if all(pool.id != pool_id for pool in scene.pools.pools):
        scene.new_pools.add(pool_id)
        pool = PoolRecord(id=pool_id, name=name, languages=languages)
        scene.pools = replace(scene.pools, pools=(*scene.pools.pools, pool))
    return pool_id


def _recount(scene: Scene, pool_id: int, class_number: int, *, online: int, ready: int) -> None:
    """Change a pool's counts; an automatic pool without a member retires."""
    page = scene.pools
    pools = [
        _recounted(p, class_number, online, ready) if p.id == pool_id else p for p in page.pools
    ]
    if page.mode == PoolMode.LANGUAGE and any(pool.classes for pool in pools):
        pools = [pool for pool in pools if pool.classes or pool.id != pool_id]
    scene.pools = replace(page, pools=tuple(sorted(pools, key=lambda pool: pool.id)))


def _recounted(pool: PoolRecord, class_number: int, online: int, ready: int) -> PoolRecord:
    counts = {number: (was_online, was_ready) for number, was_online, was_ready in pool.classes}
    was_online, was_ready = counts.get(class_number, (0, 0))
    counts[class_number] = (max(0, was_online + online), max(0, was_ready + ready))
    classes = [(number, *count) for number, count in sorted(counts.items()) if count[0]]
    return replace(pool, classes=tuple(classes))
