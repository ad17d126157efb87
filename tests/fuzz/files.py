"""What reads files: configuration, the manager's registry, a shard's journal."""

from collections.abc import Callable

import msgspec
from wire_samples import sample

from pointsman_sched.core.events import RegistryEntry
from pointsman_sched.manager.registry_file import encode_record, read_records
from pointsman_shm.config_load import ConfigError, parse_config
from pointsman_wire.session_messages import Submit
from pointsman_workers.journal.entries import (
    JobAccepted,
    JobDispatched,
    ResultsRead,
    SessionEnded,
    SessionOpened,
)
from pointsman_workers.journal.judging import (
    JournalDamaged,
    JournalForeign,
    JournalOwner,
    SegmentFile,
)
from pointsman_workers.journal.records import (
    HEADER_BYTES,
    SegmentHeader,
    encode_header,
    frame_record,
)
from pointsman_workers.journal.replay import replay

Feed = Callable[[bytes], None]


def configs() -> list[bytes]:
    texts = (
        '[server]\nhost = "127.0.0.1"\nport = 7400\nworkers = 2\ninstance = "a"\n',
        "[nodes]\nmax_nodes = 5\nheartbeat_interval_s = 0.5\n[limits]\nhandshake_s = 1.0\n",
        '[pools]\ntenant_overrides = [["acme", 2]]\n[[pools.pools]]\nid = 2\nname = "t"\n',
        '[catalogue]\nservices = ["llm"]\n[catalogue.dependencies]\na = ["b"]\n',
    )
    return [text.encode() for text in texts]


def config() -> Feed:
    """Any text is a configuration or an error that names the file."""

    def feed(data: bytes) -> None:
        try:
            parse_config(data.decode("utf-8", "replace"), "my.toml")
        except ConfigError as error:
            words = str(error)
        else:
            return
        assert words.startswith("my.toml: ")

    return feed


ENTRIES = [RegistryEntry(f"n-{n}", b"h" * 32, n) for n in range(4)]


def registries() -> list[bytes]:
    return [b"".join(map(encode_record, ENTRIES[:n])) for n in (1, 4)]


def registry() -> Feed:
    """What is read from the manager's file are records that were written, up to the damage."""

    def feed(data: bytes) -> None:
        end = 0
        for entry, after in read_records(data):
            assert isinstance(entry, RegistryEntry)
            assert after > end
            end = after
        assert end <= len(data)

    return feed


OWNER = JournalOwner(("uid",), shard=0, worker_count=1, boot=7)
MARKER = 0x5A5A5A5A
SEGMENT_BYTES = 16 * 1024
HEADER = encode_header(
    SegmentHeader(
        instance_uid="uid",
        shard=0,
        worker_count=1,
        epoch=1,
        segment=1,
        previous_bytes=0,
        boot=7,
        marker=MARKER,
    )
)


def turns() -> list[bytes]:
    """Bodies of records: what a shard writes down in some turns."""
    accepted = JobAccepted(
        1,
        1,
        ("t", "s", "r"),
        "job-1",
        sample(Submit),
        msgspec.Raw(msgspec.msgpack.encode([["nmt"], "en", "es"])),
        b"payload",
        5,
        9,
        "journal",
    )
    entries = (
        SessionOpened(1, "t", "s", "token"),
        accepted,
        JobDispatched(1, 1, 1, "n-1", 2, 1, ("n-0",), ("it left",), ("node",), 0),
        ResultsRead(1, 1),
        SessionEnded(1),
    )
    return [msgspec.msgpack.encode([entry]) for entry in entries] + [
        msgspec.msgpack.encode(list(entries))
    ]


def framed(body: bytes) -> bytes:
    """Return a record around a body."""
    return frame_record(body, MARKER, 0, 0)


def segments() -> list[bytes]:
    """Whole segments, and bodies alone; the first byte says which."""
    records = [framed(body) for body in turns()]
    whole = [b"\0" + HEADER + b"".join(records[:n]) + bytes(64) for n in range(len(records) + 1)]
    return whole + [b"\1" + body for body in turns()]


def journal() -> Feed:
    """Any segment is replayed, told as damaged, or somebody else's; a loss that is accepted is."""

    def feed(data: bytes) -> None:
        is_body = data[:1] == b"\1"
        # A checksum stops nearly all that is flipped: so bodies are also framed right.
        segment = HEADER + framed(data[1:]) if is_body else data[1:SEGMENT_BYTES]
        found = SegmentFile(1, "1.journal", segment[:HEADER_BYTES], lambda: segment)
        try:
            strict = replay([found], OWNER, ended_max=100, accept_loss=False)
        except JournalForeign:
            return
        except JournalDamaged:
            try:
                assert replay([found], OWNER, ended_max=100, accept_loss=True).given_up
            except JournalDamaged:  # an open job of another version is no loss to accept
                assert is_body
            return
        assert not strict.given_up
        assert strict.last_bytes <= len(segment)

    return feed
