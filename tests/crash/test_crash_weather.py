"""A short share of what `make crash` does for hours: any process, any time, and all at once."""

from random import Random

import pytest
from crash.weather import ORDERS, all_at_once, hang, harm_segments, random_kills

pytestmark = pytest.mark.crash


async def test_p4_processes_killed_at_random_under_load_cost_no_job() -> None:
    """P4, I1 to I5, I10, I11: manager, workers and nodes, by the history of all of them."""
    outcome = await random_kills(Random(4), seconds=4.0, pause_s=(0.4, 1.0))
    assert outcome.deaths >= 3
    assert outcome.jobs > 20


async def test_p5_everything_killed_at_once_comes_back_in_any_order() -> None:
    """P5: with the supervisor; here the node first and the manager last, in `make crash` all."""
    outcome = await all_at_once(ORDERS[-1])
    assert outcome.deaths == 4


async def test_p6_a_worker_that_stood_still_goes_on_where_it_was() -> None:
    """P6, I3, I5."""
    assert (await hang("worker-0", 2.0)).jobs > 10


@pytest.mark.parametrize("harm", ["cut", "removed"])
async def test_s7_s8_segments_that_are_cut_or_removed_are_made_anew(harm: str) -> None:
    """S7 (SIGBUS), S8: no crash loop, and no job is lost."""
    assert (await harm_segments(harm)).jobs > 4
