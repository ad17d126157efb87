"""All pools of a fleet are planned anew and swapped in: what that costs, and who waits meanwhile.

A new configuration of pools is offered to the real manager core while nodes beat.  The core plans
it in slices beside the old one; the last turn swaps it in and publishes everything that moved.  A
heartbeat that comes at the worst moment waits for the turn that runs and for its own.  All figures
are CPU time of the manager's turns, the median of several rebuilds.
"""

import gc

from _shared.fleet import Fleet
from _shared.report import Options, Row, median_row, quantile, report, run

from pointsman_sched.manager.garbage import GarbageKeeper
from pointsman_shm.config import Config, PoolConfig, PoolsConfig

NODE_COUNTS = (1_000, 10_000, 100_000)
QUICK_NODE_COUNTS = NODE_COUNTS[:-1]
REBUILDS = 6
QUICK_REBUILDS = 4
HEARTBEATS_A_TURN = 4


def pools_of(number: int) -> PoolsConfig:
    """One of two ways to group the fleet, in turn: every node moves each time."""
    if number % 2:
        return PoolsConfig()
    services = ("asr", "nmt", "tts")
    return PoolsConfig(pools=(PoolConfig(id=9_001, name="speech", required_services=services),))


def rebuild(fleet: Fleet, number: int) -> Row:
    """Put another grouping in force; say how long the turns were."""
    fleet.offer(Config(nodes=fleet.nodes_config, pools=pools_of(number)))
    turns_ns: list[int] = []
    beaten = 0
    while fleet.is_rebuilding:
        numbers = [(beaten + k) % fleet.node_count for k in range(HEARTBEATS_A_TURN)]
        beaten += HEARTBEATS_A_TURN
        turns_ns.append(fleet.beat(numbers))
    waits_ns = sorted(a + b for a, b in zip([0, *turns_ns], turns_ns, strict=False))
    ordered = sorted(turns_ns)
    return {
        "turns": float(len(turns_ns)),
        "rebuild_ms": sum(turns_ns) / 1e6,
        "turn_p50_ms": quantile(ordered, 0.5) / 1e6,
        "turn_p99_ms": quantile(ordered, 0.99) / 1e6,
        "turn_max_ms": ordered[-1] / 1e6,
        "swap_turn_ms": turns_ns[-1] / 1e6,
        "heartbeat_wait_p99_ms": quantile(waits_ns, 0.99) / 1e6,
        "heartbeat_wait_max_ms": waits_ns[-1] / 1e6,
    }


def measure(node_count: int, rebuild_count: int, *, has_equal_nodes: bool) -> Row:
    """Let a fleet join, and rebuild its pools again and again."""
    fleet = Fleet(node_count, has_equal_nodes=has_equal_nodes)
    fleet.join_all()
    before = gc.get_threshold()
    GarbageKeeper().settle()  # as the manager does
    row = median_row([rebuild(fleet, number) for number in range(rebuild_count)])
    gc.unfreeze()
    gc.set_threshold(*before)
    return {"nodes": node_count, "classes": "one" if has_equal_nodes else "each its own", **row}


def main(options: Options) -> None:
    """Measure every size, and report."""
    node_counts = QUICK_NODE_COUNTS if options.is_quick else NODE_COUNTS
    rebuild_count = QUICK_REBUILDS if options.is_quick else REBUILDS
    rows = [
        measure(node_count, rebuild_count, has_equal_nodes=has_equal_nodes)
        for node_count in node_counts
        for has_equal_nodes in (True, False)
    ]
    report("rebuild", rows, options)


if __name__ == "__main__":
    run("A full rebuild of pools and index at 1,000 to 100,000 nodes.", main)
