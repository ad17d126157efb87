"""The compiled form of the worker does what the pure one does: same seeds, same traces.

`make test-compiled` compiles it and runs this, and the tests of the worker, with it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman_workers.core import core

ROOT = Path(__file__).parents[2]
PURE = [str(ROOT / name) for name in ("workers", "shm", "wire", "clients", "sched", "tests")]
COMPILED = str(ROOT / "build" / "compiled")
SEEDS = 6

pytestmark = [pytest.mark.long, pytest.mark.compiled]


def test_the_worker_that_is_tested_here_is_compiled() -> None:
    assert str(core.__file__).startswith(COMPILED)
    assert not str(core.__file__).endswith(".py")


@pytest.mark.parametrize("first_seed", [5, 40, 900])
def test_both_forms_play_the_same_clusters_turn_by_turn(first_seed: int) -> None:
    """A trace is a digest of all that all cores of a cluster were told and answered."""
    pure = traces(PURE, first_seed)
    assert pure.count(" turns ") == SEEDS
    assert traces([COMPILED, *PURE], first_seed) == pure


def traces(paths: list[str], first_seed: int) -> str:
    """Simulate clusters in a process of its own; a line for each seed, with its trace."""
    options = ["--seed", str(first_seed), "--runs", str(SEEDS), "--steps", "3000"]
    played = subprocess.run(
        [sys.executable, "-m", "pointsman_sim", *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    return played.stdout
