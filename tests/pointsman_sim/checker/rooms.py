"""I4, I9 and I10: nothing holds more than it may, and nothing is kept that nobody uses."""

from pointsman_sim.checker.recording import Recording
from pointsman_sim.checker.verdicts import Limits, Verdict

CAPACITY_REFUSAL = "NODE_OVERLOADED"


def capacity_refusals(recording: Recording) -> int:
    """Return how often a node had to refuse a job for lack of room."""
    return sum(fact.status == CAPACITY_REFUSAL for fact in recording.of("refused", by="agent"))


def no_node_runs_more_than_it_may(recording: Recording, limits: Limits) -> Verdict:
    """I4: counted at the node, at every instant; without faults none ever has to refuse."""
    verdict = Verdict(promise="I4", about="no node runs more than it may")
    capacity: dict[str, int] = {}
    running: dict[str, set[tuple[str, int, int, int]]] = {}
    for fact in recording.of("begin", "capacity", "started", "ended", by="agent"):
        now = running.setdefault(fact.who, set())
        run = (fact.job_id, fact.shard, fact.epoch, fact.dispatch)
        if fact.what in ("begin", "capacity"):
            capacity[fact.who] = fact.number
            if fact.what == "begin":  # what the former life ran died with it
                now.clear()
        elif fact.what == "ended":
            now.discard(run)
        else:
            now.add(run)
            verdict.judged += 1
            if len(now) > capacity.get(fact.who, 0):
                words = f"{fact.who} runs {len(now)} jobs and may run {capacity.get(fact.who, 0)}"
                verdict.breach(fact.at_ns, words)
    if not recording.strikes:
        for fact in recording.of("refused", by="agent"):
            if fact.status == CAPACITY_REFUSAL:
                words = f"{fact.who} had no room for {fact.job_id} in a run without faults"
                verdict.breach(fact.at_ns, words)
    return verdict


def nothing_grows_beyond_its_bound(recording: Recording, limits: Limits) -> Verdict:
    """I9: memory, descriptors, threads and queues as the observer has sampled them."""
    verdict = Verdict(promise="I9", about="no process grows beyond its bounds")
    for fact in recording.of("sample"):
        if not fact.bound:
            continue
        verdict.judged += 1
        if fact.number > fact.bound:
            words = f"{fact.node}: {fact.words} is {fact.number}, and may be {fact.bound}"
            verdict.breach(fact.at_ns, words)
    if not verdict.judged:
        verdict.skip("nobody sampled the processes")
    return verdict


def no_slot_is_left_behind(recording: Recording, limits: Limits) -> Verdict:
    """I10: when all has ended, no slot is held."""
    verdict = Verdict(promise="I10", about="at rest no slot is held")
    rest_at_ns = recording.rest_at_ns
    for fact in recording.of("slots"):
        if rest_at_ns is None or fact.at_ns < rest_at_ns:
            continue
        verdict.judged += 1
        if fact.number:
            verdict.breach(fact.at_ns, f"{fact.number} slots are held by {fact.node} at rest")
    if not verdict.judged:
        verdict.skip("nobody counted slots at rest")
    return verdict
