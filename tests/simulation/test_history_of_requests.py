"""The history checker on requests that had more than one job."""

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
