"""What the soak is made of: traces of two forms, and slopes."""

import gzip
from pathlib import Path

import pytest

from pointsman_sim.campaign_ledger import Tally
from pointsman_sim.chaos import soak
from pointsman_sim.chaos.plan import FAULTS
from pointsman_sim.chaos.soak import slope, slopes_per_hour
from pointsman_sim.chaos.traces import TraceError, read_trace
from pointsman_sim.checker.judging import Judgement

TIMESTAMPS = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:48.6805900,100,40
2023-11-16 18:15:46.6805900,100,20
"""
SECONDS = """t_s,session,turn,input_tokens,output_tokens
3,s1,1,10,20
5,s2,1,10,40
"""
NO_TRACES = ["a,b\n1,2\n", "t_s,output_tokens\n", "t_s,output_tokens\n1,x\n"]


@pytest.mark.parametrize("text", [TIMESTAMPS, SECONDS])
@pytest.mark.parametrize("is_packed", [False, True])
def test_both_forms_of_a_trace_are_read_in_order_and_warped(
    tmp_path: Path, text: str, is_packed: bool
) -> None:
    path = tmp_path / ("trace.csv.gz" if is_packed else "trace.csv")
    path.write_bytes(gzip.compress(text.encode()) if is_packed else text.encode())
    requests = read_trace(path, warp=2.0)
    assert [request.at_s for request in requests] == pytest.approx([0.0, 1.0])
    assert [request.service_s for request in requests] == pytest.approx([0.0015, 0.002])


@pytest.mark.parametrize("text", NO_TRACES)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=r"trace\.csv"):
        read_trace(path, warp=1.0)


def test_a_slope_is_that_of_the_second_half() -> None:
    grows = [(float(s), {"memory": 100 if s < 50 else 2 * s}) for s in range(100)]
    assert slopes_per_hour({"worker-0": grows})["worker-0"]["memory"] == pytest.approx(7200.0)
    assert slope([(1.0, 5.0)]) == slope([]) == 0.0


def test_a_soak_without_a_trace_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        soak.main(["--trace", ""])
    assert ended.value.code == 2
    assert "make soak TRACE=FILE" in capsys.readouterr().err


def test_a_soak_counts_what_was_really_done_and_is_bad_as_a_whole() -> None:
    faults = {"kill-worker": (5, 4), "kill-node": (2, 2), "stop-manager": (0, 0)}
    judgement = Judgement(
        verdicts=[],
        faults=faults,
        capacity_refusals=0,
        accepted=0,
        ended=0,
        starts=0,
        levels={},
        is_complete=True,
    )
    kept = soak.tallies_of(judgement, is_kept=True)
    assert (kept["P2"], kept["P3"], kept["P4"]) == (Tally(4, 0), Tally(2, 0), Tally(6, 0))
    assert {tally.bad for tally in soak.tallies_of(judgement, is_kept=False).values()} == {1}
    assert set(soak.IDS) == set(FAULTS)
