"""The history checker, where several instances share a fleet."""

from test_history_checker import Story

from pointsman_sim.checker.verdicts import State


def test_fences_of_different_instances_are_not_compared() -> None:
    """The newest attempt is told among those of one; order, where instances share no fleet."""
    story = Story()
    story.begin()
    story.job("r1", "j1", dispatch=7)
    story.job("r2", "j2", dispatch=3)
    assert story.judged().of("I5").state is State.BROKEN
    story.tell("nemesis", "instances", number=2)
    assert story.judged().of("I5").state is State.NOT_JUDGED
    story.node("read", request="r3", job_id="j3", uid="another", dispatch=9)
    story.job("r3", "j3", dispatch=8)
    assert story.judged().of("I3").state is State.HELD


def test_that_an_ended_job_is_out_of_reach_is_no_end_of_it() -> None:
    """I11: its owner is away with its result; who asks again when it is back gets that."""
    story = Story()
    story.begin()
    story.tell("nemesis", "instances", number=2)
    story.client("submit", kind="k")
    story.client("accepted", level="journal")
    story.client("result", status="failed", words="SCHEDULER_DEPENDENCY_DOWN")
    story.job()
    assert story.judged().of("I11").state is State.HELD
    story.client("result", status="failed", words="POISON")
    assert story.judged().of("I11").state is State.BROKEN
