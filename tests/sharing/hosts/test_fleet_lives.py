"""Lives of a fleet at random: whatever happens, promises are kept and nothing is held for ever."""

import pytest
from fleet_lives.life import Life

SEEDS = range(8)
STEPS = 200


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_befalls_a_fleet_promises_are_kept_and_all_that_was_held_is_let_go(
    seed: int,
) -> None:
    life = Life(seed)
    life.live(STEPS)
    assert life.left_over() == []
