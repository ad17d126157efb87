"""What a look at the service becomes: rows of tables, with nothing in them that changes in vain.

What only grows older is told as the second in which it began, percentages in steps of five, and
how long a node is silent only when it is.  Pure.

  table     key           value
  node      row           [name, class, pools, instance]
  load      row           [state, flags, slots, held, foreign, cpu, gpu, memory, silent since]
  class     number        [services, languages, features, tenant, gpu]
  pool      id            [name, nodes, ready, slots, held, waiting]
  worker    number        [beats, sessions, jobs, waiting, oldest since, overload, pressure]
  pair      service a>b   [nodes, has a free slot]
  service   name          [nodes, has a free slot]
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence

from pointsman_sched.console.dashboard.eye import Look, NodeLook, Place
from pointsman_shm.memory.rows import PERCENT_UNKNOWN, NodeState, RowFlag
from pointsman_shm.memory.stats import StatsView
from pointsman_shm.memory.waiting import Waiting
from pointsman_shm.rules.coverage import Stock, Wanted, cover
from pointsman_shm.rules.languages import NmtRule, describe_languages
from pointsman_shm.snapshot.records import CapabilityClass
from pointsman_shm.snapshot.snapshot import RuntimeSnapshot

SECOND_NS = 1_000_000_000
LATE_NS = 3 * SECOND_NS
STEP_PERCENT = 5
POOLS_MAX = 200
CLASSES_MAX = 500
PAIRS_MAX = 4_000
WORDS_MAX = 200
CLASS_MASKS = 64
PAUSED = 100  # no state's number
_TAKES_JOBS = (NodeState.READY, NodeState.DEGRADED)
_PAUSED_FLAG = int(RowFlag.PAUSED)  # the operators of enum flags cost microseconds

Row = list[object]


def second_of(at_ns: int) -> int:
    """Return the second of an instant, 0 for no instant."""
    return at_ns // SECOND_NS


def node_rows(nodes: Sequence[NodeLook]) -> dict[int, Row]:
    """Who is there."""
    return {
        record.row: [record.node_id, record.class_number, list(record.pools), record.instance]
        for record in (node.record for node in nodes)
    }


def load_rows(nodes: Sequence[NodeLook], now_ns: int) -> dict[int, Row]:
    """How they are."""
    late_ns = now_ns - LATE_NS
    return {
        node.record.row: [
            node.state,
            node.flags,
            node.slots,
            node.held,
            node.foreign,
            _percent(node.cpu),
            _percent(node.gpu),
            _percent(node.memory),
            second_of(node.beat_at_ns) if node.beat_at_ns < late_ns else 0,
        ]
        for node in nodes
    }


def _percent(value: int) -> int:
    if value == PERCENT_UNKNOWN:
        return -1
    return min(100, value + STEP_PERCENT // 2) // STEP_PERCENT * STEP_PERCENT


def class_rows(look: Look) -> dict[int, Row]:
    """What nodes can do, the most frequent kinds of them when there are very many."""
    counts = Tally(node.record.class_number for node in look.nodes)
    found: dict[int, Row] = {}
    for number, _ in counts.most_common(CLASSES_MAX):
        capability = look.snapshot.class_of(number)
        if capability is not None:
            found[number] = [
                ", ".join(capability.types_ready)[:WORDS_MAX],
                _language_words(capability)[:WORDS_MAX],
                ", ".join(capability.features)[:WORDS_MAX],
                "" if capability.public else capability.tenant,
                capability.gpu,
            ]
    return found


def _language_words(capability: CapabilityClass) -> str:
    """Name the languages once where every service has the same, else service by service."""
    ability = capability.languages
    nmt = ability.nmt
    spoken = [found for found in (ability.asr, ability.tts, ability.semantic) if found]
    if nmt.rule == NmtRule.ANY_TO_ANY and not nmt.blocked:
        spoken.append(nmt.languages)
        if len(set(spoken)) == 1:
            return " ".join(spoken[0])
    return describe_languages(ability)


def pool_rows(look: Look) -> dict[int, Row]:
    """Pools with what their ready nodes hold, and how many waiting jobs one of them could take.

    A job waits for classes; they are known modulo 64, so the last number is an upper bound.
    """
    sums: dict[int, list[int]] = {}  # nodes, ready, slots, held, mask of classes
    for node in look.nodes:
        for pool in node.record.pools:
            known = sums.setdefault(pool, [0, 0, 0, 0, 0])
            known[0] += node.state != NodeState.OFFLINE
            known[4] |= 1 << node.record.class_number % CLASS_MASKS
            if node.state == NodeState.READY:
                known[1] += 1
                known[2] += node.slots
                known[3] += node.held
    pools = look.snapshot.pool_view.pools
    largest = sorted(sums, key=lambda pool: (-sums[pool][0], pool))[:POOLS_MAX]
    found: dict[int, Row] = {}
    for pool in largest:
        *figures, mask = sums[pool]
        name = pools[pool].name if pool in pools else str(pool)
        waiting = sum(spot.waiting_count for spot in look.waiting if spot.class_mask & mask)
        found[pool] = [name, *figures, waiting]
    return found


def worker_rows(
    workers: Mapping[int, StatsView], waiting: Iterable[Waiting], now_ns: int
) -> dict[int, Row]:
    """The workers, their queues and how hard pressed they are."""
    oldest: dict[int, int] = {}
    for spot in waiting:
        since_ns = oldest.get(spot.worker, now_ns)
        oldest[spot.worker] = min(since_ns, spot.oldest_since_ns)
    found: dict[int, Row] = {}
    for number, view in workers.items():
        gauges = view.gauges
        found[number] = [
            bool(view.beat_at_ns) and now_ns - view.beat_at_ns < LATE_NS,
            gauges["sessions"],
            gauges["jobs_active"],
            gauges["queue_length"],
            second_of(oldest.get(number, 0)),
            gauges["overload_step"],
            gauges["pressure_percent"] // STEP_PERCENT * STEP_PERCENT,
        ]
    return found


def fleet_sums(places: Sequence[Place]) -> tuple[dict[str, int], int, int]:
    """Return nodes by state, slots of those that get jobs, and how many of these are held.

    A ready node that its owner has paused counts as paused.
    """
    words: dict[int, str] = {state: state.name.lower() for state in NodeState}
    states = Tally(
        PAUSED if place.state == NodeState.READY and place.flags & _PAUSED_FLAG else place.state
        for place in places
    )
    named = {words.get(state, "paused"): count for state, count in sorted(states.items())}
    serving = [place for place in places if place.state in _TAKES_JOBS]
    return named, sum(place.slots for place in serving), sum(place.held for place in serving)


def stocks_of(look: Look) -> list[Stock]:
    """The nodes that get jobs, by class; "free" counts those among them that have a free slot."""
    sums: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for node in look.nodes:
        if node.state == NodeState.READY and not node.flags & _PAUSED_FLAG:
            known = sums.setdefault(node.record.class_number, [0, 0, 0])
            known[0] += 1
            known[1] += node.slots
            known[2] += node.held + node.foreign < node.slots
            names[node.record.class_number] = node.record.node_id
    return [
        Stock(capability, nodes, slots, free, names[number])
        for number, (nodes, slots, free) in sums.items()
        if (capability := look.snapshot.class_of(number)) is not None
    ]


def service_rows(stocks: Sequence[Stock]) -> dict[str, Row]:
    """Return by service how many nodes have it ready, and whether one of them has a free slot."""
    sums: dict[str, list[int]] = {}
    for stock in stocks:
        for name in stock.capability.types_ready:
            known = sums.setdefault(name, [0, 0])
            known[0] += stock.nodes
            known[1] += stock.free
    return {name: [nodes, free > 0] for name, (nodes, free) in sorted(sums.items())[:PAIRS_MAX]}


def pair_rows(
    stocks: Sequence[Stock], snapshot: RuntimeSnapshot
) -> tuple[dict[str, Row], list[str], bool]:
    """Return who translates what, the services that are shown, and whether some is left out.

    Only what is open to every tenant counts: translation alone, and the whole pipeline.
    """
    pipeline = snapshot.config.catalogue.default_services
    services = list(dict.fromkeys(["nmt", "+".join(pipeline)]))
    found: dict[str, Row] = {}
    is_cut = False
    for service in services:
        lines, is_truncated = cover(stocks, pipeline, Wanted(service=service))
        is_cut |= is_truncated
        for line in lines:
            if line.src and line.tgt and not line.tenant and not line.feature:
                found[f"{service} {line.src}>{line.tgt}"] = [line.nodes, line.free > 0]
    kept = dict(list(found.items())[:PAIRS_MAX])
    return kept, services, is_cut or len(kept) < len(found)
