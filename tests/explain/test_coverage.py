"""Coverage: who can do what, counted by hand here and by the pure function there."""

from itertools import product

import pytest
from fleet_samples import speech_class
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from placement.fleets import classes
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.rules import coverage
from pointsman_shm.rules.coverage import Stock, Wanted, cover
from pointsman_shm.rules.eligibility import usable_types
from pointsman_shm.rules.languages import language_failure
from pointsman_shm.snapshot.records import CapabilityClass, Requirement
from pointsman_wire.queries.explain_messages import Coverage, CoverageQuery

PIPELINE = ("asr", "nmt", "tts")
LANGUAGES = ("", "de", "en", "es", "fr", "ja", "zh")
Row = tuple[str, str, str, str, str]  # service, source, target, feature, tenant


def by_hand(stocks: list[Stock]) -> dict[Row, int]:
    """Nodes for each kind of work, by trying everything."""
    kinds = [(name,) for name in ("asr", "nmt", "tts", "tone", "semantic")] + [PIPELINE]
    tenants = {"", *(s.capability.tenant for s in stocks if not s.capability.public)}
    features = {"", *(name for s in stocks for name in s.capability.features)}
    counts: dict[Row, int] = {}
    for types, src, tgt, feature, tenant in product(kinds, LANGUAGES, LANGUAGES, features, tenants):
        able = [s for s in stocks if is_able(s.capability, types, (src, tgt), feature)]
        own = [s for s in able if not s.capability.public and s.capability.tenant == tenant]
        public = [s for s in able if s.capability.public]
        nodes = sum(s.nodes for s in public + own)
        if nodes and (own or not tenant):
            counts["+".join(types), src, tgt, feature, tenant] = nodes
    return counts


def is_able(
    capability: CapabilityClass, types: tuple[str, ...], pair: tuple[str, str], feature: str
) -> bool:
    src, tgt = pair
    if not set(types) <= set(usable_types(capability)):
        return False
    if feature and feature not in capability.features:
        return False
    has_source = bool({"asr", "nmt"} & set(types)) or types == ("semantic",)
    has_target = bool({"tts", "nmt"} & set(types))
    if bool(src) != has_source or bool(tgt) != has_target or ("nmt" in types and src == tgt):
        return False
    requirement = Requirement(types=types, src=src, tgt=tgt)
    return language_failure(capability.languages, requirement) is None


@given(st.lists(classes(), min_size=1, max_size=4, unique=True), st.integers(1, 3))
def test_every_kind_of_work_is_counted_as_trying_everything_counts_it(
    kinds: list[CapabilityClass], nodes: int
) -> None:
    stocks = [Stock(kind, nodes, 4 * nodes, nodes, f"node-{n}") for n, kind in enumerate(kinds)]
    lines, is_truncated = cover(stocks, PIPELINE, Wanted())
    assert not is_truncated
    found = {line[:5]: line.nodes for line in lines}
    assert len(found) == len(lines)
    assert found == by_hand(stocks)
    for line in lines:
        assert (line.slots, line.free) == (4 * line.nodes, line.nodes)
        assert bool(line.node_id) == (line.nodes == 1)


def test_filters_leave_what_they_name() -> None:
    stocks = [Stock(speech_class("en", "es", "fr"), 2, 4, 4, "a")]
    every, _ = cover(stocks, PIPELINE, Wanted())
    for wanted, index in ((Wanted(service="nmt"), 0), (Wanted(src="en"), 1), (Wanted(tgt="fr"), 2)):
        value = {0: "nmt", 1: "en", 2: "fr"}[index]
        lines, _ = cover(stocks, PIPELINE, wanted)
        assert lines == [line for line in every if line[index] == value]


def test_a_tenant_sees_its_own_nodes_beside_those_that_are_open_to_all() -> None:
    own = replace(speech_class("en", "es", "fr"), public=False, tenant="acme")
    other = replace(own, tenant="other")
    stocks = [
        Stock(speech_class("en", "es"), 2, 4, 4, "a"),
        Stock(own, 1, 3, 1, "b"),
        Stock(other, 7, 7, 7, "c"),
    ]
    lines, _ = cover(stocks, PIPELINE, Wanted(tenant="acme", service="nmt"))
    found = {(line.src, line.tgt): (line.tenant, line.nodes, line.node_id) for line in lines}
    assert found["en", "es"] == ("acme", 3, "")
    assert found["en", "fr"] == ("acme", 1, "b")
    lines, _ = cover(stocks, PIPELINE, Wanted(tenant="third", service="nmt"))
    assert {(line.src, line.tgt) for line in lines} == {("en", "es"), ("es", "en")}


def test_counting_is_bounded_and_says_when_it_left_something_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coverage, "ADDITIONS_MAX", 50)
    many = speech_class(*[f"l{number}" for number in range(20)])
    lines, is_truncated = cover([Stock(many, 1, 1, 1, "a")], PIPELINE, Wanted())
    assert is_truncated
    assert len(lines) == 50
    lines, is_truncated = cover([Stock(many, 1, 1, 1, "a")], PIPELINE, Wanted(src="l1", tgt="l2"))
    assert not is_truncated
    assert {line.service for line in lines} == {"nmt", "asr+nmt+tts"}
    monkeypatch.setattr(coverage, "LOOKS_MAX", 30)
    _, is_truncated = cover([Stock(many, 1, 1, 1, "a")], PIPELINE, Wanted(service="nmt"))
    assert is_truncated


# ---- through a worker


def asked(harness: WorkerHarness, query: CoverageQuery) -> Coverage:
    answer = harness.core.answer(query)
    assert isinstance(answer, Coverage)
    return answer


def test_live_nodes_and_free_slots_are_counted_from_the_words_as_they_are() -> None:
    host = Host(Config())
    for row in range(4):
        host.node(row, slots=2)
    host.node(4, speech_class("en", "ja"), slots=3)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    for row in range(5):
        harness.open_lane(row)
    host.stand(0, state=NodeState.SUSPECT)
    host.stand(1, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    harness.open_session("s").submit("r-1")
    answer = asked(harness, CoverageQuery(service="nmt"))
    lines = {(line.src_lang, line.tgt_lang): line for line in answer.lines}
    assert set(lines) == {("en", "es"), ("es", "en"), ("en", "ja"), ("ja", "en")}
    spanish, japanese = lines["en", "es"], lines["en", "ja"]
    assert (spanish.nodes, spanish.slots, spanish.free, spanish.node_id) == (2, 4, 3, "")
    assert (japanese.nodes, japanese.slots, japanese.free) == (1, 3, 3)
    assert japanese.node_id == "node-4"
    assert (answer.total, answer.single, answer.more) == (4, 2, False)


def test_languages_are_asked_for_as_a_job_would_name_them_and_auto_is_any_source() -> None:
    host = Host(Config())
    host.node(0, speech_class("zh", "en"))
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    every = asked(harness, CoverageQuery(service="nmt", tgt_lang="en"))
    assert [line.src_lang for line in every.lines] == ["zh"]
    for src, tgt in (("zh-CN", "en-US"), ("ZH", "EN"), ("auto", "en")):
        answer = asked(harness, CoverageQuery(service="nmt", src_lang=src, tgt_lang=tgt))
        assert answer.lines == every.lines, (src, tgt)


def test_what_hangs_on_a_single_node_is_listed_and_pages_follow_each_other() -> None:
    host = Host(Config())
    host.node(0)
    host.node(1)
    host.node(2, speech_class("en", "ja"))
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    single = asked(harness, CoverageQuery(nodes_max=1))
    assert {line.node_id for line in single.lines} == {"node-2"}
    assert single.total == single.single == len(single.lines)
    every = asked(harness, CoverageQuery())
    pages = [asked(harness, CoverageQuery(limit=3, offset=at)) for at in range(0, every.total, 3)]
    assert [line for page in pages for line in page.lines] == every.lines
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
