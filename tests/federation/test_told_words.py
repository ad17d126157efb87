"""What instances tell each other is judged like what a network brings (D2)."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_sched.core.federation.told import (
    NodeTold,
    PageVersions,
    Presence,
    RecordsPage,
    Untrue,
    WordsPage,
    encode,
    pack_words,
    read_presence,
    read_records,
    read_words,
)
from pointsman_shm.memory.rows import Load, NodeState, RowFlag, Standing, pack_load, pack_standing
from pointsman_shm.snapshot.records import CapabilityClass

NODE = NodeTold(place=0, node_id="n1", epoch=3, class_index=0, slots_max=4, key_hash=b"k")
PAGE = RecordsPage(
    name="a", uid="u", page=0, version=7, classes=(CapabilityClass(types_ready=("nmt",)),),
    nodes=(NODE,),
)  # fmt: skip
PRESENCE = Presence(
    name="a", uid="u", count=9, worker_count=2, software="1", addresses=(), node_count=1,
    settings_version=0, pages=(PageVersions(7, 8),), shares=(),
)  # fmt: skip
READY = Standing(1, 1, NodeState.READY, RowFlag.PUBLIC | RowFlag.STALE, 4)
LOAD = Load(cpu=10, gpu=255, gpu_memory=255, memory=50, foreign=0)


def words_page(words: bytes) -> bytes:
    page = WordsPage(name="a", uid="u", page=0, version=1, records_version=7, words=words)
    return encode(page)


def test_what_is_told_is_read_as_it_was() -> None:
    assert read_presence(encode(PRESENCE), "a") == PRESENCE
    assert read_records(encode(PAGE)) == PAGE
    _, (node,) = read_words(words_page(pack_words(READY, LOAD, running=3)))
    assert (node.state, node.slots_max, node.load.foreign) == (NodeState.READY, 4, 3)
    assert node.flags == RowFlag.PUBLIC, "only flags that others need are told"


@pytest.mark.parametrize(
    "page",
    [
        msgspec.structs.replace(PAGE, nodes=(NODE, NODE)),
        msgspec.structs.replace(PAGE, nodes=(msgspec.structs.replace(NODE, class_index=1),)),
        msgspec.structs.replace(PAGE, nodes=(msgspec.structs.replace(NODE, node_id="a b"),)),
        msgspec.structs.replace(PAGE, nodes=(msgspec.structs.replace(NODE, node_id=""),)),
        msgspec.structs.replace(PAGE, nodes=(msgspec.structs.replace(NODE, slots_max=5_000),)),
        msgspec.structs.replace(PAGE, nodes=(msgspec.structs.replace(NODE, place=64),)),
        msgspec.structs.replace(PAGE, nodes=(msgspec.structs.replace(NODE, epoch=-1),)),
        msgspec.structs.replace(PAGE, name="Not A Name"),
        msgspec.structs.replace(PAGE, classes=(CapabilityClass(types_ready=("nmt", "asr")),)),
        msgspec.structs.replace(PAGE, classes=(CapabilityClass(features=("x" * 3_000,)),)),
    ],
)
def test_a_page_of_nodes_that_cannot_be_is_refused_whole(page: RecordsPage) -> None:
    with pytest.raises(Untrue):
        read_records(encode(page))


@pytest.mark.parametrize(
    "words",
    [
        b"\x00" * 15,
        pack_words(READY._replace(state=NodeState.FREE), LOAD, running=0),
        pack_words(READY._replace(slots_max=5_000), LOAD, running=0),
        pack_words(READY, LOAD._replace(cpu=101), running=0),
        b"\xff" * 16,
    ],
)
def test_words_that_cannot_be_are_refused(words: bytes) -> None:
    with pytest.raises(Untrue):
        read_words(words_page(words))


def test_a_presence_under_another_name_is_refused() -> None:
    with pytest.raises(Untrue, match="speaks of a"):
        read_presence(encode(PRESENCE), "b")


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    for read in (read_records, read_words, lambda blob: read_presence(blob, "a")):
        with pytest.raises(Untrue, match="bytes"):
            read(b"\x00" * 2_000_000)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=400))
def test_any_bytes_are_read_or_refused_and_nothing_else(noise: bytes, at: int) -> None:
    wholes = encode(PRESENCE), encode(PAGE), words_page(pack_words(READY, LOAD, running=1))
    blobs = [noise, *(whole[:at] + noise + whole[at:] for whole in wholes)]
    for read, blob in product((read_records, read_words, _read_presence_of_a), blobs):
        try:
            read(blob)
        except Untrue:
            continue


def _read_presence_of_a(blob: bytes) -> object:
    return read_presence(blob, "a")


def test_words_hold_what_rows_hold() -> None:
    words = pack_words(READY, LOAD, running=5)
    standing = pack_standing(
        generation=0, class_number=0, state=READY.state, flags=RowFlag.PUBLIC, slots_max=4
    )
    load = pack_load(cpu=10, gpu=255, gpu_memory=255, memory=50, foreign=5)
    assert words == standing.to_bytes(8, "little") + load.to_bytes(8, "little")
