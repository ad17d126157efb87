"""What instances tell each other of themselves and their nodes, and how it is read.

An instance shows its own nodes as *pages* of 64 rows, each in two parts: `records` (who the nodes
are and what they can do, seldom new) and `words` (state and load, often new).  Its presence names
the version of every page, so whoever follows reads what is new and nothing else, whether it
has just come, has missed something, or follows all the time: there is no history to lose.

    presence   Presence, msgpack; holds the versions of all pages
    records    RecordsPage, msgpack
    words      word_count pairs of u64, little endian: standing and load as in the rows of shared
               memory, except that generation and class are 0 and `foreign` counts all that runs;
               before them the version of the records page whose order they follow

What comes from elsewhere is checked like what comes from a network, and is refused whole.
"""

import struct
from typing import Annotated

import msgspec

from pointsman_sched.core.joining.revocations import TOLD_MAX, RevokedTold
from pointsman_shm.config import InstanceName
from pointsman_shm.memory.rows import (
    PERCENT_UNKNOWN,
    Load,
    NodeState,
    RowFlag,
    Standing,
    pack_load,
    pack_standing,
    unpack_load,
    unpack_standing,
)
from pointsman_shm.rules.canonical import canonical_class
from pointsman_shm.snapshot.records import CLASS_RECORD_SIZE_MAX, CapabilityClass
from pointsman_wire.control_messages import ValidNodeId
from pointsman_wire.messages import WorkerCount

ROWS_PER_SHOWN_PAGE = 64
# Of 64 rows, for a fleet of 1,000,000 nodes.
PAGE_COUNT_MAX = 15_626
ADDRESSES_MAX = 8
TENANTS_MAX = 256
# What one part may take: 64 classes of the largest size and as many records.
PART_BYTES_MAX = 256 * 1024
PRESENCE_BYTES_MAX = 1024 * 1024
KEY_HASH_BYTES = 64

Version = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Text = Annotated[str, msgspec.Meta(max_length=128)]
KeyHash = Annotated[bytes, msgspec.Meta(max_length=KEY_HASH_BYTES)]
# Told by states that others need; a node that is Free is not told at all.
TOLD_FLAGS = RowFlag.PUBLIC | RowFlag.PAUSED | RowFlag.GPU | RowFlag.OVERLOADED

_encode = msgspec.msgpack.Encoder().encode


class Untrue(Exception):
    """What another instance told cannot be: it is not taken, the last good word stands."""


class PageVersions(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which version of each part of a page stands; 0: the page was never shown."""

    records: Version
    words: Version


class TenantShare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of a listed tenant with a rate: jobs asked for a second here, and the rate claimed."""

    tenant: Annotated[str, msgspec.Meta(max_length=128)]
    asked_per_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    claimed_per_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Presence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An instance lives: who it is, and what it shows.  `count` goes up each time it is told."""

    name: InstanceName
    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    count: Version
    worker_count: WorkerCount
    software: Text
    addresses: Annotated[tuple[Text, ...], msgspec.Meta(max_length=ADDRESSES_MAX)]
    node_count: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    # Of the fleet's settings that are in force there, 0 while it has only its own file's.
    settings_version: Version
    pages: Annotated[tuple[PageVersions, ...], msgspec.Meta(max_length=PAGE_COUNT_MAX)]
    shares: Annotated[tuple[TenantShare, ...], msgspec.Meta(max_length=TENANTS_MAX)]
    # Its last word: the service stops.
    is_leaving: bool = False
    # The latest that were revoked there.
    revoked: Annotated[tuple[RevokedTold, ...], msgspec.Meta(max_length=TOLD_MAX)] = ()
    # The same as `addresses`, for those who speak TLS.
    tls_addresses: Annotated[tuple[Text, ...], msgspec.Meta(max_length=ADDRESSES_MAX)] = ()


class NodeTold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One node: its place in the page, what it is, and whose key proves its id."""

    place: Annotated[int, msgspec.Meta(ge=0, lt=ROWS_PER_SHOWN_PAGE)]
    node_id: Annotated[ValidNodeId, msgspec.Meta(min_length=1)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    class_index: Annotated[int, msgspec.Meta(ge=0, lt=ROWS_PER_SHOWN_PAGE)]
    slots_max: Annotated[int, msgspec.Meta(ge=0, le=4_096)]
    key_hash: KeyHash


class RecordsPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The nodes of one page and the classes that they name; of which instance, page, version."""

    name: InstanceName
    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    page: Annotated[int, msgspec.Meta(ge=0, lt=PAGE_COUNT_MAX)]
    version: Version
    classes: Annotated[tuple[CapabilityClass, ...], msgspec.Meta(max_length=ROWS_PER_SHOWN_PAGE)]
    nodes: Annotated[tuple[NodeTold, ...], msgspec.Meta(max_length=ROWS_PER_SHOWN_PAGE)]


class WordsPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State and load of the nodes of one page, in the order of its records."""

    name: InstanceName
    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    page: Annotated[int, msgspec.Meta(ge=0, lt=PAGE_COUNT_MAX)]
    version: Version
    records_version: Version
    words: Annotated[bytes, msgspec.Meta(max_length=16 * ROWS_PER_SHOWN_PAGE)]


class NodeWords(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State and load of one node, as its own instance sees it; running counts every job."""

    state: NodeState
    flags: RowFlag
    slots_max: int
    load: Load


_decode_presence = msgspec.msgpack.Decoder(Presence).decode
_decode_records = msgspec.msgpack.Decoder(RecordsPage).decode
_decode_words = msgspec.msgpack.Decoder(WordsPage).decode
_TROUBLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def encode(part: Presence | RecordsPage | WordsPage) -> bytes:
    """Return the bytes of one part."""
    return _encode(part)


def read_presence(blob: bytes, name: str) -> Presence:
    """Read what stands under an instance's name; raises Untrue."""
    if len(blob) > PRESENCE_BYTES_MAX:
        raise Untrue(f"presence of {name}: {len(blob)} bytes")
    try:
        presence = _decode_presence(blob)
    except _TROUBLE as error:
        raise Untrue(f"presence of {name}: {error}") from error
    if presence.name != name:
        raise Untrue(f"presence of {name} speaks of {presence.name}")
    return presence


def read_records(blob: bytes) -> RecordsPage:
    """Read a page of nodes; raises Untrue if anything in it cannot be."""
    if len(blob) > PART_BYTES_MAX:
        raise Untrue(f"a page of nodes of {len(blob)} bytes")
    try:
        page = _decode_records(blob)
    except _TROUBLE as error:
        raise Untrue(f"a page of nodes: {error}") from error
    places = {node.place for node in page.nodes}
    ids = {node.node_id for node in page.nodes}
    if len(places) < len(page.nodes) or len(ids) < len(page.nodes):
        raise Untrue(f"page {page.page} of {page.name} has a node or a place twice")
    for node in page.nodes:
        if node.class_index >= len(page.classes):
            raise Untrue(f"{node.node_id} of {page.name} names a class that is not told")
    for capability in page.classes:
        _check_class(capability, page.name)
    return page


def _check_class(capability: CapabilityClass, name: str) -> None:
    """Only what an instance would publish: of canonical form, and of a size that fits its page."""
    if len(_encode(capability)) > CLASS_RECORD_SIZE_MAX:
        raise Untrue(f"a capability of {name} is larger than {CLASS_RECORD_SIZE_MAX} bytes")
    try:
        canonical = canonical_class(capability)
    except ValueError as error:
        raise Untrue(f"a capability of {name}: {error}") from error
    if canonical != capability:
        raise Untrue(f"a capability of {name} is not in canonical form")


def read_words(blob: bytes) -> tuple[WordsPage, tuple[NodeWords, ...]]:
    """Read states and loads; raises Untrue if one of them cannot be."""
    if len(blob) > PART_BYTES_MAX:
        raise Untrue(f"a page of words of {len(blob)} bytes")
    try:
        page = _decode_words(blob)
    except _TROUBLE as error:
        raise Untrue(f"a page of words: {error}") from error
    if len(page.words) % 16:
        raise Untrue(f"page {page.page} of {page.name} holds half a word")
    try:
        return page, tuple(_node_words(*pair) for pair in struct.iter_unpack("<QQ", page.words))
    except ValueError as error:
        raise Untrue(f"page {page.page} of {page.name}: {error}") from error


def _node_words(standing: int, load: int) -> NodeWords:
    shown = unpack_standing(standing)
    told = unpack_load(load)
    for percent in told[:4]:
        if 100 < percent < PERCENT_UNKNOWN:
            raise ValueError(f"a load of {percent} %")
    if shown.state is NodeState.FREE or shown.slots_max > 4_096:
        raise ValueError(f"a node that is {shown.state.name} with {shown.slots_max} slots")
    return NodeWords(shown.state, shown.flags & TOLD_FLAGS, shown.slots_max, told)


def pack_words(shown: Standing, load: Load, running: int) -> bytes:
    """Return the two words of one node."""
    standing = pack_standing(
        generation=0,
        class_number=0,
        state=shown.state,
        flags=shown.flags & TOLD_FLAGS,
        slots_max=shown.slots_max,
    )
    told = pack_load(
        cpu=load.cpu,
        gpu=load.gpu,
        gpu_memory=load.gpu_memory,
        memory=load.memory,
        foreign=running,
    )
    return struct.pack("<QQ", standing, told)
