"""The catalog on a machine that makes stores visible in any order, and the test of that test (S1).

Real hardware of ours keeps stores in order, so running shows nothing.  Here the stores of one
publish are recorded, and a reader looks at memory in which any subset of them has arrived.  What it
accepts must be the old or the new version.  With the checksum switched off the same search must
find a reader that accepts a mixture: else it would prove nothing.
"""

from collections.abc import Iterator
from itertools import combinations

import pytest

from pointsman_shm.memory import catalog_slots
from pointsman_shm.memory.catalog_layout import BEAT, VERSION, CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter

LAYOUT = CatalogLayout(1)
VERSIONS = {
    1: {0: b"first page, version one", 1: b"second page, one"},
    2: {0: b"first page, version two", 1: b"second page, two"},
    3: {0: b"first page, version 333", 1: b"second page, 333"},
}
Store = tuple[int, bytes]


class Recorder:
    """Takes the place of the writer's bytes or words: stores pass through and are written down."""

    def __init__(self, target: memoryview, item_size: int, stores: list[Store]) -> None:
        self._target = target
        self._item_size = item_size
        self._stores = stores

    def __getitem__(self, index: int) -> int:
        item: int = self._target[index]
        return item

    def __setitem__(self, index: int | slice, value: int | bytes) -> None:
        if isinstance(index, slice):
            assert isinstance(value, bytes)
            self._stores.append((index.start, value))
            self._target[index] = value
        else:
            assert isinstance(value, int)
            self._stores.append((index * self._item_size, value.to_bytes(8, "little")))
            self._target[index] = value


def recorded_publish(versions_before: int = 2) -> tuple[bytearray, list[Store]]:
    """Return memory with versions 1 and 2 in it, and the stores of publishing version 3.

    With more before, the same pages by turns.
    """
    memory = bytearray(LAYOUT.size)
    writer = CatalogWriter(memory, LAYOUT, create=True)
    for number in range(versions_before):
        writer.publish(VERSIONS[1 + number % 2], 1 + number)
    before = bytearray(memory)
    stores: list[Store] = []
    view = memoryview(memory)
    writer._view = Recorder(view, 1, stores)  # type: ignore[assignment]
    writer._words = Recorder(view.cast("Q"), 8, stores)  # type: ignore[assignment]
    writer.publish(VERSIONS[3], 1 + versions_before)
    return before, [(at, value) for at, value in stores if memory_changes(before, at, value)]


def memory_changes(memory: bytearray, at: int, value: bytes) -> bool:
    return memory[at : at + len(value)] != value


def accepted(
    memory: bytearray, arrived: tuple[Store, ...], draft: bool
) -> tuple[int, dict[int, bytes]]:
    """Return what a reader is handed when only these stores have arrived, then undo them."""
    reader = CatalogReader(memory, LAYOUT)
    if draft:
        reader.refresh()
    undo = [(at, bytes(memory[at : at + len(value)])) for at, value in arrived]
    for at, value in arrived:
        memory[at : at + len(value)] = value
    pages = reader.refresh()
    for at, value in reversed(undo):
        memory[at : at + len(value)] = value
    return (reader.version, pages) if pages is not None else (0, {})


def mixtures(*, draft: bool) -> Iterator[dict[int, bytes]]:
    """Yield everything that a reader accepts and that is no version, over all subsets."""
    memory, stores = recorded_publish()
    assert 10 <= len(stores) <= 24
    for missing_count in (0, 1, 2, 3):
        for missing in combinations(range(len(stores)), missing_count):
            arrived = tuple(s for number, s in enumerate(stores) if number not in missing)
            version, pages = accepted(memory, arrived, draft)
            if pages and pages != VERSIONS[version]:
                yield pages
            # And the complement: only these few have arrived.
            version, pages = accepted(memory, tuple(stores[n] for n in missing), draft)
            if pages and pages != VERSIONS[version]:
                yield pages


@pytest.mark.parametrize("draft", [False, True], ids=["fresh", "with the version before"])
def test_s1_stores_that_arrive_in_any_order_never_make_a_mixture(draft: bool) -> None:
    assert next(mixtures(draft=draft), None) is None


def test_s1_the_whole_publish_is_accepted() -> None:
    memory, stores = recorded_publish()
    assert accepted(memory, (), draft=False) == (2, VERSIONS[2])
    assert accepted(memory, tuple(stores), draft=False) == (3, VERSIONS[3])
    assert accepted(memory, tuple(stores), draft=True) == (3, VERSIONS[3])


def test_s1_the_version_follows_what_it_names_and_is_never_seen_half_stored() -> None:
    """From 255 to 256 two bytes of the word change; there is no moment with one of them."""
    memory, stores = recorded_publish(versions_before=255)
    seen = []
    for at, value in stores:
        memory[at : at + len(value)] = value
        seen.append(memoryview(memory).cast("Q")[VERSION])
    assert set(seen) == {255, 256}
    assert seen == sorted(seen)
    assert {at for at, _ in stores[seen.index(256) + 1 :]} == {8 * BEAT}


def test_s1_without_the_checksum_the_same_search_finds_a_mixture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Anything(int):
        """What a switched-off check compares: equal to all."""

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    monkeypatch.setattr(catalog_slots, "crc32", lambda content: Anything())
    assert next(mixtures(draft=True), None) is not None
