"""What a fleet costs as it grows: real sockets while descriptors last, events beyond that.

    sockets   a real service with two workers; its nodes are raw frames over real connections, in
              processes of their own.  All join, then nothing happens, then one node changes again
              and again while a client keeps eight jobs in flight, then a worker is killed
    events    the real manager core is told by events what as many nodes say, the real worker core
              reads what it published and decides; virtual time, CPU time of one thread

A row says which of the two it is.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
from _load.orders import Order, Outcome
from _shared.changer import Changer
from _shared.crowds import Crowd, Size, nodes_max
from _shared.fleet_events import measure_events
from _shared.processes import Child, ChildTrouble
from _shared.report import Options, Row, quantile, report, rows_kept, taken
from _shared.service import MANAGER, OTHERS, Span, WatchedService, longest_ns, watched_service

WORKERS = 2
SOCKETS = (100, 1_000, 5_000, 10_000, 15_000)
QUICK_SOCKETS = (100, 1_000)
EVENTS = (15_000, 30_000, 100_000)
QUICK_EVENTS = (10_000,)
DIALS_PER_S = 300.0  # control and two lanes each; a worker accepts 500 connections a second
SETTLE_S = 2.0
IDLE_S = 10.0
QUICK_IDLE_S = 3.0
BUSY_S = 20.0
QUICK_BUSY_S = 4.0
DEPTH = 8
WARM_S = 0.5
FRESH_S = 120.0
MIB = 2**20


def max_nodes_for(nodes: int) -> int:
    """Return the limit that the service is started with."""
    return max(10_000, nodes + 1_000)


def measure_sockets(nodes: int, options: Options) -> Row:
    """Let so many nodes join a real service, and measure it."""
    max_nodes = max_nodes_for(nodes)
    with ExitStack() as stack:
        config = f"max_nodes = {max_nodes}\n"
        watched = stack.enter_context(watched_service(WORKERS, config, is_whole=True))
        began = watched.look()
        size = Size(nodes=nodes, workers=WORKERS, per_s=DIALS_PER_S)
        crowd = Crowd(stack, watched.address, size)
        crowd.wait_until_ready()
        row: Row = {"kind": "sockets", "nodes": nodes, "workers": WORKERS}
        row |= joining(watched.since(began), nodes)
        time.sleep(SETTLE_S)
        row |= idle(watched.watch(QUICK_IDLE_S if options.is_quick else IDLE_S))
        row |= busy(stack, watched, max_nodes, QUICK_BUSY_S if options.is_quick else BUSY_S)
        row["manager_rss_mib"] = watched.rss_bytes(MANAGER) / MIB
        row["worker_rss_mib"] = watched.workers_rss_bytes() / WORKERS / MIB
        row |= {f"{name}_rss_mib": watched.rss_bytes(name) / MIB for name in OTHERS}
        row |= fresh_worker(watched, crowd, nodes * WORKERS)
        told = [json.loads(answer) for answer in crowd.ask("told")]
        row["nodes_stall_max_ms"] = float(max(counts["stall_max_ms"] for counts in told))
        row |= taken()
    return row


def joining(span: Span, nodes: int) -> Row:
    """What it took until the last node was ready."""
    turns = span.timing("turn", MANAGER)
    return {
        "register_all_s": span.elapsed_s,
        "manager_us_per_node": span.cpu_s[MANAGER] / nodes * 1e6,
        "workers_us_per_node": span.workers_cpu_s() / nodes * 1e6,
        "join_turn_p50_us": turns.quantile(0.5) / 1e3,
        "join_turn_p99_us": turns.quantile(0.99) / 1e3,
        "join_turn_max_us": longest_ns(turns) / 1e3,
        "join_manager_waited_share": span.waited_share(MANAGER),
    }


def idle(span: Span) -> Row:
    """What heartbeats and chores cost when nothing happens."""
    return {
        "manager_idle_load": span.cpu_s[MANAGER] / span.elapsed_s,
        "workers_idle_load": span.workers_cpu_s() / span.elapsed_s,
        **{f"{name}_idle_load": span.cpu_s[name] / span.elapsed_s for name in OTHERS},
        "heartbeats_per_s": span.count(MANAGER, "heartbeats") / span.elapsed_s,
    }


def busy(stack: ExitStack, watched: WatchedService, max_nodes: int, seconds: float) -> Row:
    """Change one node again and again while a client works."""
    client = stack.enter_context(Child("_load.client", watched.address, "1"))
    client.next_line()
    order = Order(depth=DEPTH, warm_s=WARM_S, run_s=seconds)
    with closing(Changer(watched, max_nodes)) as changer:
        before = watched.look()
        client.say(msgspec.json.encode(order).decode())
        latencies_ns = sorted(changer.change_for(WARM_S + seconds))
        outcome = msgspec.json.decode(client.next_line(), type=Outcome)
        span = watched.since(before)
    turns, waits = span.timing("turn", MANAGER), span.timing("management_wait", MANAGER)
    stalls = span.timing("refresh")
    return {
        "changes": len(latencies_ns),
        "changer_lost": changer.lost_count,
        "publish_p50_ms": quantile(latencies_ns, 0.5) / 1e6,
        "publish_p99_ms": quantile(latencies_ns, 0.99) / 1e6,
        "turn_p50_us": turns.quantile(0.5) / 1e3,
        "turn_p99_us": turns.quantile(0.99) / 1e3,
        "turn_max_us": longest_ns(turns) / 1e3,
        "manager_waited_share": span.waited_share(MANAGER),
        "management_wait_p99_us": waits.quantile(0.99) / 1e3,
        "refresh_p50_us": stalls.quantile(0.5) / 1e3,
        "refresh_p99_us": stalls.quantile(0.99) / 1e3,
        "refresh_max_us": longest_ns(stalls) / 1e3,
        "decision_p50_us": span.timing("decision").quantile(0.5) / 1e3,
        "decision_p99_us": span.timing("decision").quantile(0.99) / 1e3,
        "chosen_p99_us": span.timing("scheduling").quantile(0.99) / 1e3,
        "workers_waited_share": span.waited_share(*watched.workers),
        "jobs_per_s": outcome.jobs / outcome.elapsed_s,
        "client_p99_us": outcome.p99_us,
    }


def fresh_worker(watched: WatchedService, crowd: Crowd, lanes: int) -> Row:
    """Kill the worker that has no client; say when its successor saw the fleet, and had it."""
    killed = watched.workers[-1]
    page = watched.pages[killed]
    before = page.read().counters["snapshot_refreshes"]
    began_s = time.monotonic()
    os.kill(watched.pids[killed], signal.SIGKILL)
    while page.read().counters["snapshot_refreshes"] == before:
        if time.monotonic() - began_s > FRESH_S:
            raise ChildTrouble(f"no new worker within {FRESH_S:g} s")
        time.sleep(0.002)
    sees_s = time.monotonic() - began_s
    while (up := sum(map(int, crowd.ask("lanes")))) < lanes:
        if time.monotonic() - began_s > FRESH_S:
            told = ", ".join(crowd.ask("told"))
            raise ChildTrouble(f"{up} of {lanes} lanes after {FRESH_S:g} s; nodes tell: {told}")
        time.sleep(0.05)
    return {"fresh_sees_s": sees_s, "fresh_has_lanes_s": time.monotonic() - began_s}


def main(options: Options, sizes: Sequence[int], *, is_adding: bool) -> None:
    """Measure every size that fits as sockets, the others as events, and report.

    With `is_adding` other sizes that the JSON has already stay there.
    """
    limit = nodes_max()
    sockets = [nodes for nodes in sizes or default_sockets(options, limit) if nodes <= limit]
    events = [nodes for nodes in sizes if nodes > limit] if sizes else default_events(options)
    rows, failed = [], []
    for nodes in sockets:
        try:
            rows.append(measure_sockets(nodes, options))
        except ChildTrouble as trouble:
            failed.append(f"{nodes} nodes as sockets: {trouble}")
    rows += [measure_events(nodes, is_quick=options.is_quick) | taken() for nodes in events]
    if is_adding:
        anew = [(row["kind"], row["nodes"]) for row in rows]
        rows += rows_kept(options.json_path, lambda row: (row["kind"], row["nodes"]) in anew)
    rows.sort(key=lambda row: (row["kind"] == "events", row["nodes"]))
    print(f"nodes dial at {DIALS_PER_S:g} a second; descriptors allow {limit} as sockets")
    report("fleet", rows, options)
    if failed:
        sys.exit("\n".join(failed))


def default_sockets(options: Options, limit: int) -> list[int]:
    """Return the sizes for sockets; where descriptors are few, as many as they allow."""
    wanted = QUICK_SOCKETS if options.is_quick else SOCKETS
    return sorted({min(nodes, limit) for nodes in wanted})


def default_events(options: Options) -> list[int]:
    """Return the sizes for events."""
    return list(QUICK_EVENTS if options.is_quick else EVENTS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a fleet costs from 100 to 100,000 nodes.")
    parser.add_argument("--quick", action="store_true", help="the short run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    parser.add_argument(
        "--nodes", type=int, nargs="*", default=[], help="other sizes; what fits, as sockets"
    )
    parser.add_argument(
        "--add", action="store_true", help="keep other sizes that the file of --json has already"
    )
    found = parser.parse_args()
    try:
        options = Options(is_quick=found.quick, json_path=found.json)
        main(options, found.nodes, is_adding=found.add)
    except KeyboardInterrupt:
        sys.exit("interrupted: everything that was started is ended")
