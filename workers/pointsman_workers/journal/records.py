"""Bytes of a journal segment: a header, then records; what is whole, torn, or damaged.

      header, 96 bytes                       record
    +----+--------------+-----+            +----+----------+------------------------------------+
    |  0 | magic        | 8   |            |  0 | marker   | the segment's, no byte of it is 0  |
    |  8 | format       | u32 |            |  4 | length   | of the body, with flags on top     |
    | 12 | shard        | u32 |            |  8 | synced   | so much of this segment was on the |
    | 16 | worker_count | u32 |            |    |          | disk itself when this was written  |
    | 20 | marker       | u32 |            | 12 | crc      | of the 12 bytes before             |
    | 24 | instance_uid | 32  |            | 16 | body     | msgpack array of entries           |
    | 56 | epoch        | u64 |            |    | crc      | of the body, begun with the crc at |
    | 64 | segment      | u64 |            |    |          | 12, u32                            |
    | 72 | previous     | u64 |            |    | end      | one byte, never 0                  |
    | 80 | boot         | u64 |            +----+----------+------------------------------------+
    | 88 | 0            | u32 |
    | 92 | crc          | u32 |            little-endian; the room behind the last record is 0
    +----+--------------+-----+

A record holds the entries of one turn.  A turn too large for one is written in several (flags MORE
and CONTINUES) and counts once its last one is there: so it is there whole or not at all.

What a reader finds that is no record is one of three things, and which one is not guessed:

Torn.  A process that dies while it writes leaves a beginning of what it wrote, and behind it the
zeros of room that was only allocated.  A record ends in a byte that is not 0, so a beginning is
known by zeros that reach over its end; its own header has a crc, so where that end is can be
trusted.  This can be in the last segment only, behind its last record.  Nobody was told of that
turn: it is cut off silently.

Cut by a power loss.  The kernel writes pages in any order, so what was not synced may have holes
of zeros with records behind them.  Nothing else makes holes, therefore: the machine booted anew
since the segment was begun, no record says that the place had been synced, and a whole sector of
the bad stretch is 0.  Durability `journal` promises nothing for it; the journal ends there.

Damaged.  Everything else: a flipped bit anywhere in a record, also in the last; a segment that
ends before the place that its successor's header names (`previous`), or is missing; a bad header.
Further records are found by the segment's marker, a random number, together with both crcs, so
what a client puts into a payload cannot pass for a record.
"""

import struct
from collections.abc import Callable
from zlib import crc32

import msgspec

MAGIC = b"PMJOURNL"
FORMAT = 1
HEADER_BYTES = 96
RECORD_HEAD_BYTES = 16
RECORD_TAIL_BYTES = 5
RECORD_BYTES_MIN = RECORD_HEAD_BYTES + RECORD_TAIL_BYTES
SECTOR_BYTES = 512
END = 0xA5

MORE = 1 << 31  # the turn goes on in the next record
CONTINUES = 1 << 30  # this is not the first record of its turn
VOID = 1 << 29  # nothing: a damaged stretch that the operator gave up
BODY_BYTES_MAX = VOID - 1

_HEADER = struct.Struct("<8sIIII32sQQQQI")
_HEAD = struct.Struct("<III")
_U32 = struct.Struct("<I")
_TAIL = struct.Struct("<IB")
# For every record that is written: to find a method on its struct costs a look-up.
_pack_head, _pack_word, _pack_tail = _HEAD.pack, _U32.pack, _TAIL.pack


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Whose segment it is and which one."""

    instance_uid: str  # at most 32 bytes
    shard: int
    worker_count: int
    epoch: int
    segment: int
    previous_bytes: int  # the segment before is whole up to here; 0: there is none, or it is gone
    boot: int  # boot_hash of the machine when it was begun
    marker: int


class HeaderDamaged(Exception):
    """What stands where a header should be is none; the text says why."""


class FormatUnknown(Exception):
    """A segment of another version of this program; the text names both formats."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """Where a record's body stands, and what its header says."""

    begin: int
    body_begin: int
    body_end: int
    flags: int
    synced: int

    @property
    def end(self) -> int:
        """Return where the next record begins."""
        return self.body_end + RECORD_TAIL_BYTES


class Gap(msgspec.Struct, frozen=True):
    """A damaged stretch."""

    begin: int
    end: int
    has_hole: bool  # a whole sector of it is 0
    follow: int  # records behind it in this segment


class Scan(msgspec.Struct, frozen=True):
    """What a segment holds."""

    records: list[Record]
    gaps: list[Gap]
    end: int  # behind the last record
    is_torn: bool  # something was begun there and not finished
    synced: int  # the highest that a record says


def new_marker(entropy: Callable[[int], bytes]) -> int:
    """Return a random marker; no byte of it is 0, so a begun one is never taken for zeros."""
    return int.from_bytes(bytes(1 + byte % 255 for byte in entropy(4)), "little")


def encode_header(header: SegmentHeader) -> bytes:
    """Return the 96 bytes of a header."""
    uid = header.instance_uid.encode("ascii")
    assert len(uid) <= 32, header
    head = _HEADER.pack(
        MAGIC,
        FORMAT,
        header.shard,
        header.worker_count,
        header.marker,
        uid,
        header.epoch,
        header.segment,
        header.previous_bytes,
        header.boot,
        0,
    )
    return head + _U32.pack(crc32(head))


def decode_header(data: bytes) -> SegmentHeader:
    """Read a header.  Raises HeaderDamaged, or FormatUnknown for one of another version."""
    if len(data) < HEADER_BYTES:
        raise HeaderDamaged(f"it has {len(data)} bytes, a header {HEADER_BYTES}")
    (magic, form, shard, count, marker, uid, epoch, segment, previous, boot, _) = (
        _HEADER.unpack_from(data)
    )
    if magic != MAGIC:
        raise HeaderDamaged("its header does not begin as that of a journal")
    if crc32(data[: _HEADER.size]) != _U32.unpack_from(data, _HEADER.size)[0]:
        raise HeaderDamaged("the checksum of its header does not fit")
    if form != FORMAT:
        raise FormatUnknown(f"it has format {form}, this version reads and writes {FORMAT}")
    return SegmentHeader(
        instance_uid=uid.rstrip(b"\0").decode("ascii", "replace"),
        shard=shard,
        worker_count=count,
        epoch=epoch,
        segment=segment,
        previous_bytes=previous,
        boot=boot,
        marker=marker,
    )


def frame_record(body: bytes | bytearray, marker: int, flags: int, synced: int) -> bytes:
    """Return the record of a body, which is RECORD_BYTES_MIN longer."""
    length = len(body)
    assert length <= BODY_BYTES_MAX, length
    head = _pack_head(marker, length | flags, synced)
    head_crc = crc32(head)
    return b"".join((head, _pack_word(head_crc), body, _pack_tail(crc32(body, head_crc), END)))


def void_record(size: int, marker: int) -> bytes:
    """Return a record of `size` bytes that says nothing, to stand over a damaged stretch."""
    return frame_record(bytes(size - RECORD_BYTES_MIN), marker, VOID, 0)


def read_records(data: bytes, begin: int, limit: int, marker: int) -> list[Record]:
    """Return the records that follow one another from here on, up to the first that is none."""
    records: list[Record] = []
    word_of, head_of, room = _U32.unpack_from, _HEAD.unpack_from, len(data)
    limit = min(limit, room)
    with memoryview(data) as view:
        while begin + RECORD_BYTES_MIN <= limit:
            found, length, synced = head_of(data, begin)
            if found != marker:
                break
            head_crc = crc32(view[begin : begin + 12])
            body_begin = begin + RECORD_HEAD_BYTES
            body_end = body_begin + (length & BODY_BYTES_MAX)
            if head_crc != word_of(data, begin + 12)[0] or body_end + RECORD_TAIL_BYTES > limit:
                break
            if data[body_end + 4] != END:
                break
            if crc32(view[body_begin:body_end], head_crc) != word_of(data, body_end)[0]:
                break
            records.append(Record(begin, body_begin, body_end, length & ~BODY_BYTES_MAX, synced))
            begin = body_end + RECORD_TAIL_BYTES
    return records


def scan_segment(data: bytes, marker: int, closed_at: int | None) -> Scan:
    """Find the records of a segment.

    `closed_at` is where its successor says that it ends; None when it is the last one.
    """
    written = len(data.rstrip(b"\0"))
    limit = written if closed_at is None else closed_at
    records: list[Record] = []
    gaps: list[tuple[int, int, int]] = []
    at = HEADER_BYTES
    is_torn = False
    while at < limit:
        if following := read_records(data, at, limit, marker):
            records += following
            at = following[-1].end
            continue
        found = _find_record(data, at + 1, limit, marker)
        if found is None and closed_at is None and _is_begun(data, at, written, marker):
            is_torn = True
            break
        gap_end = limit if found is None else found
        gaps.append((at, gap_end, len(records)))
        at = gap_end
    told = [
        Gap(begin, end, _has_hole(data, begin, end), len(records) - before)
        for begin, end, before in gaps
    ]
    return Scan(records, told, at, is_torn, max((r.synced for r in records), default=0))


def _head_length(data: bytes, begin: int, marker: int) -> int | None:
    """Return the length of the body if a record's header stands here."""
    if begin + RECORD_HEAD_BYTES > len(data):
        return None
    found, length, _ = _HEAD.unpack_from(data, begin)
    if found != marker:
        return None
    with memoryview(data) as view:
        if crc32(view[begin : begin + 12]) != _U32.unpack_from(data, begin + 12)[0]:
            return None
    return int(length) & BODY_BYTES_MAX


def _find_record(data: bytes, begin: int, limit: int, marker: int) -> int | None:
    """Return where the next whole record begins."""
    word = _U32.pack(marker)
    at = data.find(word, begin, limit)
    while at >= 0:
        length = _head_length(data, at, marker)
        end = at + RECORD_BYTES_MIN + (length or 0)
        if length is not None and read_records(data, at, end if end <= limit else at, marker):
            return at
        at = data.find(word, at + 1, limit)
    return None


def _is_begun(data: bytes, begin: int, written: int, marker: int) -> bool:
    """Return whether a record was begun here and nothing is behind what was written of it."""
    length = _head_length(data, begin, marker)
    if length is not None:
        return written < begin + RECORD_BYTES_MIN + length
    beginning = data[begin : min(written, begin + 4)]
    return written < begin + RECORD_HEAD_BYTES and _U32.pack(marker).startswith(beginning)


def _has_hole(data: bytes, begin: int, end: int) -> bool:
    """Return whether the stretch is 0 over all that it has of some sector."""
    at = begin
    while at < end:
        sector_end = min(end, at - at % SECTOR_BYTES + SECTOR_BYTES)
        if not any(data[at:sector_end]):
            return True
        at = sector_end
    return False
