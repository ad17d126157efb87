"""Bytes of pages: one encoder and one decoder per kind of page.

Bytes that a reader got from shared memory are checked like bytes from a network: a page that does
not decode, or whose numbers leave their bounds, is a SnapshotCorrupt and changes nothing.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from pointsman_shm.memory.catalog_layout import (
    CLASS_COUNT_MAX,
    CLASSES_PER_PAGE,
    ROWS_PER_NODE_PAGE,
)
from pointsman_shm.rules.pools import PoolMode
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    ClassPage,
    ConfigPage,
    MarkRecord,
    MarksPage,
    NodePage,
    NodeRecord,
    PolicyPage,
    PoolsPage,
)

# One entry per row of the page, None where no node is.
DenseNodePage = tuple[NodeRecord | None, ...]

EMPTY_NODE_PAGE: DenseNodePage = (None,) * ROWS_PER_NODE_PAGE

Page = TypeVar("Page")

_encoder = msgspec.msgpack.Encoder()
_node_page = msgspec.msgpack.Decoder(tuple[NodeRecord, ...])
_class_page = msgspec.msgpack.Decoder(ClassPage)
_pools_page = msgspec.msgpack.Decoder(PoolsPage)
_config_page = msgspec.msgpack.Decoder(ConfigPage)
_marks_page = msgspec.msgpack.Decoder(tuple[MarkRecord, ...])
_policy_page = msgspec.msgpack.Decoder(PolicyPage)


class SnapshotCorrupt(Exception):
    """A page of the catalog holds what no publisher writes; keep the last good snapshot."""


def encode_record(record: NodeRecord | CapabilityClass) -> bytes:
    """Bytes of one record: to be measured against NODE_ or CLASS_RECORD_SIZE_MAX."""
    return _encoder.encode(record)


def encode_nodes(records: Iterable[NodeRecord]) -> bytes:
    """Bytes of a node page."""
    return _encoder.encode(tuple(records))


def encode_classes(first: int, classes: Iterable[CapabilityClass]) -> bytes:
    """Bytes of the class page that begins with class number `first`."""
    return _encoder.encode(ClassPage(first=first, classes=tuple(classes)))


def encode_pools(page: PoolsPage) -> bytes:
    """Bytes of the pools page."""
    return _encoder.encode(page)


def encode_config(page: ConfigPage) -> bytes:
    """Bytes of the config page."""
    return _encoder.encode(page)


def encode_marks(marks: Iterable[MarkRecord]) -> bytes:
    """Bytes of the marks page."""
    return _encoder.encode(tuple(marks))


def encode_policy(page: PolicyPage) -> bytes:
    """Bytes of the policy page."""
    return _encoder.encode(page)


def decode_nodes(payload: bytes, first_row: int, max_nodes: int) -> DenseNodePage:
    """Decode the node page whose first row is `first_row`, one entry per row."""
    records: NodePage = _decode(_node_page, payload, "node")
    page: list[NodeRecord | None] = [None] * ROWS_PER_NODE_PAGE
    if not records:
        return EMPTY_NODE_PAGE
    last_row = min(first_row + ROWS_PER_NODE_PAGE, max_nodes) - 1
    _check_bounds("row", [record.row for record in records], first_row, last_row)
    _check_bounds("class", [record.class_number for record in records], 0, CLASS_COUNT_MAX - 1)
    for record in records:
        pools = record.pools
        if pools and (min(pools) < 0 or (len(pools) > 1 and len(set(pools)) != len(pools))):
            raise SnapshotCorrupt(f"row {record.row} names a pool twice or below 0")
        page[record.row - first_row] = record
    return tuple(page)


def _check_bounds(what: str, numbers: list[int], first: int, last: int) -> None:
    if min(numbers) < first or max(numbers) > last:
        raise SnapshotCorrupt(f"a node page has a {what} outside {first} to {last}")


def decode_classes(payload: bytes, first: int) -> tuple[CapabilityClass, ...]:
    """Decode the class page that begins with class number `first`."""
    page = _decode(_class_page, payload, "class")
    if page.first != first or len(page.classes) > CLASSES_PER_PAGE:
        raise SnapshotCorrupt(f"class page of {first} says {page.first}, {len(page.classes)}")
    return page.classes


def decode_pools(payload: bytes) -> PoolsPage:
    """Decode the pools page."""
    page = _decode(_pools_page, payload, "pools")
    if page.mode not in tuple(PoolMode):
        raise SnapshotCorrupt(f"pool mode {page.mode[:16]!r}")
    for pool in page.pools:
        for number, online, ready in pool.classes:
            if ready > online:
                raise SnapshotCorrupt(f"pool {pool.id} counts class {number}: {online}, {ready}")
    return page


def decode_config(payload: bytes) -> ConfigPage:
    """Decode the config page."""
    return _decode(_config_page, payload, "config")


def decode_marks(payload: bytes) -> MarksPage:
    """Decode the marks page."""
    return _decode(_marks_page, payload, "marks")


def decode_policy(payload: bytes) -> PolicyPage:
    """Decode the policy page."""
    return _decode(_policy_page, payload, "policy")


def _decode(decoder: msgspec.msgpack.Decoder[Page], payload: bytes, kind: str) -> Page:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise SnapshotCorrupt(f"{kind} page: {error}") from error
