"""Weather: two hundred clusters, each from its seed, every turn of every core judged.

I1, I2, I3, I4, I6, I8, I10, I11, I13 hold in all of them; the seed is the report.
"""

import os
import subprocess
import sys

import msgspec
import pytest

from pointsman_sim.settings import FAULTS, Settings, alone, settings_of
from pointsman_sim.simulation import Report, simulate

SEEDS = 200
CHUNK = 10


def kept(report: Report) -> None:
    """Fail with all that is needed to see it again."""
    settings = report.settings
    assert not report.violation, "\n".join(
        [*report.tail, report.traceback, f"{settings}", report.violation]
    )


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_promise_is_kept_in_every_weather(first: int) -> None:
    """L2: small clusters of 1 to 3 workers; one seed in four is calm, the others are not."""
    for seed in range(first, first + CHUNK):
        kept(simulate(settings_of(seed)))


@pytest.mark.slow
def test_a_larger_cluster_keeps_them_as_well() -> None:
    settings = Settings(seed=7, steps=10_000, workers=4, nodes=12, clients=6, faults=FAULTS)
    kept(simulate(settings))


def test_each_kind_of_fault_alone_and_often_breaks_no_promise() -> None:
    """L2: as many seeds in a row as there are kinds; most lie in the long form, --alone."""
    kinds = [alone(settings_of(seed)).faults for seed in range(len(FAULTS))]
    assert kinds == [(kind,) for kind in FAULTS]
    for seed in (5, 16):
        report = simulate(alone(settings_of(seed)))
        kept(report)
        assert report.counts[f"fault {FAULTS[seed]}"] > 0


def test_one_seed_gives_one_trace() -> None:
    """Twice in this process, whatever ran before."""
    for seed in (3, 8, 27):
        settings = settings_of(seed)
        first, second = simulate(settings), simulate(settings)
        assert first.turns > 1_000
        assert (first.trace_hash, first.counts) == (second.trace_hash, second.counts)
    other = simulate(msgspec.structs.replace(settings, seed=28))
    assert other.trace_hash != first.trace_hash


def test_a_trace_does_not_depend_on_the_order_of_hash_tables() -> None:
    """Other processes with other hashes of strings see the very same run."""
    traces = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "pointsman_sim", "--seed", "27", "--steps", "2000"]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        traces.add(done.stdout.splitlines()[-1])
    assert len(traces) == 1, traces


def test_calm_clusters_do_what_is_asked_of_them() -> None:
    """I4: without faults no node refuses a job for lack of room, and nothing runs twice."""
    for seed in range(0, 40, 4):
        report = simulate(settings_of(seed))
        kept(report)
        counts = report.counts
        assert not settings_of(seed).faults
        assert counts["node_capacity_refusals"] == counts["ledger_underflow"] == 0
        assert counts["answer completed"] > 0
        assert "LoopWasLate" not in counts


def test_the_weather_is_as_bad_as_it_says() -> None:
    """L7: every kind of fault happens, and so does what it is meant to bring about."""
    counts: dict[str, int] = {}
    for seed in range(300, 306):
        settings = Settings(seed=seed, nodes=5, steps=6_000, faults=FAULTS, faults_per_s=3.0)
        report = simulate(settings)
        kept(report)
        for name, count in report.counts.items():
            counts[name] = counts.get(name, 0) + count
    for fault in FAULTS:
        assert counts.get(f"fault {fault}", 0) > 0, fault
    for happened in ("Closed", "DialFailed", "LoopWasLate", "WorkerGone", "failovers"):
        assert counts[happened] > 5, happened
    assert counts["stale_results"] > 0
    assert counts["jobs_completed"] > 100
