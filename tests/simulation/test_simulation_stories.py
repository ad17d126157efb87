"""One fault at a time, in a calm cluster of polite nodes: what its users see of it."""

from functools import partial

import pytest

from pointsman_sim.faults import ACTS
from pointsman_sim.history import Violation
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_sim.quiescence import what_is_left
from pointsman_sim.settings import FAULTS, Settings
from pointsman_sim.simulation import Simulation
from pointsman_sim.world.dice import MS, S
from pointsman_wire.preamble import Role

GOOD_ANSWERS = ("completed", "completed_no_text")


def at_work(seed: int = 1, *, fault: str = FAULTS[0], nodes: int = 3) -> Simulation:
    """A cluster whose nodes do not fail by themselves, two seconds after its start.

    The named fault only says that this is no calm run; nothing strikes by itself.
    """
    simulation = Simulation(
        Settings(seed=seed, workers=2, nodes=nodes, clients=2, faults=(fault,), tail=200)
    )
    cluster = simulation.cluster
    for node in cluster.nodes:
        node.behave()
    cluster.start()
    simulation.workload.start()
    simulation.advance(2.0)
    return simulation


def to_the_end(simulation: Simulation) -> dict[str, int]:
    """Let it come to rest and prove itself; return what was counted."""
    simulation.come_to_rest()
    simulation.prove()
    return simulation.report().counts


def worker(simulation: Simulation, index: int = 0) -> WorkerProcess:
    found = simulation.cluster.instance.workers[index]
    assert found is not None
    return found


def good_answers(simulation: Simulation) -> int:
    counts = simulation.cluster.history.counts
    return sum(counts[f"answer {status}"] for status in GOOD_ANSWERS)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_cluster_gets_over_each_kind_of_fault(kind: str) -> None:
    """I1, I10, I13: struck three times within a second, it comes to rest and works again."""
    simulation = at_work(seed=FAULTS.index(kind), fault=kind)
    for _ in range(3):
        simulation.nemesis.strike(kind)
        simulation.advance(0.4)
    simulation.advance(2.0)
    counts = to_the_end(simulation)
    assert counts[f"fault {kind}"] > 0


def test_every_kind_of_fault_that_settings_name_exists() -> None:
    assert sorted(ACTS) == sorted(FAULTS)


def test_jobs_go_on_while_there_is_no_manager() -> None:
    """P1: submits to known nodes need no manager, and no node is declared dead after it."""
    simulation = at_work()
    instance = simulation.cluster.instance
    assert instance.manager is not None
    instance.manager.kill()
    before = good_answers(simulation)
    while instance.manager is None:
        simulation.advance(0.01)
    assert good_answers(simulation) > before
    simulation.advance(3.0)
    states = {n.node_id: n.state.name for n in instance.manager.core.state.nodes.by_id.values()}
    assert set(states.values()) == {"READY"}
    to_the_end(simulation)


def test_a_stalled_manager_declares_nobody_dead() -> None:
    """P7, T9: five seconds are ten heartbeats."""
    simulation = at_work()
    manager = simulation.cluster.instance.manager
    assert manager is not None
    manager.freeze(5 * S)
    simulation.advance(8.0)
    nodes = manager.core.state.nodes.by_id.values()
    assert [node.state.name for node in nodes] == ["READY"] * 3
    assert simulation.cluster.history.counts["LoopWasLate"] == 1
    to_the_end(simulation)


def test_p12_who_runs_a_tenth_of_the_time_declares_nobody_dead_and_gets_over_it() -> None:
    """P12, I13: for 40 s everybody of one machine has a slice of 400 ms in each 4 s."""
    simulation = at_work()
    cluster = simulation.cluster
    manager = cluster.instance.manager
    assert manager is not None
    nodes = manager.core.state.nodes
    places = {node.node_id: (node.row, node.generation) for node in nodes.by_id.values()}
    for _ in range(10):
        for order, process in enumerate(cluster.processes()):
            cluster.schedule.after(order * 400 * MS, partial(process.freeze, 3_600 * MS))
        simulation.advance(4.0)
    simulation.advance(3.0)
    after = {node.node_id: (node.row, node.generation) for node in nodes.by_id.values()}
    assert after == places
    assert {node.state.name for node in nodes.by_id.values()} == {"READY"}
    assert cluster.instance.manager is manager
    assert cluster.history.counts["LoopWasLate"] > 40, "they did stand still"
    to_the_end(simulation)


def test_requests_that_run_are_found_again_after_their_worker_died() -> None:
    """P2, I2: the nodes report them, the clients repeat them, and they keep their job ids."""
    simulation = at_work(seed=2)
    doomed = worker(simulation)
    shard = doomed.core.shard
    deadline_s = 5.0
    while not (running := _running(doomed)) and deadline_s > 0:
        simulation.advance(0.05)
        deadline_s -= 0.05
    assert running
    node_lanes = len(shard.lanes)
    doomed.kill()
    simulation.advance(4.0)
    heir = worker(simulation)
    assert heir.epoch == 2
    assert heir.core.shard.is_settled
    assert len(heir.core.shard.lanes) == node_lanes
    known = {key: heir.core.shard.window.find(key) for key in running}
    same = [key for key, job in known.items() if job and job.job_id == running[key]]
    assert same, (running, known.keys())
    to_the_end(simulation)


def _running(process: WorkerProcess) -> dict[tuple[str, str, str], str]:
    sessions = process.core.shard.sessions.values()
    jobs = [job for session in sessions for job in session.open_jobs.values()]
    return {job.key: job.job_id for job in jobs if job.hold is not None and job.hold.is_started}


def test_the_other_shard_sees_nothing_of_a_dead_worker() -> None:
    """P2: its connections stand, its jobs end."""
    simulation = at_work(seed=2)
    other = worker(simulation, 1)
    peers = [*other.core.shard.peers]
    worker(simulation).kill()
    simulation.advance(2.0)
    assert [*other.core.shard.peers] == peers
    assert worker(simulation, 1) is other
    to_the_end(simulation)


def test_a_node_that_lost_power_is_dead_after_five_heartbeats() -> None:
    """N1: nobody tells, its silence does; its jobs run elsewhere."""
    simulation = at_work()
    cluster = simulation.cluster
    victim = cluster.nodes[1].process
    assert victim is not None
    node_id = victim.core.node_id
    victim.kill(is_silent=True)
    manager = cluster.instance.manager
    assert manager is not None
    node = manager.core.state.nodes.by_id[node_id]
    epoch = node.epoch
    simulation.advance(0.4)
    assert node.state.name == "READY"
    for _ in range(60):
        simulation.advance(0.1)
        if node.state.name == "OFFLINE" or node.epoch > epoch:
            break
    # Dead after 2.5 s of silence, unless the machine was back before.
    assert node.state.name == "OFFLINE" or node.epoch > epoch
    to_the_end(simulation)


def test_a_node_that_reads_its_control_connection_only_is_taken_out() -> None:
    """T8: its lane is stuck for longer than a worker believes it."""
    simulation = at_work(seed=4, nodes=1)
    network = simulation.cluster.network
    lane = next(
        wire for wire in network.wires.values()
        if wire.preamble.role is Role.LANE and wire.ends[1].process is worker(simulation)
    )  # fmt: skip
    network.hold(lane)
    registrations = simulation.report().counts["registrations"]
    simulation.advance(8.0)
    assert simulation.report().counts["registrations"] > registrations
    network.release(lane)
    to_the_end(simulation)


def test_a_short_partition_costs_no_node_its_place() -> None:
    """N3: back within three heartbeats it is the same registration."""
    simulation = at_work()
    cluster = simulation.cluster
    agent = cluster.nodes[0].process
    assert agent is not None
    registrations = simulation.report().counts["registrations"]
    wires = cluster.network.wires_of(agent)
    for wire in wires:
        cluster.network.hold(wire)
    simulation.advance(1.2)
    for wire in wires:
        cluster.network.release(wire)
    simulation.advance(2.0)
    assert simulation.report().counts["registrations"] == registrations
    to_the_end(simulation)


def test_a_client_that_starts_anew_gets_what_it_had_asked() -> None:
    """N12: the same ids, so nothing runs twice in one life of a worker."""
    simulation = at_work(seed=5)
    site = simulation.cluster.clients[0]
    assert site.process is not None
    site.process.kill()
    waiting = [asked for asked in site.asked.values() if asked.tickets]
    simulation.advance(0.5)
    site.start()
    assert waiting
    to_the_end(simulation)
    assert all(asked.is_answered for asked in waiting)


def test_a_stopping_worker_ends_its_jobs_and_its_heir_takes_the_sessions() -> None:
    """P13: the polite stop loses nothing that a client asked for."""
    simulation = at_work(seed=6)
    simulation.nemesis.strike("worker_stop")
    simulation.advance(7.0)
    assert sorted(worker(simulation, index).epoch for index in (0, 1)) == [1, 2]
    assert simulation.cluster.history.counts["answer SESSION_CLOSED"] == 0
    to_the_end(simulation)


def test_what_does_not_come_to_rest_is_named() -> None:
    """The end of a run is judged by what is left, in words."""
    simulation = at_work()
    assert what_is_left(simulation.cluster)
    for node in simulation.cluster.nodes:
        assert node.process is not None
        node.process.freeze(200 * S)
    simulation.workload.stop()
    with pytest.raises(Violation, match="node-0"):
        simulation.wait_for_rest(5.0)
