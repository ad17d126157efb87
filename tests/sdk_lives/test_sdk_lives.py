"""A few lives of the client side; more are `make sdk-lives`.  The seed is the report."""

from typing import Any

import pytest
from sdk_lives.life import Life, settings_of

from pointsman.session_core import submitting
from pointsman_sim.history import Violation

SEEDS = (1, 2, 3, 4, 8, 14)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_programs_and_nodes_do_each_call_ends_as_promised(seed: int) -> None:
    life = Life(settings_of(seed))
    try:
        life.live()
    except Violation:
        print(*life.history.tail_lines(), sep="\n")
        raise
    assert life.history.counts["SubmitWished"] > 10
    assert life.history.counts["UtteranceWished"] > 1


def test_one_seed_is_one_life() -> None:
    lives = [Life(settings_of(5)) for _ in range(2)]
    for life in lives:
        life.live()
    first, second = lives
    assert first.history.trace_hash == second.history.trace_hash


def test_a_life_sees_an_answer_that_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks for broken promises finds one that was broken on purpose."""
    told = submitting.result_came
    count = 0

    def forget_some(*came: Any) -> None:
        nonlocal count
        count += 1
        if count % 5:
            told(*came)

    monkeypatch.setattr(submitting, "result_came", forget_some)
    with pytest.raises(Violation):
        Life(settings_of(0)).live()
