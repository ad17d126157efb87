"""What is whole, torn, cut or damaged of a journal's bytes, at every byte and at every bit."""

import pytest
from journal.journal_samples import (
    BOOT,
    MARKER,
    accepted,
    dispatched,
    ended,
    ended_of,
    header,
    jobs_of,
    read,
    record,
    segment_of,
    session,
)

from pointsman_workers.journal.entries import AnyEntry, JobAccepted
from pointsman_workers.journal.judging import JournalDamaged, JournalForeign
from pointsman_workers.journal.records import (
    CONTINUES,
    HEADER_BYTES,
    MORE,
    SECTOR_BYTES,
    decode_header,
    read_records,
)

ROOM = bytes(2000)
TURNS: list[list[AnyEntry]] = [
    [session(), accepted(1), dispatched(1)],
    [accepted(2, b"x" * 300), dispatched(2)],
    [ended(1)],
    [accepted(3, b"")],
]


def ends_of(turns: list[list[AnyEntry]]) -> list[int]:
    """Where each turn's record ends, beginning with the header's end."""
    ends = [HEADER_BYTES]
    for turn in turns:
        ends.append(ends[-1] + len(record(turn)))
    return ends


def what_is_left(cut: int) -> tuple[list[int], list[int]]:
    """The open and the ended jobs of the turns that end before the cut."""
    whole = sum(end <= cut for end in ends_of(TURNS)) - 1
    entries = [entry for turn in TURNS[: max(whole, 0)] for entry in turn]
    last = max((e.job for e in entries if isinstance(e, JobAccepted)), default=0)
    over = [1] if whole >= 3 else []
    return [job for job in range(1, last + 1) if job not in over], over


@pytest.mark.parametrize("room", [b"", ROOM], ids=["truncated", "in allocated room"])
def test_a_tail_torn_at_any_byte_leaves_every_turn_before_it(room: bytes) -> None:
    """C4: every byte offset, as a short file and with the zeros of allocated room behind it."""
    whole = segment_of(TURNS)
    for cut in range(len(whole) + 1):
        found = read(whole[:cut] + room)
        assert (jobs_of(found.recovered), ended_of(found.recovered)) == what_is_left(cut), cut
        if cut > HEADER_BYTES:
            assert found.last_bytes == max(end for end in ends_of(TURNS) if end <= cut), cut


def test_each_flipped_bit_of_a_journal_is_noticed() -> None:
    """C5: every bit of 4 kB, in the last record and in the unused room too."""
    turns: list[list[AnyEntry]] = [[session()]]
    turns += [[accepted(job, b"p" * 90), dispatched(job)] for job in range(1, 20)]
    whole = segment_of(turns)
    data = bytearray(whole + bytes(max(0, 4096 - len(whole))))
    read(bytes(data))
    missed = []
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        try:
            read(bytes(data))
            missed.append(bit)
        except (JournalDamaged, JournalForeign):
            pass
        data[bit // 8] ^= 1 << bit % 8
    assert len(data) >= 4096
    assert missed == []


def test_damage_says_what_and_where_and_what_to_do() -> None:
    """C5: the count of what follows is part of the message."""
    data = bytearray(segment_of(TURNS) + ROOM)
    data[ends_of(TURNS)[1] + 30] ^= 4
    with pytest.raises(JournalDamaged) as raised:
        read(bytes(data))
    words = str(raised.value)
    assert f"segment 1, byte {ends_of(TURNS)[1]}: " in words
    assert "2 whole records follow in it" in words
    assert "--accept-loss" in words


def test_an_accepted_loss_takes_the_damaged_turn_only() -> None:
    """C5: what follows the damage is used, and the loss is counted."""
    data = bytearray(segment_of(TURNS) + ROOM)
    data[ends_of(TURNS)[1] + 30] ^= 4
    found = read(bytes(data), accept_loss=True)
    assert (jobs_of(found.recovered), ended_of(found.recovered)) == ([3], [1])
    assert found.recovered.lost_records == 1


def test_the_last_record_may_be_torn_but_not_wrong() -> None:
    whole = segment_of(TURNS)
    for flipped in range(ends_of(TURNS)[-2], len(whole)):
        data = bytearray(whole + ROOM)
        data[flipped] ^= 0x10
        with pytest.raises(JournalDamaged):
            read(bytes(data))


def test_a_segment_that_was_followed_by_another_must_be_whole() -> None:
    first = segment_of(TURNS)
    second = header(2, len(first)) + record([accepted(4)])
    assert jobs_of(read(first, second).recovered) == [2, 3, 4]
    for cut in (len(first) - 1, ends_of(TURNS)[2], HEADER_BYTES, 10, 0):
        with pytest.raises(JournalDamaged, match="segment 1, byte"):
            read(first[:cut] + ROOM, second)


def test_what_stands_behind_the_end_that_a_successor_names_does_not_count() -> None:
    first = segment_of(TURNS)
    torn = first + record([accepted(9)])[:-3]
    second = header(2, len(first)) + record([accepted(4)])
    assert jobs_of(read(torn, second).recovered) == [2, 3, 4]


def test_a_missing_segment_is_damage_and_missing_ones_at_the_start_were_dropped() -> None:
    first = segment_of(TURNS)
    second = header(2, len(first)) + record([accepted(4)])
    third = header(3, len(second)) + record([accepted(5)])
    from journal.journal_samples import OWNER, files_of

    from pointsman_workers.journal.replay import replay

    files = files_of(first, second, third)
    with pytest.raises(JournalDamaged, match="segment 2, byte 0: it is missing"):
        replay([files[0], files[2]], OWNER, ended_max=10, accept_loss=False)
    found = replay(files[1:], OWNER, ended_max=10, accept_loss=False)
    assert jobs_of(found.recovered) == [4, 5]


# ---- a loss of power


def with_hole(data: bytes, begin: int) -> bytes:
    """Sectors from `begin` (rounded down) on for one sector are as before they were written."""
    at = begin - begin % SECTOR_BYTES
    return data[:at] + bytes(SECTOR_BYTES) + data[at + SECTOR_BYTES :]


def long_journal(boot: int, synced_from: int = 99) -> tuple[bytes, list[int]]:
    data, ends = header(boot=boot), [HEADER_BYTES]
    for job in range(1, 20):
        synced = ends[5] if job >= synced_from else 0
        data += record([accepted(job, b"p" * 200)], synced=synced)
        ends.append(len(data))
    return data, ends


def test_after_a_loss_of_power_a_hole_in_what_was_not_synced_ends_the_journal() -> None:
    """C8: pages reach the disk in any order; what is used is one moment of the past."""
    data, ends = long_journal(boot=BOOT)
    holed = with_hole(data, 2048)
    found = read(holed + ROOM, boot=BOOT + 1)
    last = max(job for job in range(20) if ends[job] <= 2048)
    assert found.is_cut
    assert jobs_of(found.recovered) == list(range(1, last + 1))
    assert not found.recovered.is_same_boot
    with pytest.raises(JournalDamaged):  # within one boot nothing makes holes
        read(holed + ROOM, boot=BOOT)


def test_a_hole_in_what_was_synced_is_damage_after_a_loss_of_power_too() -> None:
    """The level fsync: nothing that was synced is left out silently."""
    data, _ = long_journal(boot=BOOT, synced_from=15)
    assert not read(data, boot=BOOT + 1).is_cut
    with pytest.raises(JournalDamaged):
        read(with_hole(data, 600), boot=BOOT + 1)


def test_a_flipped_bit_is_no_loss_of_power() -> None:
    data, ends = long_journal(boot=BOOT)
    flipped = bytearray(data)
    flipped[ends[3] + 40] ^= 1
    with pytest.raises(JournalDamaged):
        read(bytes(flipped), boot=BOOT + 1)


def test_later_segments_go_with_the_cut() -> None:
    data, _ = long_journal(boot=BOOT)
    second = header(2, len(data)) + record([accepted(30)])
    found = read(with_hole(data, 2048), second, boot=BOOT + 1)
    assert found.is_cut
    assert found.left_out == [2]
    assert 30 not in jobs_of(found.recovered)


def test_a_later_segment_that_was_synced_proves_all_before_it() -> None:
    data, _ = long_journal(boot=BOOT)
    second = header(2, len(data)) + record([accepted(30)], synced=HEADER_BYTES)
    with pytest.raises(JournalDamaged):
        read(with_hole(data, 2048), second, boot=BOOT + 1)


def test_instants_count_within_the_boot_that_all_segments_are_of() -> None:
    """C8: the boot id tells whether what a predecessor's clock said means anything."""
    first = segment_of(TURNS)
    second = header(2, len(first), boot=BOOT + 1) + record([accepted(4)])
    assert read(first).recovered.is_same_boot
    assert not read(first, boot=BOOT + 1).recovered.is_same_boot
    assert not read(first, second, boot=BOOT + 1).recovered.is_same_boot


# ---- turns in several records


def test_a_turn_of_several_records_is_there_whole_or_not_at_all() -> None:
    parts = [record([accepted(5)], MORE), record([accepted(6)], MORE | CONTINUES)]
    parts.append(record([accepted(7)], CONTINUES))
    begin = segment_of(TURNS)
    ends = [len(begin) + sum(map(len, parts[:count])) for count in range(4)]
    whole = begin + b"".join(parts)
    for cut in range(len(begin), len(whole) + 1):
        found = read(whole[:cut] + ROOM)
        expected = [2, 3, 5, 6, 7] if cut == ends[-1] else [2, 3]
        assert jobs_of(found.recovered) == expected


def test_a_turn_that_was_torn_between_its_records_is_left_out_later_as_well() -> None:
    """It may also have begun in the segment before."""
    first = segment_of(TURNS) + record([accepted(5)], MORE)
    second = header(2, len(first)) + record([accepted(6)], MORE | CONTINUES)
    third = header(3, len(second)) + record([accepted(7)])
    assert jobs_of(read(first, second, third).recovered) == [2, 3, 7]
    ending = header(3, len(second)) + record([accepted(7)], CONTINUES)
    assert jobs_of(read(first, second, ending).recovered) == [2, 3, 5, 6, 7]


def test_a_payload_that_looks_like_a_record_is_none() -> None:
    """Who does not know the marker cannot make a torn tail look like damage."""
    inner = bytearray(record([accepted(99)]))
    inner[:4] = (MARKER ^ 0x01_01_01_01).to_bytes(4, "little")
    data = segment_of([*TURNS, [accepted(4, bytes(inner) * 3)]])
    found = read(data[:-20] + ROOM)
    assert jobs_of(found.recovered) == [2, 3]


def test_records_end_where_they_say() -> None:
    data = segment_of(TURNS)
    records = read_records(data, HEADER_BYTES, len(data), MARKER)
    assert [HEADER_BYTES, *(found.end for found in records)] == ends_of(TURNS)
    assert read_records(data, HEADER_BYTES, len(data) - 1, MARKER) == records[:-1]


def test_another_format_is_refused_with_its_number() -> None:
    """P14: a journal of another version is not guessed at."""
    from pointsman_workers.journal import records

    present = records.FORMAT
    records.FORMAT = 7
    try:
        foreign = header() + record([session()])
    finally:
        records.FORMAT = present
    with pytest.raises(JournalForeign, match="it has format 7, this version reads and writes 1"):
        read(foreign)
    assert decode_header(header()).boot == BOOT
