"""The history checker: each promise is held by a good history and broken by a made-up bad one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pointsman.recording.facts import Fact, encode_fact
from pointsman_sim.checker import __main__ as command
from pointsman_sim.checker.judging import Judgement, judge
from pointsman_sim.checker.recording import HistoryError, load
from pointsman_sim.checker.verdicts import Limits, State

MS = 1_000_000
JOB = {"session": "s", "request": "r", "job_id": "j"}
FENCE = {"uid": "u", "shard": 0, "epoch": 1, "dispatch": 1}


class Story:
    """Facts in the order in which they are told, a millisecond apart."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self._at_ns = 0

    def tell(self, by: str, what: str, *, after_s: float = 0.0, **more: Any) -> None:
        self._at_ns += MS + int(after_s * 1e9)
        who = more.pop("who", f"{by}-1")
        self.facts.append(Fact(at_ns=self._at_ns, by=by, who=who, what=what, **more))

    def client(self, what: str, **more: Any) -> None:
        self.tell("client", what, **{**JOB, **more})

    def node(self, what: str, **more: Any) -> None:
        self.tell("agent", what, **{**JOB, **FENCE, "attempt": 1, "node": "agent-1", **more})

    def fault(self, number: int = 1, *, is_proven: bool = True, **more: Any) -> None:
        self.tell("nemesis", "fault", number=number, **{"level": "memory", **more})
        if is_proven:
            self.tell("nemesis", "proof", number=number)

    def begin(self, **session: Any) -> None:
        self.tell("agent", "begin", number=1, node="agent-1")
        self.tell("client", "begin")
        self.tell("client", "connect", session="s", shard=0, **session)

    def job(self, request: str = "r", job_id: str = "j", *, dispatch: int = 1, **more: Any) -> None:
        """One job from its submit to its result."""
        about = {"request": request, "job_id": job_id}
        self.client("submit", request=request, job_id="", kind="k")
        self.client("accepted", **{**about, "level": "journal", **more})
        for what in ("read", "started"):
            self.node(what, **about, dispatch=dispatch)
        self.node("ended", **about, dispatch=dispatch, status="completed")
        self.client("result", **about, status="completed", node="agent-1", attempt=1)

    def judged(self, **limits: Any) -> Judgement:
        return judge(self.facts, Limits(**limits))


def good() -> Story:
    """A history in which every promise is there to be judged, and kept."""
    story = Story()
    story.tell("agent", "registered", node="agent-1", kind="key-1")
    story.begin()
    story.tell("observer", "version", node="worker-0", number=4)
    story.tell("observer", "sample", node="worker-0", words="descriptors", number=9, bound=10)
    for number in range(1, 4):
        story.job(f"r{number}", f"j{number}", dispatch=number)
    story.fault(status="kill-worker", node="worker-0", shard=0, level="journal")
    story.tell("observer", "version", node="worker-0", number=5, after_s=11)
    for number in range(4, 7):
        story.job(f"r{number}", f"j{number}", dispatch=number)
    story.client("result", request="r6", job_id="j6", status="completed", kind="fresh", seconds=1.0)
    story.tell("observer", "rest")
    story.tell("observer", "slots", node="worker-0", number=0)
    return story


def test_a_good_history_holds_every_promise() -> None:
    judgement = good().judged(samples_min=2)
    states = {verdict.promise: verdict.state for verdict in judgement.verdicts}
    assert states == {**{f"I{number}": State.HELD for number in range(1, 14)}, "L7": State.HELD}
    assert judgement.is_kept
    assert (judgement.accepted, judgement.ended, judgement.starts) == (6, 6, 6)
    assert judgement.faults == {"kill-worker": (1, 1)}


# ---- one bad history for each way to break a promise

Bad = Callable[[Story], None]


def never_ends(story: Story) -> None:
    story.client("submit", kind="k")
    story.client("accepted", level="journal")
    story.tell("observer", "rest")


def is_missing(story: Story) -> None:
    story.client("submit", kind="k")
    story.client("accepted", level="journal")
    story.client("missing", status="NO_AVAILABLE_NODE")


def is_lost_with_a_worker_that_it_must_survive(story: Story) -> None:
    story.client("submit", kind="k")
    story.client("accepted", level="journal")
    story.fault(status="kill-worker", shard=0, level="journal")
    story.tell("observer", "rest")


def ends_too_late(story: Story) -> None:
    story.client("submit", seconds=1.0, kind="k")
    story.client("accepted", level="memory")
    story.client("result", status="expired", after_s=11.5)


def starts_under_two_ids(story: Story) -> None:
    story.job()
    story.node("read", job_id="other", dispatch=2)
    story.node("started", job_id="other", dispatch=2)


def starts_under_two_ids_after_a_kill_that_the_journal_survives(story: Story) -> None:
    story.job()
    story.fault(status="kill-worker", shard=0, level="journal")
    story.node("read", job_id="other", dispatch=2)
    story.node("started", job_id="other", dispatch=2)


def starts_one_dispatch_twice(story: Story) -> None:
    story.job()
    story.tell("agent", "begin", who="agent-2", number=1)
    story.node("read", who="agent-2", node="agent-2")
    story.node("started", who="agent-2", node="agent-2")


def starts_an_old_epoch(story: Story) -> None:
    story.job("r1", "j1")
    for what in ("read", "started", "ended"):
        story.node(what, job_id="j2", request="r2", epoch=3)
    for what in ("read", "started", "ended"):
        story.node(what, job_id="j3", request="r3", epoch=2)


def takes_an_old_result(story: Story) -> None:
    story.client("submit", kind="k")
    story.client("accepted", level="memory")
    for what in ("read", "started"):
        story.node(what)
    story.tell("agent", "begin", who="agent-2", number=1)
    story.node("read", who="agent-2", node="agent-2", dispatch=2, attempt=2)
    story.node("ended", status="completed")
    story.client("result", status="completed", node="agent-1", attempt=1)


def runs_too_many(story: Story) -> None:
    for number in (1, 2):
        for what in ("read", "started"):
            story.node(what, job_id=f"j{number}", request=f"r{number}", dispatch=number)


def refuses_without_a_fault(story: Story) -> None:
    story.node("read")
    story.node("refused", status="NODE_OVERLOADED")


def overtakes(story: Story) -> None:
    for number in (1, 2):
        about = {"request": f"r{number}", "job_id": f"j{number}"}
        story.client("submit", kind="k", **about)
        story.client("accepted", level="journal", **about)
    for number, dispatch in ((2, 1), (1, 2)):
        about = {"request": f"r{number}", "job_id": f"j{number}"}
        for what in ("read", "started", "ended"):
            story.node(what, dispatch=dispatch, **about)


def overlaps_in_a_serial_session(story: Story) -> None:
    story.tell("client", "connect", session="serial", shard=0, status="serial")
    story.tell("agent", "begin", who="agent-2", number=1)
    for number in (1, 2):
        about = {"request": f"r{number}", "job_id": f"j{number}", "session": "serial"}
        story.client("submit", kind="k", **about)
        story.client("accepted", level="journal", **about)
        who = f"agent-{number}"
        for what in ("read", "started"):
            story.node(what, dispatch=number, who=who, node=who, **about)
    for number in (1, 2):
        about = {"request": f"r{number}", "job_id": f"j{number}", "session": "serial"}
        story.node("ended", dispatch=number, who=f"agent-{number}", **about)


def goes_back(story: Story) -> None:
    for number in (5, 4):
        story.tell("observer", "version", node="worker-0", number=number)


def acts_on_an_old_picture(story: Story) -> None:
    story.client("result", status="failed", kind="fresh", seconds=6.0)


def goes_to_a_draining_node(story: Story) -> None:
    story.tell("agent", "state", node="agent-1", status="draining")
    story.node("read", after_s=1.5)


def grows(story: Story) -> None:
    story.tell("observer", "sample", node="worker-0", words="descriptors", number=11, bound=10)


def keeps_a_slot(story: Story) -> None:
    story.tell("observer", "rest")
    story.tell("observer", "slots", node="worker-0", number=1)


def ends_twice(story: Story) -> None:
    story.job()
    story.client("result", status="failed", attempt=1)


def ends_what_never_began(story: Story) -> None:
    story.node("read")
    story.node("ended", status="completed")


def is_completed_by_nobody(story: Story) -> None:
    story.node("read", job_id="elsewhere")
    story.client("result", status="completed", node="agent-1")


def has_two_owners(story: Story) -> None:
    story.tell("agent", "registered", node="n", kind="key-1", who="agent-1")
    story.tell("agent", "registered", node="n", kind="key-2", who="agent-2")


def stays_slow(story: Story) -> None:
    for number in (1, 2):
        story.job(f"r{number}", f"j{number}", dispatch=number)
    story.fault(status="kill-manager")
    story.tell("observer", "version", after_s=11)
    for number in (3, 4):
        about = {"request": f"r{number}", "job_id": f"j{number}"}
        story.client("submit", kind="k", **about)
        story.client("accepted", level="journal", **about)
        story.client("result", status="failed", after_s=1.0, **about)


def is_only_said_to_be_struck(story: Story) -> None:
    story.fault(status="kill-node", node="node-0", is_proven=False)


BAD: list[tuple[str, Bad]] = [
    ("I1", never_ends),
    ("I1", is_missing),
    ("I1", ends_too_late),
    ("I2", starts_under_two_ids),
    ("I3", starts_one_dispatch_twice),
    ("I3", starts_an_old_epoch),
    ("I3", takes_an_old_result),
    ("I4", runs_too_many),
    ("I4", refuses_without_a_fault),
    ("I5", overtakes),
    ("I5", overlaps_in_a_serial_session),
    ("I6", goes_back),
    ("I7", acts_on_an_old_picture),
    ("I8", goes_to_a_draining_node),
    ("I9", grows),
    ("I10", keeps_a_slot),
    ("I11", ends_twice),
    ("I11", ends_what_never_began),
    ("I11", is_completed_by_nobody),
    ("I12", has_two_owners),
    ("I13", stays_slow),
    ("L7", is_only_said_to_be_struck),
]


@pytest.mark.parametrize(("promise", "bad"), BAD)
def test_a_bad_history_breaks_its_promise(promise: str, bad: Bad) -> None:
    """I1 to I13: and no other one."""
    story = Story()
    story.begin()
    bad(story)
    judgement = story.judged(samples_min=2)
    broken = [v.promise for v in judgement.verdicts if v.state is State.BROKEN]
    assert broken == [promise]
    assert not judgement.is_kept


def test_what_has_become_slow_is_told_with_how_late_sleepers_woke() -> None:
    story = Story()
    story.begin()
    story.tell("observer", "woke", seconds=0.002)
    stays_slow(story)
    story.tell("observer", "woke", seconds=0.3)
    (words,) = [words for _, words in story.judged(samples_min=2).of("I13").words]
    assert words.endswith("; who slept woke 0.300 s late, before 0.002 s")


# ---- what a level does not promise, is not asked of it


@pytest.mark.parametrize(
    "bad",
    [
        is_lost_with_a_worker_that_it_must_survive,
        starts_under_two_ids_after_a_kill_that_the_journal_survives,
    ],
)
@pytest.mark.parametrize(("level", "is_broken"), [("memory", False), ("fsync", True)])
def test_the_level_of_the_acceptance_decides_what_a_fault_excuses(
    bad: Bad, level: str, is_broken: bool
) -> None:
    """A killed worker may lose what it took at level memory, and nothing above it."""
    story = Story()
    story.begin()
    bad(story)
    facts = [
        Fact(**{**_fields(fact), "level": level}) if fact.what == "accepted" else fact
        for fact in story.facts
    ]
    judgement = judge(facts)
    assert judgement.is_kept is not is_broken
    if not is_broken and bad is is_lost_with_a_worker_that_it_must_survive:
        assert judgement.of("I1").unjudged == 1
        assert "memory" in judgement.of("I1").why


def _fields(fact: Fact) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in fact.__struct_fields__}


def test_a_fault_of_another_shard_excuses_nothing() -> None:
    story = Story()
    story.begin()
    story.client("submit", kind="k")
    story.client("accepted", level="memory")
    story.fault(status="kill-worker", shard=1, level="journal")
    story.tell("observer", "rest")
    assert judge(story.facts).of("I1").state is State.BROKEN


def test_a_request_may_start_anew_after_its_window() -> None:
    story = Story()
    story.begin()
    story.job(seconds=60.0)
    story.node("read", job_id="other", dispatch=2, after_s=61)
    story.node("started", job_id="other", dispatch=2)
    assert judge(story.facts).of("I2").state is State.HELD


def test_what_nobody_recorded_is_not_judged_and_the_reason_is_said() -> None:
    judgement = judge([])
    assert {v.state for v in judgement.verdicts} == {State.NOT_JUDGED}
    assert judgement.of("I9").why == "nobody sampled the processes"


# ---- files


def test_a_history_is_judged_from_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A torn last line, of a recorder that was killed, is left out; the exit status tells."""
    path = tmp_path / "history.jsonl"
    lines = b"".join(encode_fact(fact) + b"\n" for fact in good().facts)
    path.write_bytes(lines + b'{"at_ns": 17, "by"')
    assert command.main([str(path)]) == 0
    assert "I1  held" in capsys.readouterr().out
    bad = Story()
    bad.begin()
    never_ends(bad)
    other = tmp_path / "other.jsonl"
    other.write_bytes(b"".join(encode_fact(fact) + b"\n" for fact in bad.facts))
    assert command.main([str(other), "--json"]) == 1
    assert '"kept":false' in capsys.readouterr().out


def test_a_damaged_history_is_refused_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"nonsense\n" + encode_fact(good().facts[0]) + b"\n")
    with pytest.raises(HistoryError, match="line 1"):
        load([path])
    assert command.main([str(path)]) == 2
    assert "line 1" in capsys.readouterr().err


def test_a_recorder_that_met_its_bound_makes_the_verdict_incomplete() -> None:
    story = good()
    story.tell("agent", "full")
    assert not story.judged(samples_min=2).is_kept
