"""What `top` draws of a look: what needs an eye first, lists cut to the height there is."""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from rich.console import Group, RenderableType
from rich.text import Text

from pointsman.cli.fleet.view import age_words, count_words
from pointsman.cli.placement_words import pool_words
from pointsman.cli.screen import table
from pointsman.cli.top.flow import sum_of
from pointsman.cli.top.looking import MINUTES, Look
from pointsman.cli.work.view import what_words
from pointsman_wire.admin_messages import NodeLine, Status

POOLS_SHOWN = 6
QUEUES_SHOWN = 5
REASONS_SHOWN = 5
NODES_SHOWN_MIN = 3
ALL_NODES = 1000
ROOMY_WIDTH = 100  # columns; with fewer, of workers only what changes is shown
STEADY_HEADS = ("pid", "lanes")
TROUBLE_STYLE = "bold yellow"


class NodeOrder(StrEnum):
    """What nodes are sorted by; the first letter is the key that asks for it."""

    NAME = "name"
    USE = "use"
    BEAT = "beat"


def picture(
    look: Look, order: NodeOrder, *, lines_max: int | None = None, width: int = ROOMY_WIDTH
) -> Group:
    """Return all of it; nodes fill what the other parts leave of `lines_max`."""
    head = [*_head(look), Text()]
    workers = _workers(look, is_narrow=width < ROOMY_WIDTH)
    tail = [part for part in (workers, _pools(look), _queues(look), _why(look)) if part]
    others = len(head) + sum(_height(part) for part in tail)
    room = ALL_NODES if lines_max is None else max(NODES_SHOWN_MIN, lines_max - others - 4)
    parts: list[RenderableType] = [*head, *_nodes(look, order, room)]
    for part in tail:
        parts += [Text(), *part]
    return Group(*parts)


def _height(part: Sequence[RenderableType]) -> int:
    """Return the lines that a part takes, with its heading and the empty one before it."""
    rows = sum(getattr(piece, "row_count", 0) for piece in part)
    return rows + 3 + sum(isinstance(piece, Text) for piece in part)


# ---- how it fares in one line or two


def _head(look: Look) -> Iterator[Text]:
    rates = sum_of(look.rates)
    statuses = look.beats.statuses.values()
    address = next((status.address for status in statuses if status.address), "")
    active = sum(status.gauges.get("jobs_active", 0) for status in look.workers.values())
    sessions = sum(status.gauges.get("sessions", 0) for status in look.workers.values())
    # What an offline node had is nobody's room.
    slots = sum(node.slots_max for node in look.fleet.nodes if node.state != "offline")
    held = sum(node.held for node in look.fleet.nodes)
    yield Text(" · ".join(filter(None, [look.instance, address])), style="bold")
    yield Text(
        f"{rates.done:g} done/s · {rates.accepted:g} accepted/s · {rates.failed:g} failed/s · "
        f"{rates.refused:g} refused/s · {active:.0f} active · {look.waiting.waiting} waiting · "
        f"{count_words(round(sessions), 'session')} · {held} of {slots} slots"
    )
    if not look.fleet.has_manager:
        age = age_words(look.fleet.page.snapshot_age_ms)
        yield Text(f"the manager does not answer: nodes of a snapshot {age} old", TROUBLE_STYLE)
    if look.pools is not None and look.pools.paused:
        yield Text("the service is paused: it takes no jobs", TROUBLE_STYLE)
    for heard in look.beats.faults:
        yield Text(f"no answer: {heard.fault}", TROUBLE_STYLE)


# ---- nodes


def _nodes(look: Look, order: NodeOrder, room: int) -> list[RenderableType]:
    nodes = sorted(look.fleet.nodes, key=lambda node: _rank(node, order))
    total = max(look.fleet.page.total, len(nodes))
    states = Counter(node.state for node in nodes)
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    title = Text(f"{count_words(total, 'node')}: {counts or 'none yet'}", style="dim")
    if not nodes:
        return [title]
    heads = ["node", "state", "slots", "load", "beat", "pools", "why"]
    made = table(heads, map(_node_row, nodes[:room]), numbers=("slots", "beat"))
    hidden = total - min(room, len(nodes))
    return [title, made, *([Text(f"and {hidden} more", style="dim")] if hidden else [])]


def _rank(node: NodeLine, order: NodeOrder) -> tuple[float, str]:
    if order is NodeOrder.USE:
        return -node.held / max(1, node.slots_max), node.node_id
    if order is NodeOrder.BEAT:
        return -node.heartbeat_age_ms, node.node_id
    return 0.0, node.node_id


def _node_row(node: NodeLine) -> list[str]:
    loads = {"cpu": node.cpu_percent, "mem": node.memory_percent, "gpu": node.gpu_percent}
    is_odd = node.state != "ready" or node.paused
    return [
        node.node_id,
        node.state,
        f"{node.held}/{node.slots_max}",
        " ".join(f"{name} {value:.0f}%" for name, value in loads.items() if value is not None),
        age_words(node.heartbeat_age_ms),
        " ".join(map(pool_words, node.pools)),
        node.reason if is_odd else "",
    ]


# ---- the other parts


def _workers(look: Look, *, is_narrow: bool) -> list[RenderableType]:
    heads = ["worker", "pid", "up", "sessions", "lanes", "active", "waiting", "done/s"]
    heads += ["refused/s", "p99" if is_narrow else "placing p99"]
    rows = [_worker_row(look, process, status) for process, status in look.workers.items()]
    if is_narrow:
        shown = [place for place, head in enumerate(heads) if head not in STEADY_HEADS]
        heads = [heads[place] for place in shown]
        rows = [[row[place] for place in shown] for row in rows]
    return [table(heads, rows, numbers=heads[1:])] if rows else []


def _worker_row(look: Look, process: str, status: Status) -> list[str]:
    gauges, rates = status.gauges, look.rates[process]
    names = ("sessions", "lanes", "jobs_active", "queue_length")
    p99_us = status.timings_us.get("scheduling", {}).get("p99", 0.0)
    return [
        process.removeprefix("worker-"),
        str(status.pid),
        age_words(status.uptime_s * 1e3),
        *(f"{gauges.get(name, 0):.0f}" for name in names),
        f"{rates.done:g}",
        f"{rates.refused:g}",
        f"{p99_us:.0f} µs" if p99_us else "",
    ]


def _pools(look: Look) -> list[RenderableType]:
    if look.pools is None or not look.pools.pools:
        return []
    pools = sorted(look.pools.pools, key=lambda pool: -pool.nodes)
    rows = [
        [
            pool_words(pool.name),
            str(pool.nodes),
            str(pool.ready),
            " ".join(pool.services),
            "paused" if pool.paused else "",
        ]
        for pool in pools[:POOLS_SHOWN]
    ]
    heads = ["pool", "nodes", "ready", "services", "state"]
    return [table(heads, rows, numbers=("nodes", "ready")), *_rest(len(pools) - POOLS_SHOWN)]


def _queues(look: Look) -> list[RenderableType]:
    lines = look.waiting.lines
    rows = [
        [
            what_words(line.services, line.src_lang, line.tgt_lang),
            str(line.waiting),
            age_words(line.oldest_ms),
            line.priority,
            line.tenant,
            worker.removeprefix("worker-"),
        ]
        for worker, line in lines[:QUEUES_SHOWN]
    ]
    if not rows:
        return []
    heads = ["waits for", "jobs", "oldest", "priority", "tenant", "worker"]
    return [table(heads, rows, numbers=("jobs", "oldest")), *_rest(len(lines) - QUEUES_SHOWN)]


def _why(look: Look) -> list[RenderableType]:
    why = look.why
    rows = [
        [line.outcome, str(line.jobs), line.code, line.reason.replace("_", " "), line.fix]
        for line in why.lines[:REASONS_SHOWN]
    ]
    if not rows:
        return []
    heads = [f"last {MINUTES} min", "jobs", "code", "reason", "what to do"]
    made: list[RenderableType] = [table(heads, rows, numbers=("jobs",))]
    made += _rest(len(why.lines) - REASONS_SHOWN)
    if why.best_change:
        jobs = count_words(why.best_change_jobs, "job")
        made.append(Text(f"would help most ({jobs}): {why.best_change}", style=TROUBLE_STYLE))
    return made


def _rest(count: int) -> list[RenderableType]:
    return [Text(f"and {count} more", style="dim")] if count > 0 else []
