"""What sessions cost: many on one node, many connections, many on trunks, and one that is hot.

one-node      one node serves 1 to 1,000 sessions by the clock, while other nodes beat and
              register anew.  Beside it the negative control, variant global-lock: one process
              with one lock over management work and selection (see _load/sessions/global_lock.py)
connections   open connections with an idle session each, in two workers
trunks        idle sessions on one trunk to each of two workers
hand-over     connections whose session belongs to a certain worker, opened in turn with ones
              that do not care: what it costs that half of them come to the wrong one
skew          two workers; one session has half of the load, or none has more than another
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from _load.orders import cpu_of
from _load.sessions.global_lock import Told
from _load.sessions.orders import Open, Opened, OpenOnTrunks, SessionOrder, Submit, Submitted
from _shared.crowds import Crowd, Size, nodes_max
from _shared.processes import Child
from _shared.report import Options, Row, median_row, report, rows_kept, taken
from _shared.service import WatchedService, watched_service

from pointsman_workers.shell.doorway import ACCEPTS_PER_S_MAX

SESSIONS = (1, 10, 100, 1_000)
QUICK_SESSIONS = (1, 100, 1_000)
JOBS_PER_S_MIN = 50.0  # with few sessions each speaks more often than once a second
FLEETS = (1_000, 4_000)  # nodes that beat beside the one that serves
QUICK_FLEETS = (1_000,)
ANEW_PER_S = 20.0  # of them so many register anew each second
DIALS_PER_S = 150.0  # the control syncs each registration by itself
SLOTS = "4096"
SERVICE_MS = "20"
RUN_S = 10.0
QUICK_RUN_S = 3.0
ROUNDS = 3
CONNECTIONS = (1_000, 10_000, 30_000)
QUICK_CONNECTIONS = (1_000,)
TRUNK_SESSIONS = (10_000, 100_000)
QUICK_TRUNK_SESSIONS = (10_000,)
HANDED = 2_000
QUICK_HANDED = 400
HAND_ROUNDS = 10
HANDED_AT_ONCE = (1, 32)
SKEW_PER_S = 1_000.0
IDLE_S = 5.0
QUICK_IDLE_S = 2.0
SETTLE_S = 1.0
WARM_S = 1.0
PATIENCE_S = 400.0  # 30,000 connections take a minute, and longer where others work
# Idle sessions shall stay, and be as many as asked for.
CONFIG = "[sessions]\nidle_s = 3600\nsessions_max = 60_000\n"


class Clients:
    """Processes of sessions, each from addresses of its own."""

    def __init__(self, stack: ExitStack, address: str, count: int = 1) -> None:
        self._children = [
            stack.enter_context(Child("_load.sessions.crowd", address, f"127.1.{number + 1}"))
            for number in range(count)
        ]
        for child in self._children:
            child.next_line()

    def _ask(self, orders: Sequence[SessionOrder]) -> list[str]:
        for child, order in zip(self._children, orders, strict=True):
            child.say(msgspec.json.encode(order).decode())
        return [child.next_line(PATIENCE_S) for child in self._children]

    def open(self, order: Open | OpenOnTrunks) -> list[Opened]:
        """Let every process open its share."""
        count = len(self._children)
        shares = [order.count // count + (k < order.count % count) for k in range(count)]
        orders = [msgspec.structs.replace(order, count=share) for share in shares]
        return [msgspec.json.decode(answer, type=Opened) for answer in self._ask(orders)]

    def submit(self, order: Submit) -> Submitted:
        """Let the only process submit."""
        (answer,) = self._ask([order])
        return msgspec.json.decode(answer, type=Submitted)


# ---- one node


@contextmanager
def busy_fleet(address: str, nodes: int) -> Iterator[None]:
    """One node that serves, and others that beat and register anew."""
    with ExitStack() as stack:
        one = stack.enter_context(Child("_load.nodes", address, "1", SLOTS, SERVICE_MS))
        one.next_line()
        size = Size(nodes=nodes, workers=1, per_s=DIALS_PER_S, pair="fr-de")
        crowd = Crowd(stack, address, size)
        crowd.wait_until_ready()
        crowd.anew(ANEW_PER_S)
        yield


def row_of(sessions: int, nodes: int, found: Submitted) -> Row:
    """Return what the client saw."""
    return {
        "kind": "one-node",
        "sessions": sessions,
        "nodes": nodes,
        "jobs": found.jobs,
        "unanswered": found.unanswered,
        "jobs_per_s": found.jobs / found.elapsed_s,
        "accepted_p50_us": found.accepted_p50_us,
        "accepted_p95_us": found.accepted_p95_us,
        "accepted_p99_us": found.accepted_p99_us,
    }


def order_for(sessions: int, run_s: float) -> Submit:
    """A job a second and session, and not too few in all."""
    return Submit(per_s=max(JOBS_PER_S_MIN, float(sessions)), seconds=run_s)


def with_workers(sizes: Sequence[int], nodes: int, run_s: float) -> list[Row]:
    """The product: a manager and one worker."""
    with watched_service(1) as watched, busy_fleet(watched.address, nodes):
        return [at_a_worker(watched, sessions, nodes, run_s) for sessions in sizes]


def at_a_worker(watched: WatchedService, sessions: int, nodes: int, run_s: float) -> Row:
    """Let so many sessions submit to the product."""
    with loaded_by(watched.address, sessions) as clients:
        before = watched.look()
        found = clients.submit(order_for(sessions, run_s))
        span = watched.since(before)
    chosen = span.timing("scheduling")
    row: Row = {"system": "pointsman", **row_of(sessions, nodes, found)}
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        row[f"chosen_{name}_us"] = chosen.quantile(q) / 1e3
    row["server_load"] = sum(span.cpu_s.values()) / span.elapsed_s
    return row


def with_one_lock(sizes: Sequence[int], nodes: int, run_s: float) -> list[Row]:
    """The control: everything in one process, under one lock."""
    with Child("_load.sessions.global_lock") as server:
        address = server.next_line()
        with busy_fleet(address, nodes):
            rows = [at_the_lock(server, address, sessions, run_s) for sessions in sizes]
    return [{**row, "nodes": nodes} for row in rows]


def at_the_lock(server: Child, address: str, sessions: int, run_s: float) -> Row:
    """Let so many sessions submit to the control."""
    with loaded_by(address, sessions) as clients:
        server.ask("mark")
        cpu_ns, began_s = cpu_of({"": server.pid})[""], time.monotonic()
        found = clients.submit(order_for(sessions, run_s))
        used_ns = cpu_of({"": server.pid})[""] - cpu_ns
        elapsed_s = time.monotonic() - began_s
        told = msgspec.json.decode(server.ask("told"), type=Told)
    row: Row = {"system": "pointsman", "variant": "global-lock"}
    row |= row_of(sessions, 0, found)
    row |= {
        "chosen_p50_us": told.p50_us,
        "chosen_p95_us": told.p95_us,
        "chosen_p99_us": told.p99_us,
        "server_load": used_ns / 1e9 / elapsed_s,
    }
    return row


@contextmanager
def loaded_by(address: str, sessions: int) -> Iterator[Clients]:
    """Clients with so many sessions that have submitted for a while."""
    with ExitStack() as stack:
        clients = Clients(stack, address)
        clients.open(Open(count=sessions, worker_count=1))
        clients.submit(order_for(sessions, WARM_S))
        yield clients


def all_on_one_node(options: Options) -> list[Row]:
    """Both, in turn."""
    sizes = QUICK_SESSIONS if options.is_quick else SESSIONS
    run_s = QUICK_RUN_S if options.is_quick else RUN_S
    rounds = []
    for _ in range(1 if options.is_quick else ROUNDS):
        rows: list[Row] = []
        for nodes in QUICK_FLEETS if options.is_quick else FLEETS:
            rows += with_workers(sizes, nodes, run_s) + with_one_lock(sizes, nodes, run_s)
        rounds.append(rows)
    return [median_row(found) for found in zip(*rounds, strict=True)]


# ---- idle sessions


def connections_max() -> int:
    """Return how many connections two workers may have; some room is left for an uneven split."""
    return 2 * nodes_max()


def idle_sessions(kind: str, order: Open | OpenOnTrunks, options: Options) -> Row:
    """Open sessions, and say what they take while nothing happens."""
    with ExitStack() as stack:
        watched = stack.enter_context(watched_service(2, CONFIG))
        clients = Clients(stack, watched.address, 2 if kind == "connections" else 1)
        time.sleep(SETTLE_S)
        before_bytes, before = watched.workers_rss_bytes(), watched.look()
        opened = clients.open(order)
        span = watched.since(before)
        count = sum(each.count for each in opened)
        time.sleep(SETTLE_S)
        grown_bytes = watched.workers_rss_bytes() - before_bytes
        idle = watched.watch(QUICK_IDLE_S if options.is_quick else IDLE_S)
    return {
        "system": "pointsman",
        "kind": kind,
        "sessions": count,
        "connections": count if kind == "connections" else 2,
        "bytes_per_session": grown_bytes / count,
        "retries": float(sum(each.retries for each in opened)),
        "opens_per_s": count / max(each.elapsed_s for each in opened),
        "open_p50_us": max(each.p50_us for each in opened),
        "open_p99_us": max(each.p99_us for each in opened),
        "workers_us_per_open": span.workers_cpu_s() / count * 1e6,
        "workers_idle_load": idle.workers_cpu_s() / idle.elapsed_s,
    }


# ---- hand-over


def hand_over(at_once: int, options: Options) -> Row:
    """Open connections in turn with and without a wish whose they shall be."""
    share = (QUICK_HANDED if options.is_quick else HANDED) // HAND_ROUNDS
    cpu_s = {True: 0.0, False: 0.0}
    latency_us = {True: 0.0, False: 0.0}
    handed = 0
    with ExitStack() as stack:
        watched = stack.enter_context(watched_service(2, CONFIG))
        clients = Clients(stack, watched.address)
        for _ in range(HAND_ROUNDS):
            for is_keyed in (True, False):
                time.sleep(share / ACCEPTS_PER_S_MAX)  # until a worker may accept as many again
                order = Open(count=share, worker_count=2, is_keyed=is_keyed, at_once=at_once)
                before = watched.look()
                (opened,) = clients.open(order)
                span = watched.since(before)
                cpu_s[is_keyed] += span.workers_cpu_s()
                latency_us[is_keyed] += opened.mean_us / HAND_ROUNDS
                handed += sum(span.count(name, "handovers") for name in watched.workers)
    count = share * HAND_ROUNDS
    return {
        "system": "pointsman",
        "kind": "hand-over",
        "sessions": count,
        "connections": count,
        "at_once": at_once,
        "handed_over": handed,
        "open_mean_us": latency_us[False],
        "open_cpu_us": cpu_s[False] / count * 1e6,
        "handed_cpu_us": (cpu_s[True] - cpu_s[False]) / max(1, handed) * 1e6,
        "handed_latency_us": (latency_us[True] - latency_us[False]) * count / max(1, handed),
    }


# ---- skew


def skewed(hot_share: float, options: Options) -> Row:
    """Load 100 sessions of two workers; the first has this share of the jobs."""
    run_s = QUICK_RUN_S if options.is_quick else RUN_S
    with ExitStack() as stack:
        watched = stack.enter_context(watched_service(2))
        nodes = stack.enter_context(Child("_load.nodes", watched.address, "10", "256"))
        nodes.next_line()
        clients = Clients(stack, watched.address)
        clients.open(Open(count=100, worker_count=2, is_keyed=True))
        order = Submit(per_s=SKEW_PER_S, seconds=run_s, hot_share=hot_share)
        clients.submit(msgspec.structs.replace(order, seconds=WARM_S))
        before = watched.look()
        found = clients.submit(order)
        span = watched.since(before)
    decided = sorted(
        (span.count(name, "decisions"), span.cpu_s[name], name) for name in watched.workers
    )
    (few, few_cpu_s, calm), (many, many_cpu_s, hot) = decided
    return {
        "system": "pointsman",
        "kind": "skew",
        "sessions": 100,
        "hot_share": str(hot_share),
        "jobs_per_s": found.jobs / found.elapsed_s,
        "busier_jobs_share": many / max(1, many + few),
        "busier_cpu_share": max(many_cpu_s, few_cpu_s) / (many_cpu_s + few_cpu_s),
        "busier_chosen_p99_us": span.timing("scheduling", hot).quantile(0.99) / 1e3,
        "calmer_chosen_p99_us": span.timing("scheduling", calm).quantile(0.99) / 1e3,
        "accepted_p99_us": found.accepted_p99_us,
    }


def all_connections(options: Options) -> list[Row]:
    """Every number of connections, as far as descriptors allow."""
    limit = connections_max()
    rows = []
    for wanted in QUICK_CONNECTIONS if options.is_quick else CONNECTIONS:
        count = min(wanted, limit)
        if count < wanted:
            print(f"descriptors allow {limit} connections in two workers, not {wanted}")
        order = Open(count=count, worker_count=2, is_keyed=True)
        rows.append(idle_sessions("connections", order, options))
    return rows


def on_trunks(options: Options) -> list[Row]:
    """Every number of sessions on two trunks."""
    return [
        idle_sessions("trunks", OpenOnTrunks(count=count, worker_count=2), options)
        for count in (QUICK_TRUNK_SESSIONS if options.is_quick else TRUNK_SESSIONS)
    ]


KINDS: dict[str, Callable[[Options], list[Row]]] = {
    "one-node": all_on_one_node,
    "connections": all_connections,
    "trunks": on_trunks,
    "hand-over": lambda options: [hand_over(at_once, options) for at_once in HANDED_AT_ONCE],
    "skew": lambda options: [skewed(share, options) for share in (0.0, 0.5)],
}


def main(options: Options, kinds: Sequence[str]) -> None:
    """Measure these kinds, and report; rows of others that the JSON has already stay there."""
    rows = [row | taken() for kind in kinds for row in KINDS[kind](options)]
    rows += rows_kept(options.json_path, lambda row: row["kind"] in kinds)
    rows.sort(key=lambda row: [*KINDS].index(str(row["kind"])))
    report("sessions", rows, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What sessions cost; hand-over and skew.")
    parser.add_argument("--quick", action="store_true", help="the short run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=[*KINDS], help="these kinds")
    found = parser.parse_args()
    try:
        main(Options(is_quick=found.quick, json_path=found.json), found.only)
    except KeyboardInterrupt:
        sys.exit("interrupted: everything that was started is ended")
