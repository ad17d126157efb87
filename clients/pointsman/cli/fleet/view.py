"""What `nodes`, `snapshot`, `status` and `sessions` show: answers in, tables out."""

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from pointsman.cli.fleet.asking import Fleet, Heard, Service
from pointsman.cli.placement_words import ability_words, pool_words
from pointsman.cli.screen import err, say, show, table
from pointsman_wire.admin_messages import NodeLine, SessionLine, SnapshotView, Status
from pointsman_wire.queries.fleet_messages import InstanceLine, Instances
from pointsman_wire.queries.job_messages import PoisonLine

TIMINGS_ORDER = ("count", "mean", "p50", "p95", "p99", "max")


def show_faults(faults: Iterable[Heard]) -> None:
    """Say on standard error who gave no answer."""
    for heard in faults:
        err.print(Text(f"no answer: {heard.fault}", style="yellow"), soft_wrap=True)


# ---- nodes


def show_fleet(service: Service, fleet: Fleet) -> None:
    """The nodes, one a line, and who said so."""
    if not fleet.has_manager:
        err.print(
            Text(
                f"the manager does not answer; this is the snapshot of {fleet.answered_by}, "
                f"{age_words(fleet.page.snapshot_age_ms)} old: nodes can neither join nor leave",
                style="yellow",
            ),
            soft_wrap=True,
        )
    if fleet.nodes:
        heads = ["node", "state", "services and languages", "pools", "slots", "load", "beat"]
        rows = [_node_row(node) for node in fleet.nodes]
        if any(node.instance for node in fleet.nodes):
            heads.append("instance")
            homes = [node.instance or service.instance for node in fleet.nodes]
            rows = [[*row, home] for row, home in zip(rows, homes, strict=True)]
        show(table(heads, rows, numbers=("slots", "beat")))
    else:
        say("no nodes yet; try: pointsman node --engines speech")
    shown, total = len(fleet.nodes), max(fleet.page.total, len(fleet.nodes))
    more = f", {shown} of them shown: --limit {total} shows all" if total > shown else ""
    say(
        f"{count_words(total, 'node')}{more} · {service.instance} · "
        f"snapshot {fleet.page.snapshot_version}, said by {fleet.answered_by}"
    )


def _node_row(node: NodeLine) -> list[str]:
    is_odd = node.reason and (node.state != "ready" or node.paused)
    state = f"{node.state}: {node.reason}" if is_odd else node.state
    return [
        node.node_id,
        state,
        ability_words(node.services, node.languages),
        " ".join(map(pool_words, node.pools)),
        f"{node.held}/{node.slots_max}",
        _load_words(node),
        age_words(node.heartbeat_age_ms),
    ]


def _load_words(node: NodeLine) -> str:
    loads = {"cpu": node.cpu_percent, "mem": node.memory_percent, "gpu": node.gpu_percent}
    return " ".join(f"{name} {value:.0f}%" for name, value in loads.items() if value is not None)


# ---- instances


def show_instances(told: Instances) -> None:
    """The instances, one a line; then what is wrong between them, and whose settings rule."""
    heads = ["instance", "state", "nodes", "workers", "heard", "settings", "version", "address"]
    rows = [_instance_row(line) for line in told.instances]
    show(table(heads, rows, numbers=("nodes", "workers", "heard")))
    if not told.shared:
        say("this instance is on its own: without [redis] in its configuration there are no others")
        return
    if told.trouble:
        err.print(Text(f"the others are not heard: {told.trouble}", style="yellow"), soft_wrap=True)
    if told.settings_trouble:
        words = f"the fleet's pools are not in force here: {told.settings_trouble}"
        err.print(Text(words, style="yellow"), soft_wrap=True)
    if told.settings_version:
        say(f"pools and catalogue: version {told.settings_version}, of {told.settings_by}")


def _instance_row(line: InstanceLine) -> list[str]:
    leads = " (leads)" if line.leads else ""
    return [
        line.name,
        line.state,
        str(line.nodes),
        str(line.workers),
        "" if line.state == "self" else age_words(line.heard_age_ms),
        f"{line.settings_version or 'own'}{leads}",
        line.version,
        " ".join(line.addresses),
    ]


# ---- snapshot


def show_snapshots(service: Service, views: Mapping[str, SnapshotView]) -> None:
    """What every process sees in shared memory, then the fleet as the freshest sees it."""
    freshest = max(views.values(), key=lambda view: view.version)
    manager = "alive" if freshest.manager_alive else "DEAD: the last snapshot stays in use"
    say(f"{service.instance} · snapshot {freshest.version} · manager {manager}")
    heads = ["process", "version", "age", "beat", "nodes", "classes", "slots held"]
    rows = [
        [
            process,
            str(view.version),
            age_words(view.age_ms),
            age_words(view.beat_age_ms),
            str(view.nodes),
            str(view.classes),
            _ledger_words(view),
        ]
        for process, view in views.items()
    ]
    show(table(heads, rows, numbers=heads[1:6]))
    say(f"nodes by state: {_counts_words(freshest.nodes_by_state)}")
    mode = f" ({freshest.pool_mode})" if freshest.pool_mode else ""
    pools = {pool_words(name): count for name, count in freshest.pools.items()}
    say(f"pools{mode}: {_counts_words(pools)}")


def _ledger_words(view: SnapshotView) -> str:
    """The sum and how much of it each worker holds: the row of the ledger, so to say."""
    by_worker = "+".join(map(str, view.slots_held))
    detail = f" ({by_worker})" if len(view.slots_held) > 1 else ""
    return f"{sum(view.slots_held)} of {view.slots_total}{detail}"


def _counts_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


# ---- status


def show_status(service: Service, answers: Mapping[str, Status]) -> None:
    """Every process; then counters, gauges and timings, a column for each process."""
    address = next((answer.address for answer in answers.values() if answer.address), "")
    version = next((answer.version for answer in answers.values() if answer.version), "")
    say(" · ".join(filter(None, [service.instance, address, version and f"version {version}"])))
    rows = [
        [p, str(a.pid), age_words(a.uptime_s * 1e3), str(a.snapshot_version or "")]
        for p, a in answers.items()
    ]
    show(table(["process", "pid", "up", "snapshot"], rows, numbers=("pid", "up", "snapshot")))
    _show_children(answers)
    counters = {process: answer.counters for process, answer in answers.items()}
    _show_columns(
        "counter", {p: {k: f"{v}" for k, v in c.items() if v} for p, c in counters.items()}
    )
    gauges = {process: answer.gauges for process, answer in answers.items()}
    _show_columns("gauge", {p: {k: f"{v:g}" for k, v in g.items() if v} for p, g in gauges.items()})
    _show_timings(answers)


def _show_children(answers: Mapping[str, Status]) -> None:
    children = [child for answer in answers.values() for child in answer.children]
    if children:
        heads = sorted({key for child in children for key in child}, key=_name_first)
        say("", "started by the supervisor:")
        show(table(heads, [[child.get(head, "") for head in heads] for child in children]))


def _name_first(head: str) -> tuple[bool, str]:
    return head not in ("name", "process"), head


def _show_columns(kind: str, columns: Mapping[str, Mapping[str, str]]) -> None:
    used = {process: values for process, values in columns.items() if values}
    names = sorted({name for values in used.values() for name in values})
    if names:
        rows = [[name, *(values.get(name, "") for values in used.values())] for name in names]
        say("")
        show(table([kind, *used], rows, numbers=list(used)))


def _show_timings(answers: Mapping[str, Status]) -> None:
    timings = {
        f"{process} {name}": timing
        for process, answer in answers.items()
        for name, timing in answer.timings_us.items()
        if any(timing.values())
    }
    heads = [head for head in TIMINGS_ORDER if any(head in t for t in timings.values())]
    rows = [
        [name, *(f"{timing[head]:.0f}" if head in timing else "" for head in heads)]
        for name, timing in timings.items()
    ]
    if rows:
        say("")
        show(table(["timing, µs", *heads], rows, numbers=heads))


# ---- sessions


def show_sessions(lines: Sequence[tuple[str, SessionLine]], total: int) -> None:
    """The sessions, one a line."""
    heads = ["session", "worker", "tenant", "pair", "pool", "jobs", "last node", "connected"]
    rows = [
        [
            line.session_id,
            worker.removeprefix("worker-"),
            line.tenant,
            line.pair,
            line.pool,
            str(line.jobs),
            line.last_node,
            "yes" if line.connected else "no",
        ]
        for worker, line in lines
    ]
    if rows:
        show(table(heads, rows, numbers=("jobs",)))
    more = f", {len(rows)} of them shown: --limit {total} shows all" if total > len(rows) else ""
    say(f"{count_words(total, 'session')}{more}")


def show_poison(lines: Sequence[tuple[str, PoisonLine]], total: int) -> None:
    """The jobs one a line, each with its attempts below it."""
    for worker, line in lines:
        whose = f"{line.tenant}/{line.session_id}" if line.tenant else line.session_id
        down = f", {line.crashes} times a node went down" if line.crashes else ""
        say(f"{line.request_id} of {whose}: {' + '.join(line.services)}, job {line.job_id}")
        ago = age_words(line.ended_ago_s * 1000)
        say(f"  {ago} ago at {worker}; failed on {', '.join(line.nodes)}{down}")
        for attempt in line.attempts:
            say(f"  {attempt}")
    more = f", {len(lines)} of them shown" if total > len(lines) else ""
    say(f"{count_words(total, 'poison job')}{more}")


# ---- words


def age_words(age_ms: float) -> str:
    """Return a span of time in two or three figures: 12 ms, 1.2 s, 3 min, 5 h."""
    for unit, size_ms, above_ms in (
        ("d", 86_400e3, 172_800e3),
        ("h", 3_600e3, 7_200e3),
        ("min", 60e3, 120e3),
        ("s", 1e3, 1e3),
    ):
        if age_ms >= above_ms:
            value = age_ms / size_ms
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{age_ms:.0f} ms"


def count_words(count: int, noun: str) -> str:
    """Return `1 node`, `2 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
