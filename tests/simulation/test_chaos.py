"""Chaos: real processes are killed and stopped, and the verdict is the checker's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from live.commands import invoke
from supervised_service import wait_until

from pointsman_sim.chaos import __main__ as command
from pointsman_sim.chaos.campaign import run
from pointsman_sim.chaos.plan import FAULTS, Plan
from pointsman_sim.checker.verdicts import State

pytestmark = pytest.mark.crash


def segments_of(pid: int) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"pointsman.chaos-{pid}-")]


def test_a_short_run_keeps_every_promise_and_leaves_nothing(tmp_path: Path) -> None:
    """P4, L7: each fault is proven; the histories are kept where they were asked for."""
    faults = ("kill-worker", "kill-node", "stop-manager")
    plan = Plan(
        minutes=0.08, nodes=2, sessions=4, faults=faults, calm_s=3.0, recovery_s=1.0, keep=tmp_path
    )
    outcome = run(plan)
    judgement = outcome.judgement
    assert outcome.is_kept, command.told(outcome, is_json=False)
    assert judgement.of("I1").judged > 10
    assert judgement.faults
    assert all(meant == proven for meant, proven in judgement.faults.values())
    judged = {v.promise for v in judgement.verdicts if v.state is State.HELD}
    assert judged >= {"I1", "I2", "I3", "I4", "I5", "I6", "I8", "I9", "I10", "I11", "L7"}
    assert segments_of(os.getpid()) == []
    assert {path.name for path in tmp_path.iterdir()} >= {"nemesis.jsonl", "node-0.jsonl"}
    verdict = msgspec.json.decode(command.told(outcome, is_json=True))
    assert verdict["kept"] is True


def test_an_interrupted_run_leaves_nothing() -> None:
    """Ctrl-C ends what was started, and says so with 130."""
    # Tests that a shell runs in the background ignore Ctrl-C, and so would what they start.
    as_usual = ["env", "--default-signal=INT", sys.executable]
    process = subprocess.Popen(
        [*as_usual, "-m", "pointsman_sim.chaos", "--minutes", "5", "--nodes", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: bool(segments_of(process.pid)), "the service is there")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.terminate()  # where it did not end: it then ends what it has started
        process.wait(timeout=60)
    assert process.returncode == 130, said
    assert "nothing is left" in said
    assert segments_of(process.pid) == []


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--faults", "earthquake"])
    assert ended.value.code == 2
    assert FAULTS[0] in capsys.readouterr().err


def test_the_command_line_says_what_chaos_does() -> None:
    told = invoke("chaos", "--help").output
    assert "--minutes" in told
    assert "leaves nothing" in told
