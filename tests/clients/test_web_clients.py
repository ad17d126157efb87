"""The client over WebSocket does what it does over the binary protocol: the same stories, twice."""

import asyncio
import sys
from importlib import import_module
from typing import Any

import pytest
from live.fake_service import Peer, fake_service
from test_shells import make_node, running, shout

from pointsman import Job, JobExpired, Reply, Trunk, Unreachable, connect
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import Submit
from pointsman_wire.sockets.tcp import AddressError

SCHEMES = ("", "ws://")


@pytest.fixture(params=SCHEMES, ids=["binary", "web"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_job_goes_there_and_back(scheme: str) -> None:
    async with fake_service() as service:
        node = make_node(service)
        body = bytes(range(256)) * 1_000

        @node.handler
        async def turn_round(job: Job) -> Reply:
            return Reply(job.payload[::-1], meta={"words": [1, None, "¿?"]})

        async with running(node), connect(scheme + service.address, src="en") as session:
            result = await session.submit(body, request_id="r-1", services=["nmt"])
            assert result.payload == body[::-1]
            assert (result.request_id, result.meta) == ("r-1", {"words": [1, None, "¿?"]})
            assert (session.session_id, session.instance) == ("made-here", "fake")


async def test_partials_come_before_the_result(scheme: str) -> None:
    async with fake_service() as service:
        node = make_node(service)

        @node.handler
        async def count(job: Job) -> bytes:
            for n in range(3):
                await job.partial(f"{n}")
            return b"done"

        async with running(node), connect(scheme + service.address) as session:
            stream = session.stream(b"count")
            assert [part.text async for part in stream] == ["0", "1", "2"]
            assert (await stream.result()).payload == b"done"


async def test_a_job_that_finds_no_node_expires(scheme: str) -> None:
    async with fake_service() as service, connect(scheme + service.address) as session:
        with pytest.raises(JobExpired):
            await session.submit(b"hello", wait_none_s=0)


async def test_a_lost_connection_is_taken_up_again_with_what_was_submitted(scheme: str) -> None:
    async with fake_service() as service:
        node = make_node(service)
        node.handler(shout)
        cuts: list[Peer] = []

        def cut_first(peer: Peer, message: Message) -> bool:
            if isinstance(message, Submit) and not cuts:
                cuts.append(peer)
                peer.cut()
                return True
            return False

        service.special = cut_first
        async with running(node), connect(scheme + service.address) as session:
            async with asyncio.timeout(20):
                result = await session.submit(b"hello")
            assert result.payload == b"HELLO"
        assert len(cuts) == 1
    if scheme:
        assert service.targets == ["/session", "/session?id=made-here"]


async def test_a_session_names_its_id_in_the_target() -> None:
    async with fake_service() as service:
        async with connect(f"ws://{service.address}/", session_id="a b/é") as session:
            assert session.session_id == "a b/é"
        assert service.targets == ["/session?id=a%20b%2F%C3%A9"]


async def test_what_outgrows_the_bound_in_json_is_refused_before_it_is_sent() -> None:
    """Control characters are six bytes each there; the service cannot say which submit it was."""
    words = r"^submit: 960\d{3} bytes of JSON beside the payload, at most 917000 .*tcp"
    meta = {"x": "\x01" * 160_000}
    async with fake_service() as service, asyncio.timeout(10):
        node = make_node(service)
        node.handler(shout)
        web = connect(f"ws://{service.address}")
        async with running(node), connect(service.address) as binary, web as session:
            assert (await binary.submit(b"a", meta=meta)).payload == b"A"
            with pytest.raises(ValueError, match=words):
                await session.submit(b"a", meta=meta)
            with pytest.raises(ValueError, match=words):
                session.stream(b"a", meta=meta)
            meta = {"x": "\x01" * 150_000}
            assert (await session.submit(b"a", meta=meta)).payload == b"A"


async def test_a_refused_upgrade_is_told_in_its_words() -> None:
    async with fake_service() as service:
        service.web_status = 503
        with pytest.raises(Unreachable, match="503 Service Unavailable: come back later"):
            async with connect(f"ws://{service.address}", connect_timeout_s=0.5):
                raise AssertionError("it opened")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-whatever\r\n"], ids=["silence", "another"])
async def test_who_speaks_no_http_is_no_service(answer: bytes) -> None:
    ends: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        ends.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Unreachable, match=f"no WebSocket at 127.0.0.1:{port}"):
            async with connect(f"ws://127.0.0.1:{port}", connect_timeout_s=0.5):
                raise AssertionError("it opened")
    assert ends


@pytest.mark.parametrize("address", ["http://127.0.0.1:7400", "ws://127.0.0.1", "ws://h:1/path"])
async def test_addresses_that_are_none_are_said_at_once(address: str) -> None:
    with pytest.raises(AddressError, match="HOST:PORT"):
        async with connect(address):
            raise AssertionError("it opened")


@pytest.mark.parametrize("said", [{"pin": "sha256:" + "A" * 43 + "="}, {"ca": "ca.pem"}])
async def test_whom_to_believe_is_not_said_for_a_connection_that_nobody_proves(
    said: dict[str, Any],
) -> None:
    with pytest.raises(AddressError, match="write wss://"):
        async with connect("ws://127.0.0.1:1", **said):
            raise AssertionError("connected, unprotected")


async def test_a_trunk_has_no_websocket() -> None:
    with pytest.raises(AddressError, match="a trunk speaks the binary protocol"):
        async with Trunk("ws://127.0.0.1:7400"):
            raise AssertionError("it opened")


async def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "pointsman_wire.sockets.web.web_dialled"
    import_module(module)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pointsman\[web\]'"):
        async with connect("ws://127.0.0.1:7400"):
            raise AssertionError("it opened")
