"""A shard's journal on the disk: opened by replay, written a turn at a time, synced in groups.

    open     read all segments -> cut the torn tail -> begin a new segment for the new epoch
    write    one pwrite into allocated room, before anything of the turn leaves the process
    roll     the next segment's room is there already: a header, a name, go on
    drop     once everything is synced that stands for it elsewhere, unlink old segments

Room is a fact.  The next segment is allocated by a thread as soon as the last one was taken into
use, and when the disk is full about every second again; what the core is told as room is written
without asking the disk for more.  A core that heeds it never sees a write fail for want of room.

What is not in allocated room may still be written if the disk has it: a job that was accepted has
to end somewhere.  When the disk does not, or fails in any other way, JournalFailed ends the
process; its successor finds everything up to the last whole turn.
"""

import os
from collections.abc import Callable, Sequence
from typing import Self

import msgspec

from pointsman_workers.core.events import (
    DropSegments,
    JournalState,
    JournalSynced,
    WriteJournal,
)
from pointsman_workers.journal.entries import AnyEntry, Recovered
from pointsman_workers.journal.judging import SegmentFile
from pointsman_workers.journal.records import (
    CONTINUES,
    HEADER_BYTES,
    MORE,
    SegmentHeader,
    decode_header,
    frame_record,
    new_marker,
)
from pointsman_workers.journal.replay import Replay, replay
from pointsman_workers.journal.room_ahead import RoomAhead
from pointsman_workers.journal.segment_files import (
    NO_ROOM,
    JournalFailed,
    JournalPlace,
    OpenSegment,
    Room,
    begin_segment,
    cut_segment,
    find_segments,
    make_directory,
    remove_segments,
    segment_path,
    sync_directory,
    sync_segments,
    take_room,
    void_damage,
)
from pointsman_workers.journal.syncing import GroupCommit, SyncWork

RECORD_BYTES_AIM = 256 * 1024  # a larger turn is written in several records
ROOM_STEP_BYTES = 64 * 1024  # the core is told of room again when it has changed by so much

_encode_into = msgspec.msgpack.Encoder().encode_into


class JournalStore:
    """One shard's journal; the caller holds the shard's lock."""

    def __init__(self, place: JournalPlace, sizes: dict[int, int], current: OpenSegment) -> None:
        self._place = place
        self._sizes = sizes  # segment -> bytes that it takes on the disk
        self._current = current
        self._retired: list[OpenSegment] = []  # full, and not synced since
        self._descriptors = {current.descriptor}
        self._body = bytearray()  # of the record that is written: its room is used again
        self._number = 0  # of the last turn that was written
        self._awaited_from = 0  # the first turn whose sync the core still waits for, or 0
        self._drop_below = 0
        self._told: JournalState | None = None
        # Where in the current segment the core is told of its room again.
        self._tell_at = current.end + ROOM_STEP_BYTES
        self._is_closed = False
        self._crash, self._pwrite = place.crash, place.disk.pwrite
        self._ahead = RoomAhead(place.directory, place.disk, place.config.segment_bytes)
        self._commit: GroupCommit | None = None
        self._post: Callable[[JournalState | JournalSynced], None]

    # ---- open

    @classmethod
    def open(cls, place: JournalPlace) -> tuple[Self, Recovered]:
        """Read what a predecessor left and begin a new segment behind it.

        Raises JournalDamaged or JournalForeign (nothing was changed), JournalNoRoom (try again
        later), JournalFailed or OSError.
        """
        directory, disk = place.directory, place.disk
        make_directory(directory)
        files = find_segments(directory)
        found = replay(files, place.owner, ended_max=place.ended_max, accept_loss=place.accept_loss)
        _mend(place, files, found)
        if found.last_segment:
            cut_segment(directory, found.last_segment, found.last_bytes)
        numbers = sorted(found.ends)
        sync_segments(directory, numbers, disk)
        room = take_room(directory, place.config.segment_bytes, disk)
        current = _begin(place, room, found.last_segment + 1, found.last_bytes)
        sync_segments(directory, [current.number], disk)
        current.synced = current.end
        sizes = {n: segment_path(directory, n).stat().st_size for n in numbers}
        return cls(place, {**sizes, current.number: current.size}, current), found.recovered

    def start(
        self,
        post: Callable[[JournalState | JournalSynced], None],
        failed: Callable[[JournalFailed], None],
    ) -> None:
        """Begin to work on the running loop: allocate, sync, and tell.

        Raises JournalFailed when the system has no room for two more threads.
        """
        config = self._place.config
        self._post = post
        self._commit = GroupCommit(
            self._begin_sync,
            failed=failed,
            gather_s=config.sync_gather_ms / 1e3,
            flush_s=config.flush_s,
        )
        self._told = self.state()
        self._ahead.start(self._may_grow, changed=self._tell, failed=failed)

    def close(self) -> None:
        """Sync what was written and let go of the files.  Raises JournalFailed."""
        self._is_closed = True
        self._ahead.close()
        if self._commit is not None:
            self._commit.close()
        try:
            self._begin_sync().run()
        finally:
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._descriptors.clear()

    # ---- what the core wishes

    def write(self, command: WriteJournal) -> None:
        """Write a turn.  Raises JournalFailed: then nothing of the turn may leave the process."""
        assert self._commit is not None, "start comes first"
        self._crash("journal-before-write")
        entries = command.entries
        body = self._body
        _encode_into(entries, body)
        if len(body) <= RECORD_BYTES_AIM or len(entries) == 1:
            self._write_record(0, body)
        else:
            self._write_in_parts(entries, len(body))
        self._crash("journal-after-write")
        self._number = command.number
        if command.must_sync:
            self._awaited_from = self._awaited_from or command.number
            self._commit.want()
        else:
            self._commit.is_dirty = True
        if self._current.end >= self._tell_at:
            self._tell()

    def drop(self, command: DropSegments) -> None:
        """Remove the segments before this one, once all that stands for them is on the disk."""
        assert self._commit is not None, "start comes first"
        self._drop_below = max(self._drop_below, min(command.below, self._current.number))
        if self._drop_below > min(self._sizes):
            self._commit.want()

    def state(self) -> JournalState:
        """Return where the journal stands."""
        room = self._current.size - self._current.end
        if self._ahead.room is not None:
            # At the end of a segment a record may not fit, and begin the next one.
            room = max(0, room - RECORD_BYTES_AIM) + self._ahead.room.size - HEADER_BYTES
        return JournalState(
            segment=self._current.number,
            room_bytes=room,
            held_bytes=sum(self._sizes.values()),
            oldest=min(self._sizes),
        )

    # ---- records

    def _write_in_parts(self, entries: Sequence[AnyEntry], size: int) -> None:
        """Cut a turn, of such a size as a whole, into records of a bearable one."""
        count = min(len(entries), 1 + 2 * size // RECORD_BYTES_AIM)
        bounds = [index * len(entries) // count for index in range(count + 1)]
        for index in range(count):
            part = entries[bounds[index] : bounds[index + 1]]
            flags = (CONTINUES if index else 0) | (MORE if index < count - 1 else 0)
            _encode_into(part, self._body)
            self._write_record(flags, self._body)

    def _write_record(self, flags: int, body: bytearray) -> None:
        """Write one record, if need be as the first one of the next segment."""
        current = self._current
        record = frame_record(body, current.marker, flags, current.synced)
        if self._put(record):
            return
        current = self._roll(len(record))
        if not self._put(frame_record(body, current.marker, flags, current.synced)):
            raise JournalFailed(f"{self._place.directory}: the disk took a turn only in part")

    def _put(self, record: bytes) -> bool:
        """Write a record; False: there is no room, and what was written of it is cut off."""
        current = self._current
        begin = current.end
        end = begin + len(record)
        if end > current.size:
            return False
        try:
            written = self._pwrite(current.descriptor, record, begin)
        except OSError as error:
            if error.errno not in NO_ROOM:
                path = segment_path(self._place.directory, current.number)
                raise JournalFailed(f"cannot write to {path}: {error.strerror}") from error
            written = 0
        if begin + written == end:
            current.end = end
            return True
        os.ftruncate(current.descriptor, begin)
        return False

    def _roll(self, record_bytes: int) -> OpenSegment:
        """Begin the next segment; the full one is cut to size and closed with the next sync."""
        full = self._current
        room = self._ahead.take(HEADER_BYTES + record_bytes)
        self._current = _begin(self._place, room, full.number + 1, full.end)
        self._place.crash("journal-after-roll")
        self._retired.append(full)
        self._descriptors.add(self._current.descriptor)
        self._sizes[self._current.number] = self._current.size
        self._tell_at = 0
        self._ahead.allocate()
        return self._current

    # ---- sync

    def _begin_sync(self) -> SyncWork:
        retired, self._retired = self._retired, []
        current, end, number = self._current, self._current.end, self._number
        directory, disk, crash = self._place.directory, self._place.disk, self._place.crash
        dropped = [n for n in sorted(self._sizes) if n < self._drop_below]

        def run() -> None:
            crash("journal-before-sync")
            try:
                for segment in retired:
                    os.ftruncate(segment.descriptor, segment.end)
                    disk.fdatasync(segment.descriptor)
                disk.fdatasync(current.descriptor)
                if retired:
                    sync_directory(directory)
                remove_segments(directory, dropped)
            except OSError as error:
                raise JournalFailed(f"cannot sync {directory}: {error.strerror}") from error

        def done() -> None:
            if self._is_closed:
                return
            current.synced = end
            self._sizes.update({segment.number: segment.end for segment in retired})
            for segment in retired:
                os.close(segment.descriptor)
                self._descriptors.discard(segment.descriptor)
            for gone in dropped:
                del self._sizes[gone]
            self._synced(number)
            if dropped:
                self._ahead.allocate()  # if it was too large for more
                self._tell()

        return SyncWork(run, done)

    def _synced(self, number: int) -> None:
        if self._awaited_from and self._awaited_from <= number:
            self._awaited_from = number + 1 if self._number > number else 0
            self._post(JournalSynced(number))

    # ---- room

    def _may_grow(self) -> bool:
        """May another segment be allocated beforehand?

        Below bytes_max the core writes anew what lives in the oldest segments, which needs room.
        """
        config = self._place.config
        return sum(self._sizes.values()) <= config.bytes_max + config.segment_bytes

    def _tell(self) -> None:
        """Tell the core where the journal stands."""
        # Of what has been used now and then, more often when there is no more ahead.
        step = ROOM_STEP_BYTES if self._ahead.room is None else 16 * ROOM_STEP_BYTES
        self._tell_at = self._current.end + step
        state = self.state()
        if state != self._told and not self._is_closed:
            self._told = state
            self._post(state)


def _begin(place: JournalPlace, room: Room, number: int, previous_bytes: int) -> OpenSegment:
    """Make a segment of allocated room."""
    header = SegmentHeader(
        instance_uid=place.owner.instance_uids[0],
        shard=place.owner.shard,
        worker_count=place.owner.worker_count,
        epoch=place.epoch,
        segment=number,
        previous_bytes=previous_bytes,
        boot=place.owner.boot,
        marker=new_marker(place.entropy),
    )
    begin_segment(place.directory, room, header, place.disk)
    return OpenSegment(number, room.descriptor, room.size, header.marker)


def _mend(place: JournalPlace, files: Sequence[SegmentFile], found: Replay) -> None:
    """Void what the operator gave up, and remove what a loss of power left behind its cut."""
    heads = {file.number: file.head for file in files}
    for damage in found.given_up:
        if damage.begin:
            header = decode_header(heads[damage.segment])
        else:
            header = SegmentHeader(
                instance_uid=place.owner.instance_uids[0],
                shard=place.owner.shard,
                worker_count=place.owner.worker_count,
                epoch=0,
                segment=damage.segment,
                previous_bytes=found.ends.get(damage.segment - 1, 0),
                boot=0,
                marker=new_marker(place.entropy),
            )
        void_damage(place.directory, damage, header, place.disk)
    # The newest first: what is left if this is interrupted is still a row without a hole.
    remove_segments(place.directory, found.left_out[::-1])
