"""The history checker on requests: with more than one job, and without an end."""

import pytest
from test_history_checker import Story

from pointsman_sim.checker.judging import judge
from pointsman_sim.checker.verdicts import State


def test_a_request_whose_first_job_ended_unheard_may_be_answered_by_another() -> None:
    """I1: whether or not its client heard that the other was accepted."""
    story = Story()
    story.begin()
    story.client("submit", kind="k")
    story.client("accepted", level="memory")
    story.client("result", job_id="other", status="completed", after_s=1.0)
    story.node("read", job_id="other", dispatch=2)
    story.tell("observer", "rest")
    assert judge(story.facts).of("I1").state is not State.BROKEN


def test_a_session_that_was_closed_excuses_no_job_whose_client_lived_on() -> None:
    """I1: who gives a job up writes that down."""
    story = Story()
    story.begin()
    story.client("submit", kind="k")
    story.client("accepted", level="journal")
    story.tell("client", "closed", session="s")
    story.tell("observer", "rest")
    assert judge(story.facts).of("I1").state is State.BROKEN


@pytest.mark.parametrize(
    ("after_s", "state"),
    [(1.0, State.NOT_JUDGED), (11.0, State.BROKEN)],
    ids=["amid", "long after"],
)
def test_a_job_that_took_too_long_is_excused_by_a_fault_that_met_it(
    after_s: float, state: State
) -> None:
    """I1: not by one whose recovery was over when it came."""
    story = Story()
    story.begin()
    story.fault(status="kill-worker", shard=0, level="journal")
    story.client("submit", kind="k", after_s=after_s)
    story.client("accepted", level="journal")
    story.client("missing", status="JOB_TIMEOUT")
    assert judge(story.facts).of("I1").state is state


@pytest.mark.parametrize("is_told", [True, False], ids=["told that it is over", "told nothing"])
def test_a_job_of_a_client_that_died_is_excused_if_it_had_given_the_request_up(
    *, is_told: bool
) -> None:
    """I1: what it cancelled and asked for at once anew was called cancelled, and then accepted."""
    story = Story()
    story.begin()
    story.client("submit", kind="k")
    story.client("accepted", level="memory")
    story.client("missing", status="JOB_TIMEOUT")
    story.client("submit", kind="k")
    if is_told:
        story.client("missing", status="CANCELLED")
    story.client("accepted", job_id="other", level="memory")
    story.node("read", job_id="other", dispatch=2)
    story.fault(status="client_crash", node="client-1", level="")
    story.tell("client", "begin")
    story.tell("observer", "rest")
    state = judge(story.facts).of("I1").state
    assert (state is State.BROKEN) is not is_told
