"""N6: clients of a real service that read nothing for a time get every result once."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.journal import Journal
from live.nodes import live_node
from live.raw import RawPeer, raw_session
from live.service import CONFIG, PATIENCE_S, LiveService, live_service, until

from pointsman import connect
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import Result, ResultAck, ResultsWaiting, Submit

NMT = ["nmt"]
# More than the 4 MiB that are sent unread, with what two kernels and the connection would take.
COUNT, SIZE = 120, 100_000
# Machines are busy: that a peer which reads nothing is ended is not what these tests are about.
PATIENT = CONFIG + f"node_stall_s = {PATIENCE_S}\n"


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(config=PATIENT) as started:
        yield started
        asyncio.run(started.has_no_slots_held())


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def body(number: int) -> bytes:
    return f"{number:06d}".encode() + b"x" * SIZE


async def test_n6_a_client_that_does_not_read_for_a_time_then_gets_every_result_once(
    service: LiveService, journal: Journal
) -> None:
    async with (
        live_node(service.address, journal, "ia", max_concurrency=8),
        raw_session(service.port, src_lang="en", tgt_lang="ia") as (peer, _),
        connect(service.address, src="en", tgt="ia") as other,
    ):
        for number in range(COUNT):
            submit = Submit(request_id=f"r{number}", services=NMT, src_lang="en", tgt_lang="ia")
            peer.say(submit, body(number))
        while len(journal.entries("end")) < COUNT:
            async with asyncio.timeout(PATIENCE_S):
                assert (await other.submit("others", services=NMT)).text == "srehto"
        results, waiting = await read_all(peer)
    assert sorted(results) == sorted(f"r{number}" for number in range(COUNT))
    assert waiting, "so much was not sent before something was read"
    journal.check_one_job_each()


async def read_all(peer: RawPeer) -> tuple[list[str], list[ResultsWaiting]]:
    """Read and acknowledge until all results are there; they come whole and in order."""
    results: list[str] = []
    waiting: list[ResultsWaiting] = []

    def note(message: Message) -> None:
        if isinstance(message, ResultsWaiting):
            waiting.append(message)

    while len(results) < COUNT:
        result, output = await peer.hear(Result, also=note)
        number = int(result.request_id.removeprefix("r"))
        assert output == body(number)[::-1]
        results.append(result.request_id)
        assert result.number == len(results)
        peer.say(ResultAck(results=[(0, result.number)]))
    return results, waiting


async def test_n6_a_program_that_is_busy_elsewhere_gets_every_result_by_itself(
    service: LiveService, journal: Journal
) -> None:
    """The loop of the client stands still meanwhile: nothing reads, nothing acknowledges."""
    go_on = threading.Event()
    got: list[bytes] = []

    async def client() -> None:
        async with connect(service.address, src="en", tgt="ie") as session:
            # All are on their way before the first has ended.
            late = {"sleep_s": 0.5}
            jobs = [session.stream(body(n), services=NMT, meta=late) for n in range(COUNT)]
            await until(lambda: len(journal.starts()) == COUNT, "all jobs have started")
            go_on.wait(PATIENCE_S)
            got.extend([(await job.result()).payload for job in jobs])

    async with live_node(service.address, journal, "ie", max_concurrency=COUNT):
        running = asyncio.create_task(asyncio.to_thread(asyncio.run, client()))
        await until(lambda: len(journal.entries("end")) == COUNT, "all jobs have ended")
        go_on.set()
        await running
    assert got == [body(number)[::-1] for number in range(COUNT)]
    journal.check_one_job_each()
