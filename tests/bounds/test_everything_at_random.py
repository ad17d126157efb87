"""I9: whatever happens for however long, what is over leaves nothing behind in any table.

Everything that a worker can be asked is asked at random; then all of it ends.  The lengths of all
tables that can be reached from the core are the same after each such round.
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bounds.busy_host import QUIET_S, BusyHost
from bounds.reachable import lengths
from bounds.test_hostile_peers import CACHE_BOUNDS
from fleet_samples import speech_class
from several import Several
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import (
    Config,
    ExplainConfig,
    JobsConfig,
    ListedTenant,
    SessionsConfig,
    TalkConfig,
    TenantsConfig,
)
from pointsman_workers.desks import poison
from pointsman_workers.explain import names, pages
from pointsman_workers.operating import reasons
from pointsman_workers.sharing.keys import buckets

ROUNDS = 5
ACTS = 500
KIB = 1024
SMALL: dict[str, Any] = {
    "jobs": JobsConfig(
        timeout_s=4.0,
        ack_s=1.0,
        wait_busy_s=2.0,
        window_s=20.0,
        window_jobs_max=100,
        lane_grace_s=2.0,
        hedge_after_percentile=60.0,
        hedge_after_min_s=0.05,
        hedge_budget_percent=50.0,
    ),
    "sessions": SessionsConfig(idle_s=20.0, resume_s=10.0, gap_window_s=2.0, sessions_max=40),
    "talk": TalkConfig(silence_s=1.0, sound_s=3.0, rooms_max=3, room_members_max=3),
    "tenants": TenantsConfig(listed=(ListedTenant(name="acme", jobs_max=10),)),
    "explain": ExplainConfig(bytes_max=4 * KIB),
}
SPEECH = speech_class("en", "es", "fr")


@pytest.fixture(autouse=True)
def _caches_are_soon_full(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = (
        (poison, "KEPT_MAX"),
        (names, "FORMER_MAX"),
        (pages, "VERSIONS_MAX"),
        (reasons, "MINUTES_MAX"),
        (reasons, "KINDS_MAX"),
    )
    for module, bound in bounds:
        monkeypatch.setattr(module, bound, 1)
    # A thousand buckets that keep one each are not full for hundreds of rounds.
    monkeypatch.setattr(buckets, "ENDED_KEPT_MAX", 0)
    for module, bound in CACHE_BOUNDS:
        monkeypatch.setattr(module, bound, 8)


def what_grows(play: Callable[[], None], roots: list[object]) -> dict[str, list[int]]:
    """Play some rounds; return what is more after each of them than after the one before."""
    after: list[Counter[str]] = []
    for _ in range(ROUNDS):
        play()
        after.append(sum((lengths(root) for root in roots), Counter()))
    found = {name: [counts[name] for counts in after] for name in after[-1]}
    return {
        name: counts
        for name, counts in found.items()
        if counts[-1] > counts[-2] > counts[-3] and counts[-1] > 1.2 * max(counts[:2]) + 50
    }


@pytest.mark.parametrize("seed", range(2))
def test_i9_a_worker_has_let_go_of_everything_when_all_is_over(seed: int) -> None:
    host = Host(Config(**SMALL))
    for row, slots in ((3, 2), (4, 1), (5, 3)):
        host.node(row, SPEECH, slots=slots)
    host.publish(SECOND_NS)
    h = WorkerHarness(host)
    h.feed()
    busy = BusyHost(h, (3, 4, 5), Random(seed), h.advance)

    def play() -> None:
        for _ in range(ACTS):
            busy.act()
        busy.leave()
        for _ in range(QUIET_S):
            busy.finish()
            h.advance(1.0)
        h.sent.clear()

    assert what_grows(play, [h.core]) == {}
    assert [h.held(row) for row in (3, 4, 5)] == [0, 0, 0]
    assert h.core.shard.sessions == {}


def test_i9_workers_of_two_instances_have_let_go_of_everything() -> None:
    instances = Several("A", "B", **SMALL)
    for row, home in ((3, "A"), (4, "A"), (5, "B")):
        instances.node(row, home, SPEECH, slots=2)
    random = Random(1)
    hosts = [
        BusyHost(instances["A"], (3, 4), random, instances.run),
        BusyHost(instances["B"], (5,), random, instances.run),
    ]

    def play() -> None:
        for _ in range(ACTS):
            random.choice(hosts).act()
            instances.run(0.01)
        for busy in hosts:
            busy.leave()
        for _ in range(QUIET_S):
            for busy in hosts:
                busy.finish()
            instances.run(1.0)
        for busy in hosts:
            busy.h.sent.clear()

    assert what_grows(play, [busy.h.core for busy in hosts]) == {}
    held = [busy.h.held(row) for busy in hosts for row in (3, 4, 5)]
    assert held == [0] * 6
    assert [busy.h.core.shard.sessions for busy in hosts] == [{}, {}]
