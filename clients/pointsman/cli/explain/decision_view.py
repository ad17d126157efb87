"""A decision in words and tables: what was asked, who took it, who was looked at, and why."""

from collections.abc import Iterator

from pointsman.cli.fleet.view import age_words, count_words
from pointsman.cli.placement_words import (
    nearest_words,
    node_words,
    pool_words,
    refusal_rows,
)
from pointsman.cli.screen import facts, say, show, table
from pointsman_wire.messages import Breakdown
from pointsman_wire.queries.explain_messages import CandidateView, DecisionView, JobView, LegView

NODES_SHOWN = 12
POOLS_SHOWN = 6

_HOW = {
    "sample": "drawn at random",
    "walk": "in the order of the pool",
    "all": "all of them",
    "preferred": "the preferred node",
    "named": "nodes with a reason of their own",
    "freed": "those with a slot freed since it was found full a moment ago",
}
_SELECTORS = {
    "preferred": "it was asked for by name",
    "two_level": "a pool, then a node in it",
    "single_level": "any node of the fleet",
    "failover": "another one after a failure",
    "reserve": "its freed slot went to this waiting job",
}
_SESSIONS = {
    "hit": "kept: the session is bound to pool {bound}",
    "first": "new: the first of the pools that can",
    "affinity": "new: the pool that the session's key hashes to",
    "override": "new: the tenant's own pool",
    "replaced": "new: pool {bound} no longer does this pair",
    "reset": "new: the language pair is another than before",
    "none": "none: no pool does this pair, so all are asked",
}


def show_decision(view: DecisionView, worker: str = "") -> None:
    """One decision, from the question to the choice."""
    facts(_facts(view, worker))
    if view.breakdown is not None:
        show_breakdown(view.breakdown)
    for leg in view.legs:
        say("", _leg_words(leg))
        if leg.nodes:
            _show_nodes(leg, view)
    if view.legs_left_out:
        say("", f"{count_words(view.legs_left_out, 'look')} at other pools in between")
    if view.replay is not None:
        say("")
        facts(_replay_facts(view))


def _facts(view: DecisionView, worker: str) -> Iterator[tuple[str, str]]:
    yield "request", ", ".join(filter(None, _request_words(view, worker)))
    yield "job", job_words(view)
    if view.node_id:
        pool = f" in pool {pool_words(view.pool)}" if view.pool else ""
        node = f"{node_words(view.node_id, view.instance)}{pool}"
        yield "went to", f"{node}: {_SELECTORS.get(view.selector, view.selector)}"
        ahead = f", before {view.runner_up}" if view.runner_up else ", and there was no other"
        score = "" if view.score == view.load else f", score {view.score:.2f}"
        yield "load", f"{view.load:.2f}{score}{ahead}"
    else:
        yield "went to", f"nobody: {view.code}"
    yield "session", _session_words(view)
    yield "pools", _pools_words(view)
    yield "waited", f"{age_words(view.waited_ms)} for a node" if view.waited_ms >= 1 else ""
    took = f", decided in {view.taken_us:.0f} µs" if view.taken_us else ""
    beat = f"{age_words(view.beat_age_ms)} after the manager's last sign of life"
    yield "snapshot", f"version {view.snapshot_version}, {beat}{took}"


def _request_words(view: DecisionView, worker: str) -> Iterator[str]:
    if view.request_id:
        yield view.request_id
    if view.session_id:
        yield f"session {view.session_id}"
    if view.tenant:
        yield f"tenant {view.tenant}"
    if view.request_id:
        yield f"attempt {view.attempt}"
        yield f"{age_words(view.age_ms)} ago"
    if worker:
        yield worker


def job_words(view: DecisionView) -> str:
    """Return what a job asked for: `asr+nmt en->es, features x, labels a=b`."""
    pair = "->".join(filter(None, [view.src_lang, view.tgt_lang]))
    words = [f"{'+'.join(view.services)} {pair}".strip()]
    if view.auto_langs:
        words.append(f"auto = {', '.join(view.auto_langs)}")
    if view.features:
        words.append(f"features {', '.join(view.features)}")
    if view.labels:
        words.append("labels " + ", ".join(f"{k}={v}" for k, v in view.labels.items()))
    if view.preferred_node:
        words.append(f"preferably {view.preferred_node}")
    if not view.accept_public:
        words.append("own nodes only")
    return ", ".join(words)


def _session_words(view: DecisionView) -> str:
    if not view.session_decision:
        return ""
    words = _SESSIONS.get(view.session_decision, view.session_decision)
    return words.format(bound=pool_words(view.bound_before))


def _pools_words(view: DecisionView) -> str:
    if not view.pool_order:
        return ""
    names = ", ".join(map(pool_words, view.pool_order[:POOLS_SHOWN]))
    more = view.pool_count - len(view.pool_order[:POOLS_SHOWN])
    rest = f" and {more} more" if more > 0 else ""
    can = f"; {count_words(view.eligible_pools, 'pool')} can do it" if view.eligible_pools else ""
    fallback = "; the first gave nobody" if view.fallback_used else ""
    return f"in this order: {names}{rest}{can}{fallback}"


def _leg_words(leg: LegView) -> str:
    how = _HOW.get(leg.how, leg.how)
    if leg.how in ("preferred", "named"):
        where = f" (pool {pool_words(leg.pool)})" if leg.pool else ""
        return f"looked at {how}{where}:"
    left_out = f", {leg.left_out} of them kept as a count only" if leg.left_out else ""
    place = leg.pool if leg.pool == "whole fleet" else f"pool {pool_words(leg.pool)}"
    return (
        f"looked at {leg.looked_at} of {count_words(leg.candidates, 'candidate')} of {place}, "
        f"{how}{left_out}; {leg.passed} passed every check:"
    )


def _show_nodes(leg: LegView, view: DecisionView) -> None:
    heads = ["node", "held", "slots", "foreign", "slowness", "score", "outcome"]
    shown = leg.nodes[:NODES_SHOWN]
    is_even = all(node.slowness == 1.0 for node in shown)
    is_alone = not any(node.foreign for node in shown)
    hidden = [name for name, is_idle in (("slowness", is_even), ("foreign", is_alone)) if is_idle]
    kept = [at for at, head in enumerate(heads) if head not in hidden]
    rows = [_node_row(node, leg, view) for node in shown]
    show(
        table(
            [heads[at] for at in kept],
            [[row[at] for at in kept] for row in rows],
            numbers=("held", "slots", "foreign", "slowness", "score"),
        )
    )
    more = leg.looked_at - leg.left_out - len(shown)
    if more > 0:
        say(f"and {more} more")


def _node_row(node: CandidateView, leg: LegView, view: DecisionView) -> list[str]:
    is_chosen = leg.reserved and node.node_id == view.node_id and node.outcome == "ok"
    outcome = node.reason.replace("_", " ")
    if is_chosen:
        outcome = "took the job"
    elif leg.reserved and node.node_id == view.runner_up:
        outcome = "runner-up"
    elif node.outcome:
        outcome = f"was asked first: {node.outcome.replace('_', ' ')}"
    return [
        node_words(node.node_id, node.instance),
        str(node.held),
        str(node.slots_max),
        str(node.foreign),
        f"{node.slowness:.2f}",
        "" if node.score is None else f"{node.score:.2f}",
        outcome,
    ]


def _replay_facts(view: DecisionView) -> Iterator[tuple[str, str]]:
    replay = view.replay
    assert replay is not None, "the caller looked"
    if replay.equal:
        yield "replay", "equal: the same functions over the record give the same decision"
    for number, difference in enumerate(replay.differences):
        yield "REPLAY DIFFERS" if number == 0 else "", difference
    for note in replay.notes:
        yield "replay, note", note


def show_breakdown(breakdown: Breakdown) -> None:
    """Why nobody: the counts by reason, what is left after each check, the nearest, the fix."""
    if breakdown.counts:
        show(table(["nodes", "reason", "which"], refusal_rows(breakdown), numbers=["nodes"]))
    left = " → ".join(f"{name} {count}" for name, count in breakdown.funnel)
    facts(
        [
            ("left after", left),
            ("nearest", nearest_words(breakdown)),
            ("what to do", breakdown.fix),
        ]
    )


def show_job(job: JobView, worker: str) -> None:
    """How a job stands that the worker still knows."""
    where = f" on {job.node_id}" if job.node_id else ""
    again = f", after {count_words(job.failovers, 'failover')}" if job.failovers else ""
    waits = ", waits for a node" if job.waits else ""
    state = job.state.replace("_", " ")
    age = f"submitted {age_words(job.age_ms)} ago"
    facts([("job now", f"{state}{where}{again}{waits}; {age}; {job.job_id}, {worker}")])
    facts([("", reason) for reason in job.attempts])
    if job.breakdown is not None:
        show_breakdown(job.breakdown)
