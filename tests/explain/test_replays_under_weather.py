"""Whatever happens to a cluster: every decision that its workers remember is replayed equally."""

import pytest

from pointsman_sim.settings import Settings
from pointsman_sim.simulation import Simulation
from pointsman_wire.queries.explain_messages import DecisionView, Explained, ExplainQuery
from pointsman_workers.core.core import WorkerCore

FAULTS = ("worker_crash", "partition", "agent_stall", "agent_wishes", "manager_crash")


def remembered(core: WorkerCore) -> list[DecisionView]:
    """Every decision of a worker, replayed."""
    recorder = core.shard.recorder
    requests = {key[2] for ring in (recorder.placed, recorder.troubled) for key in ring}
    views: list[DecisionView] = []
    for request_id in sorted(requests):
        answer = core.answer(ExplainQuery(request_id=request_id, replay=True))
        assert isinstance(answer, Explained)
        views += answer.decisions
    return views


@pytest.mark.parametrize("seed", [0, 2, 3, 5])
def test_every_decision_of_a_harmed_cluster_is_replayed_equally(seed: int) -> None:
    settings = Settings(seed=seed, steps=12_000, duration_s=20.0, faults=FAULTS, faults_per_s=2.0)
    simulation = Simulation(settings)
    simulation.work()
    simulation.nemesis.stop()
    simulation.advance(5.0)  # a worker that was killed last has decided nothing yet
    cores = [worker.core for worker in simulation.cluster.instance.workers if worker is not None]
    views = [view for core in cores for view in remembered(core)]
    assert views
    for view in views:
        assert view.replay is not None
        assert view.replay.equal, (view.request_id, view.replay.differences)
        assert not view.node_id.startswith("row "), "every name is known"
