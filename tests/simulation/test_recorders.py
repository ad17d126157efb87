"""What real nodes and clients write down: enough for the checker, and never without bound."""

import asyncio
from pathlib import Path

import pytest
from live.service import LiveService, live_service

from pointsman import Job, Node, Trunk, connect
from pointsman.recording.facts import Fact, decode_fact
from pointsman.recording.history_file import HistoryFile
from pointsman_sim.checker.judging import judge
from pointsman_sim.checker.recording import load
from pointsman_sim.checker.verdicts import State


async def run_jobs(service: LiveService, path: Path) -> None:
    """A node, a session and a trunk's session with ten jobs each; all append to one file."""
    node = Node(service.address, services=["nmt"], nmt=[("en", "es")], node_id="n-1", history=path)

    @node.handler
    async def turn_round(job: Job) -> bytes:
        return job.payload[::-1]

    running = asyncio.create_task(node.run())
    await node.wait_ready()
    async with (
        connect(service.address, src="en", tgt="es", history=path) as session,
        Trunk(service.address, history=path) as trunk,
    ):
        other = await trunk.open(src="en", tgt="es")
        for one in (session, other):
            jobs = [one.submit(f"{n}", services=["nmt"], explain=True) for n in range(10)]
            await asyncio.gather(*jobs)
        await other.close()
    await node.drain()
    await running


async def test_a_node_and_its_clients_record_what_the_checker_needs(tmp_path: Path) -> None:
    """L7: every job of a calm run is judged, and nothing is broken."""
    path = tmp_path / "history.jsonl"
    with live_service(workers=1) as service:
        await run_jobs(service, path)
    judgement = judge(load([path]))
    assert judgement.is_kept, judgement.verdicts
    assert (judgement.accepted, judgement.ended, judgement.starts) == (20, 20, 20)
    held = {v.promise for v in judgement.verdicts if v.state is State.HELD}
    assert held == {"I1", "I2", "I3", "I4", "I5", "I7", "I8", "I11", "I12"}
    assert judgement.capacity_refusals == 0
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("bound", [0, 300])
def test_a_history_stops_at_its_bound_and_says_so(tmp_path: Path, bound: int) -> None:
    """I9: nothing is written after the last line, which says that the rest is missing."""
    path = tmp_path / "history.jsonl"
    file = HistoryFile(path, bytes_max=bound)
    for number in range(100):
        file.write([Fact(at_ns=number, by="agent", who="n", what="begin", words="w" * 20)])
    file.close()
    facts = [decode_fact(line) for line in path.read_bytes().splitlines()]
    assert [fact.what for fact in facts][-1:] == ["full"]
    assert len(facts) < 10
    assert not judge(facts).is_complete
