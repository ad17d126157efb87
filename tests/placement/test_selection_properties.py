"""Whatever the fleet and the request: the worker core chooses as the slow reference says."""

from collections import Counter

from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from placement.fleets import Stage, wishes, worlds
from placement.reference import BUSY, Fact, World, best_reason
from placement.reference_pools import Bound, Plan
from placement.reference_rules import Wish

from pointsman_wire.messages import Breakdown, ErrorInfo
from pointsman_wire.session_messages import Result

LIMITS = settings(max_examples=200)
# Each with whether its job ends at once, or stays for good.
MANY_WISHES = st.lists(st.tuples(wishes(), st.booleans()), min_size=1, max_size=6)


@given(worlds(), MANY_WISHES)
@LIMITS
def test_a_job_goes_where_the_reference_allows_or_nowhere_if_it_finds_nobody(
    world: World, several: list[tuple[Wish, bool]]
) -> None:
    stage = Stage(world)
    for wish, ends in several:
        judge(stage, wish, ends=ends)


def judge(stage: Stage, wish: Wish, *, ends: bool) -> None:
    """Submit one request, and compare what becomes of it with the reference."""
    world = stage.world
    stage.harness.advance(0.3)  # what refusals share is forgotten by then
    wish = stage.routed(wish)
    before = stage.bound(wish.tenant)
    plan = stage.plan(wish, before)
    outcome = stage.submit(wish)
    after = stage.bound(wish.tenant)
    if plan is not None:
        plan = follow_chance(world, plan, after, wish)
        assert after == plan.bound
    if isinstance(outcome, ErrorInfo):
        event("refused: " + (outcome.breakdown.best_reason if outcome.breakdown else "?"))
        check_refusal(world, wish, plan, outcome)
        return
    node, job = outcome
    chosen = next(fact for fact in world.facts if fact.row == node.row)
    assert world.fault(chosen, wish) == ""
    assert stage.harness.held(chosen.row) == chosen.held + 1 <= chosen.slots
    check_group(world, wish, plan, chosen)
    if not ends:
        chosen.held += 1
        return
    node.acknowledge(job.number)
    node.end(job)
    assert stage.harness.held(chosen.row) == chosen.held
    placement = stage.client(wish.tenant).one(Result).placement
    assert placement is not None
    event("placed: " + placement.selector)
    assert placement.load == chosen.load
    assert placement.session_decision == (plan.outcome if plan is not None else "")
    is_preferred = wish.preferred == chosen.node_id
    selector = "single_level" if plan is None else "two_level"
    assert placement.selector == ("preferred" if is_preferred else selector)


def follow_chance(world: World, plan: Plan, after: Bound | None, wish: Wish) -> Plan:
    """Where chance chose the pool, take over what it chose if that was one of those allowed."""
    if not plan.is_left_to_chance:
        return plan
    if plan.bound is None or after is None or plan.outcome == "hit":
        return plan
    numbers = [pool.number for pool in world.pools()]
    assert after.number in numbers
    assert (after.src, after.tgt) == (plan.bound.src, plan.bound.tgt)
    if len(plan.numbers) > 1:
        assert after.number in plan.numbers
        at = plan.numbers.index(after.number)
        return replace(plan, bound=after, numbers=plan.numbers[at:] + plan.numbers[:at])
    return replace(plan, bound=after, numbers=(after.number,))


def check_group(world: World, wish: Wish, plan: Plan | None, chosen: Fact) -> None:
    """The preferred node if it can; else the first pool in which somebody can, least loaded."""
    preferred = [fact for fact in world.facts if fact.node_id == wish.preferred]
    if world.able(preferred, wish):
        assert chosen is preferred[0]
        return
    groups = [world.able(group, wish) for group in world.groups(plan)]
    pools = world.config.pools
    has_habits = pools.spread or pools.sticky or wish.labels_preferred
    if has_habits or (plan is not None and plan.is_left_to_chance and plan.bound is None):
        assert any(chosen in group for group in groups)
        return
    group = next(group for group in groups if group)
    assert chosen in group
    if len(world.facts) <= pools.sample_size and pools.node_choice == "best":
        assert chosen.load == min(fact.load for fact in group)


def check_refusal(world: World, wish: Wish, plan: Plan | None, error: ErrorInfo) -> None:
    """Nobody could, and every node is counted once at the first check that it fails."""
    assert error.breakdown is not None, error
    if plan is not None and plan.is_left_to_chance and len(plan.numbers) == 1:
        return  # without fallback chance alone decides which pool was asked
    for group in world.groups(plan):
        assert world.able(group, wish) == []
    assert world.able([f for f in world.facts if f.node_id == wish.preferred], wish) == []
    faults = world.faults(plan, wish)
    check_breakdown(error.breakdown, faults)
    assert error.breakdown.best_reason == best_reason(Counter(faults.values()), plan)
    preferred = [fact for fact in world.facts if fact.node_id == wish.preferred]
    is_preferred_busy = any(world.fault(fact, wish) in BUSY for fact in preferred)
    answer = "preferred_busy" if is_preferred_busy else "none_can"
    if world.is_busy(plan, wish):
        answer = "all_busy"
    assert error.breakdown.answer == answer
    assert error.code == ("NO_AVAILABLE_NODE" if answer == "none_can" else "QUEUE_TIMEOUT")


def check_breakdown(breakdown: Breakdown, faults: dict[str, str]) -> None:
    """The counters add up, the funnel narrows by as much, the names are of nodes that failed so."""
    assert breakdown.counts == Counter(faults.values())
    assert breakdown.total_nodes == len(faults)
    left = [number for _, number in breakdown.funnel]
    assert breakdown.funnel[0] == ("registered", len(faults))
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    for reason, names in breakdown.nodes.items():
        assert names == [node_id for node_id, fault in faults.items() if fault == reason]
    assert {miss.node_id for miss in breakdown.nearest} <= set(faults)
