"""The history checker on requests that were asked for again, and refused."""

import pytest
from test_history_checker import Story

from pointsman_sim.checker.judging import judge
from pointsman_sim.checker.verdicts import State


@pytest.mark.parametrize("answer", ["refused", "cancelled"])
def test_a_request_that_is_refused_when_it_is_repeated_has_its_answer(answer: str) -> None:
    """A job that waited in vain while nobody heard frees its key: docs/protocol.md 5.3."""
    story = Story()
    story.client("submit", kind="k")
    story.client("accepted", level="memory")
    story.fault(status="kill-client", node="client-1")
    story.begin()
    story.client(answer, job_id="", status="NO_AVAILABLE_NODE")
    story.tell("observer", "rest")
    assert (judge(story.facts).of("I1").state is State.BROKEN) is (answer != "refused")
