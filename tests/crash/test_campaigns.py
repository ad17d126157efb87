"""Campaigns add up, and the page of what is shown names only what is there."""

import re
from pathlib import Path

import pytest
from campaigns.again import is_named, lacking_runs, read_outcomes
from campaigns.page import read_promises, render
from campaigns.shown_by import ids_in, told_by_id

from pointsman_sim.campaign_ledger import Tally, append, campaigns, sums, upper_bound

ROOT = Path(__file__).resolve().parents[2]


def test_tallies_of_campaigns_add_up_by_id(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    assert sums(ledger) == {}
    append(ledger, {"P2": Tally(200, 0), "P3": Tally(0, 0)}, 10)
    append(ledger, {"P2": Tally(100, 0), "P4": Tally(10, 1)}, 5)
    assert sums(ledger) == {"P2": Tally(300, 0), "P4": Tally(10, 1)}


def test_a_ledger_tells_when_and_where_it_was_counted(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    assert campaigns(ledger) == []
    append(ledger, {"P2": Tally(200, 0), "P3": Tally(7, 0)}, 10)
    (one,) = campaigns(ledger)
    assert (one.minutes, one.ids) == (10, ["P2", "P3"])
    assert "CPUs" in one.machine
    assert one.day in ledger.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("tally", "bound"),
    [(Tally(0, 0), 1.0), (Tally(300, 0), 0.01), (Tally(600, 1), 0.01), (Tally(2, 0), 1.0)],
)
def test_none_bad_of_n_runs_bounds_the_share_by_three_in_n(tally: Tally, bound: float) -> None:
    assert upper_bound(tally) == pytest.approx(bound)


def test_ids_are_read_from_text_also_as_ranges() -> None:
    assert list(ids_in("P4, I1 to I3; not PP5, x9 or I100 (S7)")) == ["P4", "I1", "I2", "I3", "S7"]


def test_tests_are_found_by_ids_in_their_names_and_docstrings() -> None:
    shown = told_by_id(ROOT / "tests", read_promises())
    here = "crash/test_crash_points.py"
    name = "test_p9_a_worker_that_dies_at_every_start_ends_a_service_that_was_never_ready"
    assert f"{here}: {name}" in shown["P9"]
    assert any(test.startswith("supervisor/test_hung_processes.py") for test in shown["P7"])


def test_the_page_tells_every_id_once() -> None:
    page = render(ROOT)
    told = re.findall(r"^(?:\| |- \*\*)([A-Z]\d+)(?: \||\*\*)", page, re.MULTILINE)
    assert sorted(told) == sorted(read_promises())


def test_the_page_that_is_kept_tells_every_id_that_tests_show() -> None:
    """It may lag behind in counts and names, and not in what is held."""
    promises = read_promises()
    kept = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    missing = set(re.findall(r"^- \*\*([A-Z]\d+)\*\*", kept, re.MULTILINE))
    rows = set(re.findall(r"^\| ([A-Z]\d+) \|", kept, re.MULTILINE))
    shown = set(told_by_id(ROOT / "tests", promises))
    how = "write it anew: PYTHONPATH=tests python -m campaigns.page"
    assert (rows, missing) == (shown, set(promises) - shown), how


def test_runs_that_a_release_wants_are_told_less_those_that_were_done() -> None:
    """What is wanted in words is there once it was run."""
    lacking = lacking_runs({"P4": Tally(1_601, 0), "P8": Tally(50, 0), "S9": Tally(1, 0)})
    assert lacking["P4"] == 1_399
    assert (lacking["P9"], lacking["S5"]) == (20, 1)
    assert not {"P8", "S9", "I1"} & set(lacking)


def test_tests_are_counted_that_name_an_id_and_were_not_skipped() -> None:
    told = """<testsuites><testsuite>
        <testcase classname="tests.shm.test_a" name="test_s5_it_wraps[1]"/>
        <testcase classname="tests.shm.test_a" name="test_b"><failure message="no"/></testcase>
        <testcase classname="tests.test_c" name="test_d"><skipped message="not here"/></testcase>
    </testsuite></testsuites>"""
    found = dict(read_outcomes(told, "tests"))
    assert found == {"shm/test_a.py: test_s5_it_wraps": True, "shm/test_a.py: test_b": False}
    assert is_named(["shm/test_a.py"], "shm/test_a.py: test_b")
    assert not is_named(["shm/test_a.py: test_s5_it_wraps"], "shm/test_a.py: test_b")
