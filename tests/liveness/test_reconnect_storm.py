"""A whole fleet registers anew, over real sockets: the bench in small, judged by what must be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tidy_source import ROOT

pytestmark = pytest.mark.crash
NODES = 100


def test_n9_a_fleet_comes_back_to_a_killed_manager_and_nobody_dies_of_it(tmp_path: Path) -> None:
    """P1: no submit fails meanwhile, and every node keeps its row and generation."""
    found = tmp_path / "rows.json"
    bench = ROOT / "bench" / "reconnects.py"
    command = [sys.executable, str(bench), "--nodes", str(NODES), "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    (row,) = json.loads(found.read_text())["rows"]
    assert (row["back"], row["false_deaths"], row["jobs_failed"]) == (NODES, 0, 0)
    assert row["jobs"] > 10
