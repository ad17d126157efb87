"""Four real processes on rows of one slot: never two holders at one moment (I4, I10)."""

import json
from collections.abc import Callable

import pytest
from memory_peer import RACE_ROWS, RACE_WORKERS, campaign_s, start_peer

from pointsman_shm.memory.ledger import Ledger, Reserve
from pointsman_shm.memory.rows import NodeRows, NodeState, RowFlag, pack_standing
from pointsman_shm.memory.segment import Segment

MakeSegment = Callable[[int], Segment]


@pytest.mark.slow
def test_i4_four_racing_processes_never_hold_one_slot_twice(make_segment: MakeSegment) -> None:
    rows_segment = make_segment(NodeRows.size(RACE_ROWS))
    rows = NodeRows(rows_segment.buffer, max_nodes=RACE_ROWS, create=True)
    for row in range(RACE_ROWS):
        rows.standing[row] = pack_standing(
            generation=1,
            class_number=0,
            state=NodeState.READY,
            flags=RowFlag.PUBLIC,
            slots_max=1,
        )
    sizes = {"max_nodes": RACE_ROWS, "worker_count": RACE_WORKERS}
    ledger_segment = make_segment(Ledger.size(**sizes))
    ledger = Ledger(ledger_segment.buffer, **sizes, create=True)
    witness = make_segment(64 + 8 * RACE_ROWS * RACE_WORKERS)
    names = (ledger_segment.name, rows_segment.name, witness.name)
    peers = [start_peer("race", *names, index, campaign_s()) for index in range(RACE_WORKERS)]
    outcomes = [0] * len(Reserve)
    for peer in peers:
        with peer:
            said, complained = peer.communicate()
            assert not complained
        report = json.loads(said)
        assert report["together"] == 0
        assert report["outcomes"][Reserve.OK] > 0
        outcomes = [a + b for a, b in zip(outcomes, report["outcomes"], strict=True)]
    # The race did happen, and nothing is left behind by it.
    assert outcomes[Reserve.FULL] > 0
    assert outcomes[Reserve.CHANGED] == 0
    assert [ledger.held(row) for row in range(RACE_ROWS)] == [0] * RACE_ROWS
