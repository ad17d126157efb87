"""Whole clusters on a virtual clock: churn, machines that sleep, nodes of older versions, hours."""

from collections import Counter

import msgspec

from pointsman_shm.memory.rows import NodeState
from pointsman_shm.memory.stats_names import Counter as Count
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_sim.settings import Settings
from pointsman_sim.simulation import Simulation
from pointsman_sim.world.dice import S
from pointsman_wire.control_messages import Register, Registered


def at_work(*, seed: int = 3, nodes: int = 5, duration_s: float = 30.0) -> Simulation:
    """A cluster of polite nodes; the named fault only says that this is no calm run."""
    settings = Settings(
        seed=seed, workers=2, nodes=nodes, clients=2, faults=("agent_crash",), duration_s=duration_s
    )
    simulation = Simulation(settings)
    for node in simulation.cluster.nodes:
        node.behave()
    simulation.cluster.start()
    simulation.workload.start()
    simulation.advance(2.0)
    return simulation


def to_the_end(simulation: Simulation) -> dict[str, int]:
    simulation.come_to_rest()
    simulation.prove()
    return simulation.report().counts


def states(simulation: Simulation) -> Counter[str]:
    manager = simulation.cluster.instance.manager
    assert manager is not None
    return Counter(node.state.name for node in manager.core.state.nodes.by_id.values())


def places(simulation: Simulation) -> dict[str, tuple[int, int]]:
    manager = simulation.cluster.instance.manager
    assert manager is not None
    nodes = manager.core.state.nodes.by_id.values()
    return {node.node_id: (node.row, node.generation) for node in nodes}


def test_t12_a_hundred_nodes_a_minute_come_and_go_and_no_request_hangs() -> None:
    """I1: every request has an answer at the end."""
    simulation = at_work(nodes=6)
    cluster = simulation.cluster
    for turn in range(40):
        node = cluster.nodes[turn % len(cluster.nodes)]
        if node.process is not None and node.process.is_alive:
            if turn % 3 == 0:
                node.forget()  # it comes back as another node
            node.process.kill(is_silent=turn % 5 == 0)
        simulation.advance(0.6)
    counts = to_the_end(simulation)
    assert counts["registrations"] > 20
    assert all(asked.is_answered for site in cluster.clients for asked in site.asked.values())


def test_c2_a_host_that_slept_for_a_minute_with_all_its_processes_declares_nobody_dead() -> None:
    """T9, T10: everybody is late by as much; nodes fence themselves and register once."""
    simulation = at_work()
    before, cluster = places(simulation), simulation.cluster
    registrations = simulation.report().counts["registrations"]
    for process in cluster.processes():
        process.freeze(60 * S)
    simulation.advance(66.0)
    assert states(simulation) == {NodeState.READY.name: 5}
    assert places(simulation) == before
    assert simulation.report().counts["registrations"] - registrations == 5
    assert cluster.history.counts["LoopWasLate"] >= 8
    to_the_end(simulation)


def test_t10_a_laptop_that_slept_registers_once_and_does_not_flap() -> None:
    """Whether for five minutes or for thirty: it was dead after seconds."""
    simulation = at_work(nodes=4)
    agent = simulation.cluster.nodes[0].process
    assert agent is not None
    node_id = agent.core.node_id
    agent.freeze(300 * S)
    simulation.workload.stop()
    simulation.advance(299.0)
    registrations = simulation.report().counts["registrations"]
    simulation.advance(60.0)
    assert simulation.report().counts["registrations"] == registrations + 1
    assert states(simulation) == {NodeState.READY.name: 4}
    assert node_id in places(simulation)
    to_the_end(simulation)


def test_t4_heartbeats_and_reconnects_leave_what_is_held_alone() -> None:
    """I10: control connections break again and again while jobs run; lanes and counts stand."""
    simulation = at_work(seed=9)
    cluster = simulation.cluster
    workers = [w for w in cluster.instance.workers if isinstance(w, WorkerProcess)]
    for _ in range(20):
        for worker in workers:
            shard = worker.core.shard
            for lane in shard.lanes.values():
                held = sum(hold.has_slot for hold in lane.holds.values())
                own = shard.setup.memory.ledger.cells[
                    lane.row * shard.setup.memory.ledger.stride + shard.worker_index
                ]
                assert own == held, (lane.node_id, own, held)
        simulation.nemesis.strike("connection_drop")
        simulation.advance(0.3)
    counts = to_the_end(simulation)
    assert counts[Count.LEDGER_UNDERFLOW.name.lower()] == 0


def test_t27_timeouts_and_reconnects_leave_tables_as_small_as_they_were() -> None:
    """I9: connections break again and again, without any job."""
    simulation = at_work(nodes=3)
    simulation.workload.stop()
    sizes: list[dict[str, int]] = []
    for turn in range(120):
        simulation.nemesis.strike("connection_drop")
        simulation.advance(3.0)
        if turn in (19, 119):
            sizes.append(sizes_of(simulation))
    early, late = sizes
    grown = {name: (early[name], late[name]) for name in early if late[name] > early[name] + 8}
    assert not grown
    to_the_end(simulation)


def sizes_of(simulation: Simulation) -> dict[str, int]:
    """How many entries the tables of manager and workers have."""
    manager = simulation.cluster.instance.manager
    assert manager is not None
    state = manager.core.state
    sizes = {
        "peers": len(state.peers),
        "strangers": len(state.strangers),
        "nodes": len(state.nodes),
        "timers": sum(len(bucket) for bucket in state.timers._buckets.values()),
        "damping": len(state.damping),
        "lobby": len(state.lobby),
    }
    for worker in simulation.cluster.instance.workers:
        assert worker is not None
        shard = worker.core.shard
        sizes |= {
            f"{worker.name} lanes": len(shard.lanes),
            f"{worker.name} connections": len(shard.lanes_by_connection),
            f"{worker.name} timers": len(shard.timers),
            f"{worker.name} sessions": len(shard.sessions),
        }
    return sizes


def test_t28_nodes_of_an_older_and_of_a_newer_version_serve_side_by_side() -> None:
    """Unknown fields are ignored, absent ones have their defaults."""
    old = {"type": "register", "services": [{"id": "n", "kind": "nmt"}]}
    new = {**old, "colour": "blue", "services": [{"id": "n", "kind": "nmt", "x": 1}]}
    assert msgspec.convert(old, Register) == msgspec.convert(new, Register)
    answer = msgspec.to_builtins(Registered(node_id="n", offline_intervals=9, row=3))
    del answer["offline_intervals"]
    assert msgspec.convert(answer, Registered).offline_intervals == 5
