"""The registry file: node id -> key hash and epoch, kept over restarts, reboots and lost memory.

      offset  size  field
    +-------+-----+---------------------------------------------------+
    |     0 |   4 | length of the entry                               |
    |     4 |   4 | crc32 of the entry                                |
    |     8 |   n | entry: msgpack [node_id, key hash, epoch, proven] |
    +-------+-----+---------------------------------------------------+

Little-endian; records follow each other; a later entry of a node id replaces an earlier one, or
says that the id is forgotten: the core bounds how many it knows.  It is appended to and fsynced
before a registration is answered, and written anew, with one record for each id, at the start and
when most of it is history.  What a power cut left torn at the end was never answered, and is
dropped.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from pointsman_sched.core.events import RegistryEntry
from pointsman_shm.state_files import naming, replace_file

NAME = "nodes.journal"
# History beyond this many records, and beyond this many per id, is worth a rewrite.
HISTORY_MIN = 65_536
HISTORY_PER_ID = 4

_HEAD = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RegistryEntry).decode


def encode_record(entry: RegistryEntry) -> bytes:
    """Return one record."""
    body = _encode(entry)
    return _HEAD.pack(len(body), crc32(body)) + body


def read_records(content: bytes) -> Iterator[tuple[RegistryEntry, int]]:
    """Yield (entry, offset after it) up to the first record that is not whole."""
    offset = 0
    while offset + _HEAD.size <= len(content):
        length, crc = _HEAD.unpack_from(content, offset)
        start = offset + _HEAD.size
        body = content[start : start + length]
        if length == 0 or len(body) < length or crc32(body) != crc:
            return
        try:
            entry = _decode(body)
        except msgspec.DecodeError:
            return
        offset = start + length
        yield entry, offset


class RegistryFile:
    """The file, open for appending; only who holds the manager's lock may make one."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        """Load, compact, and open.  Raises OSError."""
        self._path = directory / NAME
        self._say = say
        self._known: dict[str, RegistryEntry] = {}
        self._record_count = 0
        self._load()
        self._descriptor = -1
        self._rewrite()

    def entries(self) -> tuple[RegistryEntry, ...]:
        """Return what was loaded, the id that registered longest ago first."""
        return tuple(self._known.values())

    def append(self, entries: tuple[RegistryEntry, ...]) -> None:
        """Have the entries on disk.  Raises OSError: then nothing of them may be answered.

        After one that says that the disk is full the same may be tried again.
        """
        for entry in entries:
            self._note(entry)
        self._record_count += len(entries)
        if self._record_count > max(HISTORY_MIN, HISTORY_PER_ID * len(self._known)):
            self._rewrite()
            return
        end = os.fstat(self._descriptor).st_size
        waiting = memoryview(b"".join(map(encode_record, entries)))
        with naming(self._path):
            try:
                while waiting:
                    waiting = waiting[os.write(self._descriptor, waiting) :]
                os.fdatasync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, end)  # what follows half a record is not read
                raise

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _load(self) -> None:
        try:
            with naming(self._path):
                content = self._path.read_bytes()
        except FileNotFoundError:
            return
        end = 0
        for entry, end in read_records(content):  # noqa: B007
            self._note(entry)
        rest = content[end:]
        if rest.strip(b"\0"):
            aside = self._path.with_name(f"{NAME}.damaged")
            replace_file(aside, content)
            self._say(
                f"{self._path}: the last {len(rest)} bytes are not readable and are dropped; "
                f"a copy is at {aside}"
            )

    def _note(self, entry: RegistryEntry) -> None:
        self._known.pop(entry.node_id, None)
        if not entry.is_forgotten:
            self._known[entry.node_id] = entry

    def _rewrite(self) -> None:
        replace_file(self._path, b"".join(map(encode_record, self._known.values())))
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags)
        self._record_count = len(self._known)
