"""The fault campaign: every scenario again and again, counted by the id of its fault.

    PYTHONPATH=tests python -m faults --minutes 30 --ledger ledger.jsonl
    PYTHONPATH=tests python -m faults --only N1,N14 --long

--share of the runs that a release wants is done for each scenario, unless the time is over before.
Scenarios in a network namespace need root; without it they are left out, which is said.
"""

import argparse
import asyncio
import sys
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from faults import client_scenarios, load_scenarios, namespace_scenarios, node_scenarios
from faults.namespaces import Namespace, namespace, why_not
from faults.yard import CONFIG, Figures, Scenario, quantile, yard
from live.service import LiveService, live_service, started
from supervised_service import Place, place

from pointsman_sim.campaign_ledger import Tally, append

KEPT_MAX = 10_000


class Fault(NamedTuple):
    """A scenario and how often a release wants it."""

    id: str
    name: str
    scenario: Scenario
    wanted: int


PLAIN = (
    Fault("N1", "half_open_idle", node_scenarios.half_open_idle, 200),
    Fault("N1", "half_open_unacked", node_scenarios.half_open_with_unacknowledged_data, 200),
    Fault("N1", "half_open_zero_window", node_scenarios.half_open_with_zero_window, 200),
    Fault("N2", "one_way_from_the_node", node_scenarios.one_way_from_the_node, 200),
    Fault("N2", "one_way_to_the_node", node_scenarios.one_way_to_the_node, 200),
    Fault("N3", "half_partitioned", node_scenarios.half_of_the_nodes_partitioned, 200),
    Fault("N3", "clogged", node_scenarios.half_of_the_nodes_clogged_one_after_the_other, 200),
    Fault("N4", "any_weather", client_scenarios.any_weather, 50),
    Fault("N5", "slow_node", node_scenarios.slow_node, 50),
    Fault("N6", "client_that_reads_nothing", client_scenarios.client_that_reads_nothing, 50),
    Fault("N14", "slowloris", client_scenarios.slowloris, 10),
)
LONG = (
    *(
        Fault(
            "N3",
            f"half_partitioned_{seconds}_s",
            partial(node_scenarios.half_of_the_nodes_partitioned, seconds=seconds),
            wanted,
        )
        for seconds, wanted in ((10, 20), (25, 5), (60, 2), (600, 1))
    ),
    Fault("N4", "2_s_of_latency", client_scenarios.two_seconds_of_latency, 5),
)
# With the limits that a service has by default.
PATIENT = (
    Fault(
        "N14", "slowloris_5000", partial(client_scenarios.slowloris, count=5_000, every_s=5.0), 10
    ),
)
# With a short queue, and a tenant that may do little.
LOADS = (
    Fault("A5", "greedy_tenant", load_scenarios.greedy_tenant, 20),
    Fault("I13", "pressed_worker", load_scenarios.pressed_worker, 20),
)
DEFAULT_LIMITS = "[nodes]\nresource_threshold_percent = 0\n"
NARROW = Fault("N15", "crowd_meets_the_cap", client_scenarios.crowd_meets_the_cap, 20)
FEW_DESCRIPTORS = 256
IDS_IN_A_NAMESPACE = {
    "blackhole_while_idle": "N1",
    "blackhole_with_unacknowledged_data": "N1",
    "mute_node": "N2",
    "deaf_node": "N2",
    "link_that_flaps": "N3",
    "narrow_link": "N5",
    "address_that_is_lost": "N16",
}


class Campaign:
    """Runs faults until the time is over; `runs` and `bad` count by id and name."""

    def __init__(self, until_s: float, share: float, ids: set[str]) -> None:
        self.until_s = until_s
        self.share = share
        self.ids = ids  # or names, of what is asked for; none: all
        self.runs: Counter[tuple[str, str]] = Counter()
        self.bad: Counter[tuple[str, str]] = Counter()
        self.figures: dict[str, deque[float]] = {}

    def wants(self, fault: Fault) -> bool:
        """Is it asked for, is there time, and were there too few runs of it yet?"""
        if self.ids and not self.ids & {fault.id, fault.name}:
            return False
        done = self.runs[fault.id, fault.name]
        return monotonic() < self.until_s and done < max(1, round(fault.wanted * self.share))

    def run(self, service: LiveService, fault: Fault) -> None:
        """Run it once, and count it."""
        key = fault.id, fault.name
        self.runs[key] += 1
        with TemporaryDirectory(prefix="pmf-") as folder:
            try:
                figures = asyncio.run(_once(service, Path(folder), fault.scenario))
            except Exception:
                self.bad[key] += 1
                print(f"\n{fault.id} {fault.name} went wrong:", file=sys.stderr)
                traceback.print_exc()
                return
        for name, value in figures.items():
            kept = self.figures.setdefault(
                f"{fault.id} {fault.name} {name}", deque(maxlen=KEPT_MAX)
            )
            kept.append(value)

    def tallies(self) -> dict[str, Tally]:
        """Runs and failures by id."""
        ids = {fault_id for fault_id, _ in self.runs}
        return {
            one: Tally(
                sum(n for (fault_id, _), n in self.runs.items() if fault_id == one),
                sum(n for (fault_id, _), n in self.bad.items() if fault_id == one),
            )
            for one in sorted(ids)
        }

    def report(self) -> None:
        for (fault_id, name), count in sorted(self.runs.items()):
            print(f"{fault_id:4} {name:36} {count:5} runs, {self.bad[fault_id, name]} bad")
        for name, values in sorted(self.figures.items()):
            kept = list(values)
            middle, most = quantile(kept, 50), max(kept)
            print(f"     {name:60} median {middle:10.2f}   most {most:10.2f}   n {len(kept)}")


async def _once(service: LiveService, folder: Path, scenario: Scenario) -> Figures:
    async with yard(service, folder) as here:
        return await scenario(here)


def in_network(network: Namespace) -> tuple[Fault, ...]:
    """The scenarios of namespaces, in this one."""

    def bound(scenario: namespace_scenarios.NetworkScenario) -> Scenario:
        async def run(here: object) -> Figures:
            try:
                return await scenario(here, network)  # type: ignore[arg-type]
            finally:
                network.heal()

        return run

    return tuple(
        Fault(IDS_IN_A_NAMESPACE[s.__name__], f"{s.__name__} (namespace)", bound(s), 100)
        for s in namespace_scenarios.SCENARIOS
    )


@contextmanager
def service_in_network() -> Iterator[tuple[LiveService, tuple[Fault, ...]]]:
    with (
        namespace() as network,
        place() as here,
        namespace_scenarios.reachable_service(here, network) as service,
    ):
        yield service, in_network(network)
        service.stop()


def a_round(campaign: Campaign, faults: tuple[Fault, ...], config: str = CONFIG) -> bool:
    """Each fault that is wanted, once, with a fresh service; False when none is."""
    wanted = [fault for fault in faults if campaign.wants(fault)]
    if wanted:
        with live_service(config=config) as service:
            for fault in wanted:
                campaign.run(service, fault)
    return bool(wanted)


class NarrowPlace(Place):
    """Where a process may have few descriptors."""

    def command(self, *options: str) -> list[str]:
        narrow = ["sh", "-c", f'ulimit -n {FEW_DESCRIPTORS} && exec "$@"', "sh"]
        return [*narrow, *super().command(*options)]


def a_narrow_round(campaign: Campaign) -> bool:
    """N15 with a service that has few descriptors; False when it is not wanted."""
    if not campaign.wants(NARROW):
        return False
    with TemporaryDirectory(prefix="pm-") as folder:
        here = NarrowPlace(Path(folder))
        try:
            with started(here, config=CONFIG) as service:
                campaign.run(service, NARROW)
                service.stop()
        finally:
            here.remove_segments()
    return True


def a_round_inside(campaign: Campaign) -> bool:
    """The same for the scenarios that need a namespace."""
    if not any(campaign.wants(fault) for fault in in_network(Namespace())):
        return False
    with service_in_network() as (service, faults):
        for fault in faults:
            if campaign.wants(fault):
                campaign.run(service, fault)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only", default="", help="ids or names with commas between")
    parser.add_argument("--long", action="store_true", help="the forms that take long, once each")
    parser.add_argument("--ledger", type=Path, default=None)
    given = parser.parse_args()
    began_s = monotonic()
    ids = {word for word in given.only.split(",") if word}
    campaign = Campaign(began_s + 60 * given.minutes, given.share, ids)
    plain = PLAIN + (LONG if given.long else ())
    if reason := why_not():
        print(f"without namespaces: {reason}")
    try:
        while (
            a_round(campaign, plain)
            | a_round(campaign, LOADS, load_scenarios.TENANTS_CONFIG)
            | a_narrow_round(campaign)
            | a_round(campaign, PATIENT if given.long else (), DEFAULT_LIMITS)
            | (not reason and a_round_inside(campaign))
        ):
            pass
    except KeyboardInterrupt:
        print("interrupted")
    campaign.report()
    append(given.ledger, campaign.tallies(), (monotonic() - began_s) / 60)
    return 1 if campaign.bad else 0


if __name__ == "__main__":
    sys.exit(main())
