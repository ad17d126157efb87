"""What stands beside a payload: too much of it ends in words, and disturbs nobody else."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from live.nodes import running_node
from live.raw import raw_session
from live.service import LiveService, live_service

from pointsman import Job, JobError, JobFailed, Node, Reply, connect
from pointsman_wire.framing import encode_frame
from pointsman_wire.limits import HEADER_TAKEN_BYTES_MAX
from pointsman_wire.messages import META_BYTES_MAX
from pointsman_wire.session_messages import JobAccepted, Result, Submit

HUGE = "x" * 2_000_000


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(workers=1) as started:
        yield started


def _raises(code: str, message: str) -> Reply:
    raise JobError(code, message, retryable=False)


SAYS: dict[str, Callable[[], Reply]] = {
    "a meta that is too large": lambda: Reply(b"", meta={"x": HUGE}),
    "half a character": lambda: Reply(b"", meta={"x": "\ud800"}),
    "a long content type": lambda: Reply(b"", content_type=HUGE),
    "a long code": lambda: _raises(HUGE, "too long"),
    "half a character in words": lambda: _raises("OWN", "no \ud800"),
}


@pytest.fixture
async def node(service: LiveService) -> AsyncIterator[Node]:
    """A new one each time, that says what its job is called."""
    node = Node(service.address, services=["nmt"], nmt=[("en", "lh")])

    @node.handler
    async def say(job: Job) -> Reply:
        if job.text in SAYS:
            return SAYS[job.text]()
        return Reply(b"well", meta=job.meta if job.text == "meta" else None)

    async with running_node(node):
        yield node


@pytest.mark.parametrize("name", SAYS)
async def test_what_a_handler_says_fails_its_job_and_not_its_node(
    service: LiveService, node: Node, name: str
) -> None:
    """A result that could not be sent held its slot for ever, or ended lane after lane."""
    async with connect(service.address, src="en", tgt="lh") as session:
        with pytest.raises(JobFailed) as failed:
            await session.submit(name, services=["nmt"], timeout_s=5)
        is_raised = name in ("a long code", "half a character in words")
        assert failed.value.code == ("INTERNAL_ERROR" if is_raised else "INVALID_MESSAGE")
        assert len(str(failed.value)) < 1_000
        assert (await session.submit("else", services=["nmt"], wait_none_s=0)).text == "well"
    await service.has_no_slots_held()


async def test_as_much_meta_as_may_be_travels_to_a_node_and_back(
    service: LiveService, node: Node
) -> None:
    meta = {"x": "é" * ((META_BYTES_MAX - 8) // 2)}
    async with connect(service.address, src="en", tgt="lh") as session:
        result = await session.submit("meta", services=["nmt"], meta=meta)
    assert result.meta == meta


async def test_a_header_that_is_as_large_as_may_be_reaches_its_node(
    service: LiveService, node: Node
) -> None:
    """It grows on its way: nodes took no more than the service does, and lost lane after lane."""
    submit = Submit(request_id="full", services=["nmt"], meta={"x": ""})
    room = HEADER_TAKEN_BYTES_MAX - (len(encode_frame(submit)) - 8) - 4  # longer texts say how long
    full = Submit(request_id="full", services=["nmt"], meta={"x": "y" * room})
    assert len(encode_frame(full)) - 8 == HEADER_TAKEN_BYTES_MAX
    async with (
        raw_session(service.port, src_lang="en", tgt_lang="lh") as (peer, _),
        asyncio.timeout(10),
    ):
        peer.say(full, b"else")
        await peer.hear(JobAccepted)
        result, payload = await peer.hear(Result)
    assert (result.status, result.attempt, payload) == ("completed", 1, b"well")
