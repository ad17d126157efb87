"""How large a journal may grow."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal.journal_samples import accepted, shard_in, until
from worker_harness import SECOND_NS, Host, WorkerHarness, shared_config

from pointsman_shm.config import JobsConfig, JournalConfig
from pointsman_wire.lane_messages import NodeResultAck
from pointsman_workers.core.events import JournalState
from pointsman_workers.journal import room_ahead
from pointsman_workers.journal.segment_files import PIECE_BYTES, read_written

MIB = 1 << 20
BODY = b"b" * 60_000


def test_bytes_max_has_room_for_two_segments() -> None:
    with pytest.raises(ValueError, match="room for twice segment_bytes"):
        JournalConfig(segment_bytes=2 * MIB, bytes_max=4 * MIB - 1)
    JournalConfig(segment_bytes=2 * MIB, bytes_max=4 * MIB)


async def test_above_its_bound_a_journal_gets_no_more_room_until_segments_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bytes_max: one segment beyond it is for what the core writes anew; then room runs out."""
    monkeypatch.setattr(room_ahead, "RETRY_S", 3600.0)  # the drop itself makes it look again
    config = JournalConfig(segment_bytes=MIB, bytes_max=2 * MIB, flush_s=60.0)
    async with shard_in(tmp_path, config=config) as shard:
        for job in range(1, 60):
            shard.write(accepted(job, BODY))
        await until(lambda: shard.store.state().held_bytes > 3 * MIB, "it has grown")
        assert shard.store._ahead.room is None
        shard.drop(shard.store.state().segment)
        await until(lambda: shard.store._ahead.room is not None, "there is room again")
        assert shard.store.state().held_bytes == MIB


ZEROS = st.sampled_from([1, 1000, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES]).map(bytes)
STRETCHES = st.lists(st.one_of(ZEROS, st.binary(min_size=1, max_size=50)), max_size=6)


@given(stretches=STRETCHES)
def test_a_file_is_read_up_to_its_last_byte_that_says_something(
    tmp_path_factory: pytest.TempPathFactory, stretches: list[bytes]
) -> None:
    """Whatever zeros are within it stay; those behind are read no further than their piece."""
    whole = b"".join(stretches)
    path = tmp_path_factory.mktemp("segment") / "0000000001.segment"
    path.write_bytes(whole)
    found, written = read_written(path), whole.rstrip(b"\0")
    assert whole.startswith(found)
    assert len(written) <= len(found) <= -(-len(written) // PIECE_BYTES) * PIECE_BYTES


def test_a_large_result_is_kept_at_its_node_also_when_another_leaves_the_window_for_it() -> None:
    """Who leaves has its node told what it has to keep: the new one is among that."""
    host = Host(shared_config(jobs=JobsConfig(window_jobs_max=1)))
    host.node(3, slots=1)
    host.publish(SECOND_NS)
    there = JournalState(segment=1, room_bytes=32 * MIB, held_bytes=16 * MIB, oldest=1)
    h = WorkerHarness(host, journal=there)
    node, client = h.open_lane(3), h.open_session()
    for request_id in ("r-1", "r-2"):
        client.submit(request_id)
        node.end(node.assignment(), 2 * BODY)
    acks = [ack for ack in h.take(node.connection, NodeResultAck) if ack.number == 2]
    assert [ack.withheld for ack in acks] == [[2]]
