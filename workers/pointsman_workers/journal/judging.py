"""Whether the segments of a journal belong here, in one piece, and what to do where they do not.

Headers are looked at first: they say whose the segments are and where each one's predecessor
ended.  What of a segment's bytes is torn, cut or damaged, records.py tells; a cut by a power loss
ends the whole journal, so what comes behind it in later segments is left out too: a journal is
always used as it was at one moment.
"""

from collections.abc import Callable, Sequence

import msgspec

from pointsman_workers.journal.records import (
    HEADER_BYTES,
    FormatUnknown,
    Gap,
    HeaderDamaged,
    Scan,
    SegmentHeader,
    decode_header,
    scan_segment,
)

MISSING_MAX = 1_000  # more than that is a file of somebody else


class JournalForeign(Exception):
    """The journal belongs to another instance, shard, number of workers, or program version."""


class JournalDamaged(Exception):
    """The journal cannot be read whole; the text says what is wrong, where, and what to do."""


class SegmentFile(msgspec.Struct, frozen=True):
    """A segment as it was found; `load` returns all its bytes."""

    number: int
    name: str
    head: bytes
    load: Callable[[], bytes]


class JournalOwner(msgspec.Struct, frozen=True):
    """Whose journal is expected; the first of the uids is the present one."""

    instance_uids: tuple[str, ...]
    shard: int
    worker_count: int
    boot: int


class Damage(msgspec.Struct, frozen=True):
    """One place where something is missing."""

    segment: int
    name: str
    begin: int
    end: int
    what: str
    follow: int  # records that are found behind it, in this segment

    def __str__(self) -> str:
        behind = f"{self.follow} whole records follow in it" if self.follow else "none follows"
        return f"{self.name}, byte {self.begin}: {self.what}; {behind}"


class JudgedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment with its records; `header` is None when it cannot be read."""

    number: int
    name: str
    header: SegmentHeader | None
    data: bytes
    scan: Scan
    damages: list[Damage]
    is_last: bool  # nothing behind it counts
    is_cut: bool = False  # by a loss of power


class Judge:
    """Looks at the segments one by one, oldest first; raises JournalForeign at birth."""

    def __init__(self, files: Sequence[SegmentFile], owner: JournalOwner) -> None:
        self._owner = owner
        self._files = list(files)
        self._headers = [self._header_of(file) for file in files]

    def _header_of(self, file: SegmentFile) -> SegmentHeader | str:
        """Return a header, or why there is none.  Raises JournalForeign."""
        try:
            header = decode_header(file.head)
        except HeaderDamaged as why:
            return str(why)
        except FormatUnknown as why:
            raise JournalForeign(
                f"{file.name}: {why}; start the version that wrote it, or move the directory away"
            ) from None
        owner = self._owner
        found = (header.instance_uid in owner.instance_uids, header.shard, header.worker_count)
        if found != (True, owner.shard, owner.worker_count):
            raise JournalForeign(
                f"{file.name} is of shard {header.shard} of {header.worker_count} of instance "
                f"{header.instance_uid}, here is shard {owner.shard} of {owner.worker_count} of "
                f"{owner.instance_uids[0]}; move it back to where it came from"
            )
        if header.segment != file.number:
            return f"its header says that it is segment {header.segment}"
        return header

    def look(self, index: int) -> JudgedSegment:
        """Return a segment with its records, and what is damaged."""
        file, header = self._files[index], self._headers[index]
        if not isinstance(header, SegmentHeader):
            return self._look_without_header(index, header)
        data = file.load()
        scan = scan_segment(data, header.marker, self._closed_at(index))
        is_cut = bool(scan.gaps) and self._is_power_cut(index, scan)
        if is_cut:
            end = scan.gaps[0].begin
            records = [record for record in scan.records if record.begin < end]
            scan = Scan(records, [], end, True, scan.synced)
        return JudgedSegment(
            number=file.number,
            name=file.name,
            header=header,
            data=data,
            scan=scan,
            damages=[self._damage(file, gap) for gap in scan.gaps] + self._missing_after(index),
            is_last=is_cut or index == len(self._files) - 1,
            is_cut=is_cut,
        )

    def _look_without_header(self, index: int, why: str) -> JudgedSegment:
        file = self._files[index]
        is_newest = index == len(self._files) - 1
        begun = file.load().rstrip(b"\0")
        # A segment gets its name after its header, so only a loss of power can leave this.
        is_cut = len(begun) < HEADER_BYTES and (
            is_newest or (not begun and self._is_unsynced_after(index))
        )
        end = self._closed_at(index) or max(len(begun), HEADER_BYTES)
        damage = Damage(file.number, file.name, 0, end, why, 0)
        return JudgedSegment(
            number=file.number,
            name=file.name,
            header=None,
            data=b"",
            scan=Scan([], [], HEADER_BYTES if is_cut else end, is_cut, 0),
            damages=[] if is_cut else [damage, *self._missing_after(index)],
            is_last=is_cut or is_newest,
            is_cut=is_cut,
        )

    def _closed_at(self, index: int) -> int | None:
        """Return where the segment after this one says that this one ends."""
        if index + 1 >= len(self._files):
            return None
        header = self._headers[index + 1]
        follows = self._files[index + 1].number == self._files[index].number + 1
        if isinstance(header, SegmentHeader) and follows:
            return header.previous_bytes
        return None

    def _missing_after(self, index: int) -> list[Damage]:
        """Return the segments that are missing between this one and the one found after it."""
        if index + 1 >= len(self._files):
            return []
        file, after, header = self._files[index], self._files[index + 1], self._headers[index + 1]
        ends = [HEADER_BYTES] * (after.number - file.number - 1)
        if len(ends) > MISSING_MAX:
            raise JournalForeign(f"{after.name} does not belong here: {file.name} is before it")
        if ends and isinstance(header, SegmentHeader):
            ends[-1] = header.previous_bytes
        return [
            Damage(number, f"segment {number}", 0, end, "it is missing", 0)
            for number, end in enumerate(ends, file.number + 1)
        ]

    def _damage(self, file: SegmentFile, gap: Gap) -> Damage:
        what = f"{gap.end - gap.begin} bytes that are no record"
        return Damage(file.number, file.name, gap.begin, gap.end, what, gap.follow)

    def _is_power_cut(self, index: int, scan: Scan) -> bool:
        """Return whether what is bad are holes in what nobody had synced, before this boot."""
        header = self._headers[index]
        assert isinstance(header, SegmentHeader)
        return (
            header.boot != self._owner.boot
            and all(gap.has_hole and gap.begin >= scan.synced for gap in scan.gaps)
            and self._is_unsynced_after(index)
        )

    def _is_unsynced_after(self, index: int) -> bool:
        """Return whether nothing in later segments says that anything of them was synced.

        Segments are synced in order: a place that was synced in a later one proves all before it.
        """
        for later in range(index + 1, len(self._files)):
            header = self._headers[later]
            if not isinstance(header, SegmentHeader):
                continue
            if header.boot == self._owner.boot:
                return False
            scan = scan_segment(self._files[later].load(), header.marker, self._closed_at(later))
            if scan.synced:
                return False
        return True
