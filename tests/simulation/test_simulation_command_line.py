"""The simulator as a command: what it prints, and how it ends."""

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from pointsman_sim import __main__ as command
from pointsman_sim.campaign_ledger import IDS
from pointsman_sim.settings import FAULTS
from pointsman_workers.core.core import WorkerCore

Captured = pytest.CaptureFixture[str]


def test_one_run_is_a_table_that_ends_with_the_trace(capsys: Captured) -> None:
    sizes = ["--workers", "2", "--nodes", "3", "--clients", "2", "--steps", "1500"]
    arguments = ["--seed", "7", "--faults", "worker_crash,partition", *sizes]
    assert command.main(arguments) == 0
    first = capsys.readouterr().out
    assert first.startswith("seed 7: 2 workers, 3 nodes, 2 clients, faults: worker_crash, partit")
    assert first.splitlines()[-1].startswith("trace ")
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == first.splitlines()[-1]


def test_many_runs_are_a_line_each(capsys: Captured) -> None:
    assert command.main(["--seed", "4", "--runs", "3", "--steps", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["4", "5", "6"]
    assert lines[3] == "3 runs, 0 broken"


def test_a_campaign_is_counted_by_the_ids_of_its_faults(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L2: each seed twice; a broken run counts against every fault that was done in it."""
    ledger = tmp_path / "ledger.jsonl"
    sizes = ["--steps", "600", "--faults", "agent_crash", "--faults-per-s", "5"]
    arguments = ["--seed", "3", "--runs", "2", "--twice", "--ledger", str(ledger), *sizes]
    assert command.main(arguments) == 0
    lines = {line["id"]: line for line in map(json.loads, ledger.read_text().splitlines())}
    assert {"P3", "P4", "L2"} <= lines.keys()
    assert lines["L2"]["runs"] == 2
    assert lines["P3"]["runs"] == lines["P4"]["runs"] > 0
    assert {line["bad"] for line in lines.values()} == {0}
    assert set(lines["P3"]) == {"id", "runs", "bad", "minutes", "date", "machine"}
    ledger.unlink()
    monkeypatch.setattr(WorkerCore, "next_deadline_ns", lambda _: 1 // 0)
    assert command.main([*arguments[:3], "1", *arguments[4:]]) == 1
    bad = {line["id"]: line["bad"] for line in map(json.loads, ledger.read_text().splitlines())}
    assert bad["L2"] == 1
    assert "see it again: python -m pointsman_sim --seed 3 --steps 600" in capsys.readouterr().err


def test_every_kind_of_fault_has_its_place_in_the_ledger() -> None:
    assert sorted(IDS) == sorted(FAULTS)


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--faults", "earthquake"])
    assert ended.value.code == 2
    assert "'earthquake' is not known; known are agent_crash" in capsys.readouterr().err


def test_a_broken_promise_is_told_with_what_came_before_it(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is in the one call that the simulator makes: compiled classes take no others."""
    steps = count(1)
    step = WorkerCore.step

    def forget(self: WorkerCore, now_ns: int, events: Sequence[object]) -> list[object]:
        if next(steps) == 500:
            raise ZeroDivisionError("a bug")
        return step(self, now_ns, events)

    monkeypatch.setattr(WorkerCore, "step", forget)
    assert command.main(["--seed", "1", "--faults", "all", "--tail", "5"]) == 1
    told = capsys.readouterr().err
    assert "BROKEN with seed 1: a core broke: ZeroDivisionError: a bug" in told
    assert "in forget" in told
    assert len([line for line in told.splitlines() if " -> " in line or " <- " in line]) >= 5
