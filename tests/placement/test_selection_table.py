"""What the behaviour of selection is pinned to, a row each: pools asked, order, modules, tries."""

from typing import Any

import pytest
from fleet_samples import speech_class
from msgspec.structs import replace
from placement.reference_pools import stable
from placement.yard import EN_ES, Yard
from worker_harness import Client

from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.snapshot.records import CapabilityClass
from pointsman_wire.lane_messages import JobRefused
from pointsman_wire.session_messages import Placement

EN_ZH = speech_class("en", "zh")
DE_EN_ZH = speech_class("de", "en", "zh")
FULL = ("asr", "nmt", "tts", "semantic", "tone")


def told(yard: Yard, **fields: Any) -> tuple[int, Placement]:
    """Run one job; its row, and what its result says of the placement."""
    row = yard.run(explain=True, **fields)
    placement = yard.results()[-1].placement
    assert placement is not None
    return row, placement


# ---- 2.3, 2.4: which pools, in which order

PAIR: dict[str, Any] = {"src_lang": "en", "tgt_lang": "zh"}
POOLS: list[tuple[str, PoolsConfig, list[CapabilityClass], dict[str, Any], str]] = [
    ("the tightest set first", PoolsConfig(), [DE_EN_ZH, EN_ZH], PAIR, "en-zh"),
    ("a wider set serves the pair", PoolsConfig(), [DE_EN_ZH], PAIR, "de-en-zh"),
    ("auto asks whoever does the target", PoolsConfig(), [DE_EN_ZH],
     {"src_lang": "auto", "tgt_lang": "zh"}, "de-en-zh"),
    ("auto, narrowed to what only one knows", PoolsConfig(), [EN_ZH, DE_EN_ZH],
     {"src_lang": "auto", "tgt_lang": "zh", "auto_langs": ["de"]}, "de-en-zh"),
    ("no languages: by types alone", PoolsConfig(),
     [replace(EN_ZH, types_ready=()), speech_class("de", "fr")],
     {"src_lang": "", "tgt_lang": ""}, "de-fr"),
    ("a configured pool of these types",
     PoolsConfig(pools=(PoolConfig(id=1, name="speech", required_services=("asr", "nmt", "tts")),)),
     [EN_ZH], PAIR, "speech"),
    ("the most specific pool that a node fits",
     PoolsConfig(pools=(PoolConfig(id=1, name="any"),
                        PoolConfig(id=2, name="nmt", required_services=("nmt",)))),
     [EN_ZH], PAIR, "nmt"),
    ("a node that fits none is in `other`",
     PoolsConfig(pools=(PoolConfig(id=1, name="tone", required_services=("tone",)),)),
     [EN_ZH], PAIR, "other"),
    ("fallback to a pool with room", PoolsConfig(), [replace(EN_ZH, gpu=True), DE_EN_ZH],
     {**PAIR, "exclude": ["node-0"]}, "de-en-zh"),
    ("single-level names no pool", PoolsConfig(mode="single_level"), [EN_ZH], PAIR, ""),
    ("pools switched off", PoolsConfig(enabled=False), [EN_ZH], PAIR, ""),
]  # fmt: skip


@pytest.mark.parametrize("case", POOLS, ids=[case[0] for case in POOLS])
def test_the_pool_of_a_job(
    case: tuple[str, PoolsConfig, list[CapabilityClass], dict[str, Any], str],
) -> None:
    _, config, nodes, fields, pool = case
    yard = Yard(config)
    yard.add(*nodes)
    _, placement = told(yard, **fields)
    assert placement.pool == pool
    assert placement.selector == ("two_level" if pool else "single_level")


def test_without_fallback_only_the_bound_pool_is_asked() -> None:
    yard = Yard(PoolsConfig(fallback_scan_all_pools=False))
    yard.add(EN_ZH, DE_EN_ZH)
    assert yard.place(**PAIR)[0] == 0
    error = yard.refuse(**PAIR)
    assert error.breakdown is not None
    assert error.breakdown.counts == {"capacity_exceeded": 1}


BUCKETS = PoolsConfig(
    fallback_scan_all_pools=False,
    auto_language_pools=False,
    pool_count=2,
    session_affinity=True,
)


def two_buckets() -> tuple[Yard, list[Client], list[int]]:
    """Four nodes in two buckets, a session bound to each, and how many nodes each bucket has."""
    yard = Yard(BUCKETS)
    yard.add(*[EN_ES] * 4)
    ids = [next(f"s-{n}" for n in range(99) if stable(f"s-{n}", 0, 2) == k) for k in (0, 1)]
    sizes = [sum(record.pools == (k,) for record in yard.host.records.values()) for k in (0, 1)]
    assert min(sizes) > 0
    return yard, [yard.harness.open_session(session_id) for session_id in ids], sizes


def test_without_fallback_a_full_pool_holds_up_nobody_who_is_bound_to_another() -> None:
    yard, clients, sizes = two_buckets()
    for client, size in zip(clients, sizes, strict=True):
        for _ in range(size):
            yard.place(client)
        assert yard.refuse(client).code == "QUEUE_TIMEOUT"
    assert sum(yard.harness.held(row) for row in range(4)) == 4


def test_without_fallback_who_waits_for_one_pool_does_not_hold_up_another() -> None:
    yard, clients, sizes = two_buckets()
    for _ in range(sizes[0]):
        yard.place(clients[0])
    yard.submit(clients[0])
    jobs = [yard.place(clients[1]) for _ in range(sizes[1])]
    yard.submit(clients[1])
    assert yard.placed() == []
    row, job = jobs[0]
    yard.nodes[row].end(job)
    yard.advance(0.05)
    assert [row for row, _ in yard.placed()] == [row], "the older one waits for the other pool"


# ---- 3.3: modules

MODULES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"services": []}, ("asr", "nmt", "tts")),
    ({"services": [], "features": ["emotion_detection"]}, ("asr", "nmt", "tts")),
    ({"services": [], "features": ["speaker_identification"]}, ("asr", "nmt", "tone", "tts")),
    ({"services": [], "features": ["voice_cloning"]}, ("asr", "nmt", "tone", "tts")),
    ({"services": [], "features": ["voice_style_detection"]}, ("asr", "nmt", "tone", "tts")),
    ({"services": [], "features": ["speech_rate_control"]}, ("asr", "nmt", "tts")),
    ({"services": ["tts"]}, ("tts",)),
    ({"services": ["nmt"], "features": ["voice_cloning"]}, ("nmt",)),
]


@pytest.mark.parametrize("case", MODULES, ids=[str(case[0]) for case in MODULES])
def test_the_services_that_a_request_needs(case: tuple[dict[str, Any], tuple[str, ...]]) -> None:
    fields, types = case
    able = speech_class("en", "es", types=("asr", "nmt", "tone", "tts"))
    yard = Yard()
    yard.add(replace(able, features=tuple(sorted(fields.get("features", ())))))
    _, job = yard.place(**fields)
    assert tuple(job.services) == types


@pytest.mark.parametrize(
    ("config", "types"),
    [
        (PoolsConfig(), ("asr", "nmt", "semantic", "tts")),
        (PoolsConfig(mode="single_level"), ("asr", "nmt", "tts")),
        (PoolsConfig(enabled=False), ("asr", "nmt", "tts")),
    ],
)
def test_semantic_joins_the_default_pipeline_in_two_level_alone(
    config: PoolsConfig, types: tuple[str, ...]
) -> None:
    yard = Yard(config)
    yard.add(speech_class("en", "es", types=FULL))
    row, job = yard.place(services=[])
    assert tuple(job.services) == types
    yard.nodes[row].end(job)
    assert yard.results()[-1].use_semantic


def test_semantic_is_no_more_required_once_nobody_online_has_it() -> None:
    yard = Yard()
    yard.add(speech_class("en", "es", types=FULL), EN_ES)
    yard.host.node(0, speech_class("en", "es", types=FULL), state=NodeState.OFFLINE)
    yard.publish()
    row, job = yard.place(services=[])
    assert (row, job.services) == (1, ["asr", "nmt", "tts"])


# ---- 3.4, 3.5: order and tries


def test_the_least_loaded_by_share_of_its_slots_comes_first() -> None:
    yard = Yard()
    yard.add(EN_ES, slots=2)
    yard.add(EN_ES, slots=8)
    yard.host.burden(0, foreign=1)  # 1 of 2
    yard.host.burden(1, foreign=3)  # 3 of 8
    assert yard.place()[0] == 1


def test_what_others_run_on_a_node_counts_for_order_and_not_for_room() -> None:
    yard = Yard()
    yard.add(EN_ES, slots=1)
    yard.host.burden(0, foreign=7)
    assert yard.place()[0] == 0


def test_a_node_that_refused_is_avoided_and_taken_when_nobody_else_has_room() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES)
    row, job = yard.place()
    refusal = JobRefused(job_id=job.job_id, epoch=1, dispatch=job.dispatch, code="UNAVAILABLE")
    yard.harness.receive(yard.nodes[row].connection, refusal)
    ((other, again),) = yard.placed()
    assert other == 1 - row
    assert again.attempt == 2
    refusal = JobRefused(job_id=job.job_id, epoch=1, dispatch=again.dispatch, code="UNAVAILABLE")
    yard.harness.receive(yard.nodes[other].connection, refusal)
    ((_, last),) = yard.placed()
    assert last.attempt == 3, "both have failed: either is allowed"


def test_an_excluded_node_is_excluded_from_failover_as_well() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES)
    row, job = yard.place(exclude=["node-1"])
    assert row == 0
    refusal = JobRefused(job_id=job.job_id, epoch=1, dispatch=job.dispatch, code="UNAVAILABLE")
    yard.harness.receive(yard.nodes[0].connection, refusal)
    assert [row for row, _ in yard.placed()] == [0]


# ---- tenants and private nodes

PRIVATE = replace(EN_ES, tenant="acme", public=False)
SHARED = replace(EN_ES, tenant="acme")
TENANTS: list[tuple[CapabilityClass, str, bool, bool]] = [
    (PRIVATE, "acme", True, True),
    (PRIVATE, "other", True, False),
    (PRIVATE, "", True, False),
    (SHARED, "other", True, True),
    (SHARED, "other", False, False),
    (SHARED, "acme", False, True),
    (EN_ES, "other", False, False),
    (EN_ES, "", False, True),
]


@pytest.mark.parametrize("case", TENANTS)
def test_a_node_is_open_to_the_public_or_to_its_tenant(
    case: tuple[CapabilityClass, str, bool, bool],
) -> None:
    capability, tenant, accept_public, is_open = case
    yard = Yard()
    yard.add(capability)
    client = yard.harness.open_session(tenant=tenant)
    if is_open:
        assert yard.place(client, accept_public=accept_public)[0] == 0
    else:
        error = yard.refuse(client, accept_public=accept_public)
        assert error.breakdown is not None
        assert error.breakdown.counts == {"not_in_public_pool": 1}


def test_a_private_node_is_no_preferred_node_of_others() -> None:
    yard = Yard()
    yard.add(PRIVATE, EN_ES)
    assert yard.place(preferred_node="node-0")[0] == 1


def test_an_override_sends_a_tenant_to_its_pool() -> None:
    config = PoolsConfig(
        pools=(
            PoolConfig(id=1, name="first", required_services=("nmt",)),
            PoolConfig(id=2, name="second", required_services=("nmt", "tts")),
        ),
        tenant_overrides=(("acme", 2),),
    )
    yard = Yard(config)
    yard.add(speech_class("en", "es", types=("nmt",)), EN_ES, slots=4)
    yard.own_client()
    assert told(yard)[1].session_decision == "first"
    client = yard.harness.open_session(tenant="acme")
    assert [yard.run(client) for _ in range(3)] == [1, 1, 1]
