"""I12, I13 and the faults: who a node is, that all is well again, and that harm was done."""

from pointsman_sim.checker.recording import Recording
from pointsman_sim.checker.verdicts import Limits, Verdict

S = 1_000_000_000


def a_node_id_has_one_owner(recording: Recording, limits: Limits) -> Verdict:
    """I12: a node id is registered with one key at a time."""
    verdict = Verdict(promise="I12", about="a node id is owned by one key at a time")
    owners: dict[str, tuple[str, str]] = {}  # node id -> key, recorder
    for fact in recording.of("begin", "registered", "state", by="agent"):
        owner = owners.get(fact.node)
        if fact.what == "registered" and fact.node and fact.kind:
            verdict.judged += 1
            if owner is not None and owner[0] != fact.kind:
                words = f"{fact.who} registered as {fact.node} with another key than {owner[1]}"
                verdict.breach(fact.at_ns, words)
            owners[fact.node] = (fact.kind, fact.who)
        elif fact.what == "begin" or fact.status in ("connecting", "stopped"):
            # Whoever has let go of an id owns it no more.
            for node in [n for n, (_, who) in owners.items() if who == fact.who]:
                del owners[node]
    if not verdict.judged:
        verdict.skip("no node recorded a registration")
    return verdict


def all_is_well_again(recording: Recording, limits: Limits) -> Verdict:
    """I13: jobs submitted T_recover after the last fault are as fast as before the first."""
    verdict = Verdict(promise="I13", about="after the faults all is as before")
    if not recording.strikes:
        verdict.skip("there were no faults")
        return verdict
    first_ns = min(strike.fact.at_ns for strike in recording.strikes)
    last_ns = max(strike.until_ns for strike in recording.strikes)
    well_ns = last_ns + int(limits.recover_s * S)
    before: list[float] = []
    after: list[float] = []
    for job in recording.jobs.values():
        submit = recording.submits.get((job.session, job.request))
        if submit is None or not job.results:
            continue
        took_s = (job.results[0].at_ns - submit.at_ns) / S
        if job.results[0].at_ns < first_ns:
            before.append(took_s)
        elif submit.at_ns > well_ns:
            after.append(took_s)
    if min(len(before), len(after)) < limits.samples_min:
        verdict.skip(f"{len(before)} jobs before and {len(after)} after the faults are too few")
        return verdict
    verdict.judged = len(after)
    bound_s = max(limits.recovered_floor_s, limits.recovered_ratio * p99(before))
    if p99(after) > bound_s:
        words = f"p99 is {p99(after):.3f} s after the faults, was {p99(before):.3f} s before"
        verdict.breach(last_ns, words + _wakings(recording, first_ns, well_ns))
    return verdict


def _wakings(recording: Recording, first_ns: int, well_ns: int) -> str:
    """Say how late sleepers woke in both times: more so when others have taken the processors."""
    facts = [*recording.of("woke", by="observer")]
    before = [fact.seconds for fact in facts if fact.at_ns < first_ns]
    after = [fact.seconds for fact in facts if fact.at_ns > well_ns]
    if not before or not after:
        return ""
    return f"; who slept woke {p99(after):.3f} s late, before {p99(before):.3f} s"


def p99(values: list[float]) -> float:
    """Return the value that 99 of 100 do not exceed."""
    return sorted(values)[max(0, -(-99 * len(values) // 100) - 1)]


def faults_happened(recording: Recording, limits: Limits) -> Verdict:
    """L7: every fault that was meant has left a proof."""
    verdict = Verdict(promise="L7", about="the faults really happened")
    for strike in recording.strikes:
        verdict.judged += 1
        if not strike.proofs:
            words = f"{strike.fact.status} of {strike.fact.node} left no proof"
            verdict.breach(strike.fact.at_ns, words)
    if not verdict.judged:
        verdict.skip("there were no faults")
    return verdict


def faults_by_kind(recording: Recording) -> dict[str, tuple[int, int]]:
    """Return for each kind of fault how often it was meant, and how often it was proven."""
    counts: dict[str, tuple[int, int]] = {}
    for strike in recording.strikes:
        meant, proven = counts.get(strike.fact.status, (0, 0))
        counts[strike.fact.status] = (meant + 1, proven + bool(strike.proofs))
    return dict(sorted(counts.items()))
