"""How long a node knows of a job that it has seen it: I3 rests on that for as long."""

import pytest

from pointsman.node_core.events import AgentLimits
from pointsman.node_core.fences import EPOCHS_MAX, EpochTable, Seen, SeenFences

HOUR_NS = 3_600 * 1_000_000_000
JOB = (0, "job")


def seen_of_a_node() -> SeenFences:
    limits = AgentLimits()
    return SeenFences(limits.seen_count_max, limits.seen_age_s)


@pytest.mark.parametrize("hours", [1, 12, 23])
def test_i3_a_day_long_a_job_that_ran_does_not_run_again_nor_does_an_older_dispatch(
    hours: int,
) -> None:
    """However the other jobs of the day come, and so whenever the younger half grows old."""
    seen = seen_of_a_node()
    seen.see(0, (0, "before"), (1, 1))
    began_ns = HOUR_NS * hours
    assert seen.see(began_ns, JOB, (1, 7)) is Seen.NEW
    for hour in range(24):
        now_ns = began_ns + hour * HOUR_NS
        seen.see(now_ns, (0, f"other-{hour}"), (1, hour))
        assert seen.see(now_ns, JOB, (1, 7)) is Seen.REPEATED
        assert seen.see(now_ns, JOB, (1, 6)) is Seen.STALE


def test_i3_i9_half_of_the_bound_is_remembered_and_never_more_than_all_of_it() -> None:
    seen = SeenFences(100, 24 * 3_600.0)
    for number in range(1_000):
        assert seen.see(number, (0, f"job-{number}"), (1, number)) is Seen.NEW
        assert len(seen) <= 100
        for before in range(max(0, number - 49), number):
            assert seen.highest((0, f"job-{before}")) == (1, before)


def test_i3_a_newer_fence_takes_the_place_of_an_older_one_wherever_that_is_kept() -> None:
    seen = SeenFences(4, 24 * 3_600.0)
    assert seen.see(0, JOB, (1, 1)) is Seen.NEW
    for number in range(2):  # the job is now among the older half
        seen.see(0, (0, f"other-{number}"), (1, 1))
    assert seen.see(0, JOB, (2, 1)) is Seen.NEW
    assert seen.see(0, JOB, (1, 9)) is Seen.STALE, "by its epoch, then by its number"


def test_i3_the_highest_epoch_of_a_shard_counts_also_when_a_lower_one_came_since() -> None:
    epochs = EpochTable({("uid", 0): 4})
    assert epochs.see("uid", 0, 5) is Seen.NEW
    assert epochs.see("uid", 0, 4) is Seen.STALE
    assert epochs.see("uid", 0, 5) is Seen.REPEATED, "what was refused changes nothing"
    assert epochs.see("uid", 1, 1) is Seen.NEW, "each shard counts by itself,"
    assert epochs.see("other", 0, 1) is Seen.NEW, "and so does each service"


def test_i9_a_node_knows_the_epochs_of_a_bounded_number_of_shards() -> None:
    epochs = EpochTable({})
    for shard in range(2 * EPOCHS_MAX):
        epochs.see("uid", shard, 1)
    assert len(epochs._epochs) == EPOCHS_MAX
    assert epochs.see("uid", 2 * EPOCHS_MAX - 1, 0) is Seen.STALE
