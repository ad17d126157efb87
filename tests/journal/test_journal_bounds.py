"""How large a journal may grow."""

from pathlib import Path

import pytest
from journal.journal_samples import accepted, shard_in, until

from pointsman_shm.config import JournalConfig

MIB = 1 << 20
BODY = b"b" * 60_000


def test_bytes_max_has_room_for_two_segments() -> None:
    with pytest.raises(ValueError, match="room for twice segment_bytes"):
        JournalConfig(segment_bytes=2 * MIB, bytes_max=4 * MIB - 1)
    JournalConfig(segment_bytes=2 * MIB, bytes_max=4 * MIB)


async def test_above_its_bound_a_journal_gets_no_more_room_until_segments_are_dropped(
    tmp_path: Path,
) -> None:
    """bytes_max: one segment beyond it is for what the core writes anew; then room runs out."""
    config = JournalConfig(segment_bytes=MIB, bytes_max=2 * MIB, flush_s=60.0)
    async with shard_in(tmp_path, config=config) as shard:
        for job in range(1, 60):
            shard.write(accepted(job, BODY))
        await until(lambda: shard.store.state().held_bytes > 3 * MIB, "it has grown")
        assert shard.store._ahead.room is None
        shard.drop(shard.store.state().segment)
        await until(lambda: shard.store._ahead.room is not None, "there is room again")
        assert shard.store.state().held_bytes == MIB
