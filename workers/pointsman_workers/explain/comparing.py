"""What is different between two decisions, in words: for what-if."""

from collections.abc import Iterator

from pointsman_wire.queries.explain_messages import DecisionView


def differences(now: DecisionView, then: DecisionView) -> list[str]:
    """Say in which way the second decision differs from the first; empty when in none."""
    return list(_differences(now, then))


def _differences(now: DecisionView, then: DecisionView) -> Iterator[str]:
    if now.node_id != then.node_id or now.code != then.code:
        yield f"{_outcome(then)} instead of {_outcome(now)}"
    elif now.node_id and now.score != then.score:
        yield f"{now.node_id} has score {then.score:.2f} instead of {now.score:.2f}"
    if now.pool != then.pool and now.node_id and then.node_id:
        yield f"pool {then.pool} instead of {now.pool}"
    if now.runner_up != then.runner_up and then.node_id:
        yield f"runner-up {then.runner_up or 'nobody'} instead of {now.runner_up or 'nobody'}"
    if now.pool_order != then.pool_order:
        yield f"pools asked: {_order(then)} instead of {_order(now)}"
    passed_now, passed_then = _passed(now), _passed(then)
    if passed_now != passed_then:
        yield f"{passed_then} of the nodes that are looked at pass, instead of {passed_now}"
    yield from _count_differences(now, then)


def _outcome(view: DecisionView) -> str:
    if view.node_id:
        return view.node_id
    reason = view.breakdown.best_reason if view.breakdown is not None else ""
    return f"nobody ({view.code}{f': {reason}' if reason else ''})"


def _order(view: DecisionView) -> str:
    return ", ".join(view.pool_order) or "none"


def _passed(view: DecisionView) -> int:
    return sum(leg.passed for leg in view.legs)


def _count_differences(now: DecisionView, then: DecisionView) -> Iterator[str]:
    """How the counters of two refusals differ."""
    if now.breakdown is None or then.breakdown is None:
        return
    before, after = now.breakdown.counts, then.breakdown.counts
    for reason in dict.fromkeys([*before, *after]):
        if before.get(reason, 0) != after.get(reason, 0):
            yield f"{reason}: {after.get(reason, 0)} nodes instead of {before.get(reason, 0)}"
