"""I6, I7 and I8: nobody acts on a picture of the fleet that is torn, old or overtaken."""

from pointsman.recording.facts import Fact
from pointsman_sim.checker.recording import Recording
from pointsman_sim.checker.verdicts import Limits, Verdict

S = 1_000_000_000
TAKES_NO_JOBS = frozenset({"draining", "offline"})
STOPS = ("stop-", "partition", "hang-")


def versions_go_forward(recording: Recording, limits: Limits) -> Verdict:
    """I6: as far as whoever looked could see; torn copies are the snapshot tests' matter."""
    verdict = Verdict(promise="I6", about="snapshot versions go forward")
    newest: dict[tuple[str, int], tuple[int, Fact]] = {}
    for fact in recording.of("version"):
        verdict.judged += 1
        # By process and its life; another catalog (after all died) counts anew.
        place = (fact.node or fact.who, fact.epoch)
        before = newest.get(place)
        if before is not None and fact.number < before[0]:
            words = f"{place[0]} went from version {before[0]} to {fact.number}"
            verdict.breach(fact.at_ns, words)
        newest[place] = (fact.number, fact)
    if not verdict.judged:
        verdict.skip("nobody recorded versions")
    return verdict


def old_pictures_are_named(recording: Recording, limits: Limits) -> Verdict:
    """I7: a decision on a snapshot that is older than the bound says so."""
    verdict = Verdict(promise="I7", about="decisions on an old snapshot say so")
    for fact in recording.of("result", by="client"):
        if not fact.kind:
            continue
        verdict.judged += 1
        if fact.seconds > limits.stale_s and fact.kind != "stale":
            words = f"{fact.job_id} was placed on a snapshot {fact.seconds:.1f} s old, unsaid"
            verdict.breach(fact.at_ns, words)
    if not verdict.judged:
        verdict.skip("no result told its placement")
    return verdict


def leavers_get_no_jobs(recording: Recording, limits: Limits) -> Verdict:
    """I8: a node that was told to drain, or was declared dead, is given nothing new.

    Judged where dispatches are recorded; else by what the node reads, unless it stood still.
    """
    verdict = Verdict(promise="I8", about="a node that leaves gets no new job")
    has_issued = any(True for _ in recording.of("issued"))
    leaves: dict[str, int] = {}
    for fact in recording.of("begin", "state", "registered", "issued", "read"):
        name = fact.node or fact.who
        if fact.what == "state" and fact.status in TAKES_NO_JOBS:
            leaves.setdefault(name, fact.at_ns)
        elif fact.what in ("begin", "registered") or fact.what == "state":
            leaves.pop(name, None)
        elif fact.what == ("issued" if has_issued else "read"):
            verdict.judged += 1
            late_ns = fact.at_ns - leaves.get(name, fact.at_ns) - int(limits.drain_s * S)
            if late_ns <= 0:
                continue
            if has_issued or not _stood_still(recording, fact, leaves[name]):
                words = f"{name} was given {fact.job_id} {late_ns / S:.2f} s too late"
                verdict.breach(fact.at_ns, words)
    if not verdict.judged:
        verdict.skip("nobody recorded assignments")
    return verdict


def _stood_still(recording: Recording, fact: Fact, since_ns: int) -> bool:
    """Was the node stopped or cut off meanwhile, so that it reads what was sent long before?"""
    return any(
        strike.fact.status.startswith(STOPS)
        and strike.fact.at_ns <= fact.at_ns
        and strike.until_ns >= since_ns
        for strike in recording.strikes
    )
