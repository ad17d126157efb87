"""The moves of a job, as the picture in its lifecycle has them."""

import pytest

from pointsman_workers.core.lifecycle import AFTER, MOVES, IllegalMove, JobState, moved

VERBS = sorted({verb for _, verb in MOVES})


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_leads_where_the_picture_says_and_nowhere_else(verb: str) -> None:
    for state in JobState:
        if (state, verb) in MOVES:
            assert moved(state, verb) is AFTER[verb][state] is MOVES[state, verb]
            continue
        with pytest.raises(IllegalMove, match=f"cannot {verb} while {state.name}"):
            moved(state, verb)


def test_a_job_that_is_placed_is_assigned_and_dispatched_in_one_move() -> None:
    assert dict(AFTER["place"]) == {JobState.PENDING: JobState.DISPATCHED}
    with pytest.raises(IllegalMove, match="cannot place while RUNNING"):
        moved(JobState.RUNNING, "place")
