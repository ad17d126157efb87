"""What of a tenant's rate is whose: by demand, never more than the rate in all."""

from federation.many_instances import Core, Instances
from manager_harness import MS, SECOND

from pointsman_sched.core.events import TellWorkers
from pointsman_shm.config import Config, ListedTenant, NodesConfig, TenantsConfig
from pointsman_shm.memory.waiting import OwnWaiting, Usage
from pointsman_shm.uplink import RateShares

RATE = 100.0
LIMITED = Config(
    nodes=NodesConfig(max_nodes=64),
    tenants=TenantsConfig(listed=(ListedTenant(name="t", jobs_per_s=RATE),)),
)


class Shares:
    """Several instances whose workers are asked for jobs of one tenant."""

    def __init__(self, *names: str) -> None:
        self.fleet = Instances(*names, config=LIMITED)
        self.total_max = 0.0
        self.hands: dict[str, OwnWaiting] = {}

    def of(self, name: str) -> float:
        """What the workers of an instance were told last; checked over all at each step."""
        return dict(self.told(name).shares)["t"]

    def told(self, name: str) -> RateShares:
        federation = self.fleet[name].core.state.federation
        assert federation is not None
        return federation.shares.message()

    def run(self, seconds: int, **asked_per_s: int) -> None:
        for _ in range(10 * seconds):
            for name, rate in asked_per_s.items():
                if name not in self.hands:
                    self.hands[name] = self.fleet[name].memory.waiting.own(0)
                self.hands[name].use(0, Usage.ASKED, rate // 10)
            self.fleet.advance(100 * MS)
            self.total_max = max(self.total_max, sum(map(self.of, self.fleet.cores)))


def test_one_instance_alone_has_the_whole_rate() -> None:
    shares = Shares("a")
    shares.run(3, a=10)
    assert shares.of("a") == RATE


def test_shares_follow_demand_and_never_pass_the_rate_in_all() -> None:
    """T19: rate limits do not multiply with instances, whatever comes where."""
    shares = Shares("a", "b")
    shares.run(8, a=90, b=10)
    shares.total_max = 0.0
    shares.run(6, a=90, b=10)
    assert 80 < shares.of("a") < 95
    assert 5 < shares.of("b") < 20
    shares.run(10, a=10, b=90)
    assert 80 < shares.of("b") < 95
    shares.run(5)
    assert 0.9 * RATE < shares.total_max <= RATE * 1.000001


def test_equal_demand_far_above_the_rate_is_shared_equally() -> None:
    shares = Shares("a", "b", "c")
    shares.run(12, a=500, b=500, c=500)
    for name in "abc":
        assert abs(shares.of(name) - RATE / 3) < 2


def test_an_instance_that_comes_takes_its_share_out_of_the_others() -> None:
    shares = Shares("a")
    shares.run(4, a=50)
    shares.total_max = 0.0
    shares.fleet.join("b", LIMITED)
    shares.run(1, a=50, b=50)
    shares.total_max = 0.0
    shares.run(10, a=50, b=50)
    assert abs(shares.of("a") - shares.of("b")) < 5
    assert shares.total_max <= RATE * 1.000001


def test_without_the_store_nobody_has_more_than_an_equal_part() -> None:
    shares = Shares("a", "b")
    shares.run(10, a=90, b=10)
    shares.fleet.store.down |= {"a", "b"}
    shares.run(2, a=90, b=10)
    assert shares.of("a") == RATE / 2
    assert shares.of("b") < 20
    shares.run(40, a=90, b=10)
    for name in "ab":
        told = shares.told(name)
        assert (told.living, dict(told.shares)["t"] <= RATE / 2) == (2, True), name
    shares.fleet.store.down.clear()
    shares.run(5, a=90, b=10)
    assert shares.of("a") > 80


def test_shares_follow_a_demand_that_jumps_to_and_fro() -> None:
    shares = Shares("a", "b")
    shares.run(5)
    for _ in range(5):
        shares.run(4, a=90, b=0)
        shares.run(4, a=0, b=90)
    shares.run(6, a=0, b=90)
    assert shares.of("b") > 80


def test_workers_are_told_their_share_when_it_changes_and_when_they_come() -> None:
    shares = Shares("a", "b")
    shares.run(5, a=50, b=50)
    core = shares.fleet["a"]
    told = [c.message for c in core.worker_arrives(0) if hasattr(c, "message")]
    (message,) = [m for m in told if isinstance(m, RateShares)]
    assert message.living == 2
    shares.run(1, a=500, b=0)
    core.now_ns += SECOND
    commands = [c for _ in range(3) for c in _met(core, shares)]
    assert any(isinstance(c, TellWorkers) and isinstance(c.message, RateShares) for c in commands)


def _met(core: Core, shares: Shares) -> list[object]:
    core.now_ns += SECOND
    commands = core.feed()
    while core.wishes:
        commands += core.feed(shares.fleet.store.obey(core.instance, core.wishes.pop(0)))
    return commands
