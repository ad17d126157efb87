"""Bytes that are no protocol: each is told so where it can be, and nobody else notices."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import msgspec
import psutil
import pytest
from live.bystander import Bystander, bystander
from live.raw import raw_peer, raw_role, raw_session
from live.service import PATIENCE_S, LiveService, live_service

from pointsman_wire.framing import encode_frame
from pointsman_wire.limits import FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX
from pointsman_wire.messages import Error
from pointsman_wire.preamble import MAGIC, Role, encode_preamble
from pointsman_wire.session_messages import (
    Cancel,
    ClientHeartbeat,
    ClientHeartbeatAck,
    ResultAck,
    SessionInit,
    Submit,
)

SESSION = encode_preamble(Role.SESSION)
NOISE = Random(7).randbytes(5000)
FOREIGN = {
    "TLS": bytes.fromhex("16030102000100") + NOISE[:300],
    "zeros": bytes(64),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "noise": b"\x01" + NOISE,
    "little": b"\x80",
}
pack = msgspec.msgpack.encode


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started


@pytest.fixture(autouse=True)
async def someone(service: LiveService, tmp_path: Path) -> AsyncIterator[Bystander]:
    """Works on beside every test here; see bystander.py."""
    async with bystander(service, tmp_path) as working:
        yield working


def frame(header: bytes, payload: bytes = b"") -> bytes:
    """A frame around whatever header."""
    return struct.pack("<II", 4 + len(header) + len(payload), len(header)) + header + payload


# ---- no preamble


@pytest.mark.parametrize(
    "line", ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /api HTTP/1.1\r\n\r\n"]
)
async def test_a_browser_is_told_what_this_port_is(service: LiveService, line: str) -> None:
    async with raw_peer(service.port, line.encode()) as browser:
        answer = (await browser.rest()).decode()
    assert answer.startswith("HTTP/1.1 404 "), "no console runs here"
    assert "its console does not run" in answer
    assert "pointsman submit" in answer


@pytest.mark.parametrize("name", FOREIGN)
async def test_another_protocol_is_told_so_and_cut_off(service: LiveService, name: str) -> None:
    """N13."""
    async with raw_peer(service.port, FOREIGN[name]) as stranger:
        assert "speaks Pointsman's binary protocol" in await stranger.refusal()


PREAMBLES = {
    "version": (
        MAGIC + b"\x07" + SESSION[5:],
        "protocol version 7 was offered, version 1 is spoken here",
    ),
    "role": (MAGIC + b"\x01\x09" + SESSION[6:], "role 9 is unknown"),
    "lane": (
        encode_preamble(Role.LANE, 2),
        "worker 2 was dialled, of 2 that are counted from 0",
    ),
    "trunk": (encode_preamble(Role.TRUNK, 2**32 - 1), "worker 4294967295 was dialled, of 2"),
}


@pytest.mark.parametrize("name", PREAMBLES)
async def test_a_wrong_preamble_is_refused_in_words(service: LiveService, name: str) -> None:
    hello, words = PREAMBLES[name]
    async with raw_peer(service.port, hello) as stranger:
        assert words in await stranger.refusal()


async def test_half_preambles_by_the_hundred_disturb_nobody(
    service: LiveService, someone: Bystander
) -> None:
    """N14: 400 at once, above the bound on strangers; all are gone soon after their time."""
    before_s = cpu_seconds(service)
    async with AsyncExitStack() as stack:
        halves = [
            await stack.enter_async_context(raw_peer(service.port, SESSION[: 1 + n % 15]))
            for n in range(400)
        ]
        done = list(someone.done)
        for half in halves:
            await half.rest()
        assert someone.has_done_more(done), "it worked while they were waited for"
    assert cpu_seconds(service) - before_s < 10, "waiting for what does not come costs nothing"


def cpu_seconds(service: LiveService) -> float:
    pids = service.process.pids().values()
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


# ---- frames


LENGTHS = {
    "2 GiB": (2**31, 10, "2147483652 bytes was announced, at most 16384"),
    "4 GiB": (2**32 - 1, 10, "4294967299 bytes was announced, at most 16384"),
    "above a first frame's": (HANDSHAKE_BYTES_MAX - 3, 10, "at most 16384"),
    "nothing": (0, 0, "length"),
    "less than a header's": (3, 0, "length"),
    "a header longer than its frame": (100, 97, "header"),
}


@pytest.mark.parametrize("name", LENGTHS)
async def test_an_impossible_length_ends_a_strangers_connection_with_words(
    service: LiveService, name: str
) -> None:
    """N13: before anything is allocated for it."""
    length, header, words = LENGTHS[name]
    async with raw_peer(service.port, SESSION + struct.pack("<II", length, header)) as stranger:
        refusal = await stranger.refusal()
        assert refusal.startswith("INVALID_MESSAGE: ")
        assert words in refusal


async def test_an_oversized_frame_ends_a_known_peers_connection_with_words(
    service: LiveService,
) -> None:
    async with raw_session(service.port) as (peer, _):
        peer.write(struct.pack("<II", FRAME_BYTES_MAX, 10) + bytes(1000))
        assert "INVALID_MESSAGE" in await peer.refusal()


HEADERS = {
    "no msgpack": b"\xc1\xc1\xc1",
    "no map": pack([1, 2, 3]),
    "no type": pack({"session_number": 1}),
    "unknown type": pack({"type": "teleport"}),
    "type is a number": pack({"type": 7}),
    "wrong direction": pack({"type": "result"}),
    "wrong connection": pack({"type": "register"}),
    "field of a wrong type": pack({"type": "submit", "session_number": "none"}),
    "number out of bounds": pack({"type": "submit", "session_number": -1}),
    "no text": b"\x82\xa4type\xa6submit\xaarequest_id\xa4\xff\xfe\xfd\xfc",
    "too long a text": pack({"type": "submit", "request_id": "x" * 129}),
    "deep meta": pack({"type": "submit", "meta": {"a": 1}}).replace(
        pack({"a": 1}), b"\x81\xa1a" * 1000 + b"\x80"
    ),
    "very deep": b"\x81\xa1a" * 100_000 + b"\x80",
    "nan": pack({"type": "submit", "timeout_s": float("nan")}),
    "infinite": pack({"type": "submit", "deadline_s": float("inf")}),
    "announces much": b"\xdf\xff\xff\xff\xff",
    "empty": b"",
    "same key twice": b"\x83\xa4type\xa6submit\xa4type\xa6cancel\xa4type\xa1x",
}


@pytest.mark.parametrize("name", HEADERS)
async def test_a_header_that_is_no_message_is_answered_and_the_connection_goes_on(
    service: LiveService, name: str
) -> None:
    """N13."""
    async with raw_session(service.port) as (peer, _):
        peer.write(frame(HEADERS[name], b"payload"))
        peer.say(ClientHeartbeat(number=5))
        error, _ = await peer.hear(Error)
        assert error.error.code == "INVALID_MESSAGE", error
        assert error.error.message
        assert (await peer.hear(ClientHeartbeatAck))[0].number == 5


async def test_garbage_before_the_first_message_is_answered_and_waited_out(
    service: LiveService,
) -> None:
    async with raw_role(service.port, Role.SESSION) as peer:
        peer.write(frame(b"\xc1" * 100))
        assert (await peer.hear(Error))[0].error.code == "INVALID_MESSAGE"
        await peer.rest()


async def test_a_frame_that_does_not_arrive_whole_ends_the_connection(
    service: LiveService,
) -> None:
    """Absolute from its first byte: a byte now and then does not help (slowloris)."""
    async with raw_session(service.port) as (peer, _):
        peer.write(struct.pack("<II", 1000, 500) + bytes(100))
        assert "did not arrive whole within 1.5 s" in await peer.refusal()


async def test_a_hundred_that_drip_are_gone_and_nobody_waited_for_them(
    service: LiveService, someone: Bystander
) -> None:
    """N14: slowloris, a byte each 0.2 s: in the preamble, in the first frame, in a later one."""
    init = encode_frame(SessionInit())
    done = list(someone.done)

    async def drip(number: int) -> None:
        kind = number % 3
        said = (b"", SESSION, SESSION + init)[kind]
        drops = (SESSION, init, struct.pack("<II", 1000, 500) + bytes(996))[kind]
        async with raw_peer(service.port, said) as peer:
            ending = asyncio.create_task(peer.rest())
            for drop in drops:
                if ending.done():
                    break
                peer.write(bytes([drop]))
                await asyncio.wait([ending], timeout=0.2)
            async with asyncio.timeout(10):
                await ending

    await asyncio.gather(*map(drip, range(100)))
    await someone.goes_on(done)


async def test_a_connection_that_ends_amid_a_frame_is_forgotten(service: LiveService) -> None:
    whole = encode_frame(Submit(request_id="never"), b"x" * 500)
    for length in (1, 4, 7, 8, 20, len(whole) - 1):
        async with raw_session(service.port) as (peer, _):
            peer.write(whole[:length])
    status = await service.counters()
    assert status["jobs_accepted"] > 0


# ---- messages that make no sense


async def test_a_session_init_that_cannot_be_read_is_refused_under_its_ref(
    service: LiveService,
) -> None:
    """On a trunk nothing else says which of many it was: its client waited until it gave up."""
    async with raw_role(service.port, Role.TRUNK, 0) as peer:
        peer.write(frame(pack({"type": "session_init", "ref": 7, "order": "odd"})))
        error, _ = await peer.hear(Error)
        assert (error.error.code, error.ref) == ("INVALID_MESSAGE", 7)
        assert "order" in error.error.message


async def test_an_unknown_session_number_is_answered_with_what_to_do(
    service: LiveService,
) -> None:
    async with raw_session(service.port) as (peer, _):
        peer.say(Submit(session_number=77, request_id="r", services=["nmt"]))
        error, _ = await peer.hear(Error)
        assert error.error.code == "INVALID_SESSION"
        assert (error.session_number, error.request_id) == (77, "r")
        assert "77 is not open" in error.error.message
        assert "session_init" in error.error.hint


async def test_acknowledgements_for_the_future_mean_nothing(service: LiveService) -> None:
    async with raw_session(service.port) as (peer, ack):
        peer.say(ResultAck(results=[(ack.session_number, 2**63 - 1), (99, 5)]))
        peer.say(ClientHeartbeat(number=1))
        assert (await peer.hear(ClientHeartbeatAck))[0].number == 1


async def test_a_flood_of_nonsense_ends_its_connection_with_words(
    service: LiveService, someone: Bystander
) -> None:
    """Ten peers with ten thousand bad frames each; the log has no traceback of it."""
    done = list(someone.done)
    async with AsyncExitStack() as stack:
        peers = [(await stack.enter_async_context(raw_session(service.port)))[0] for _ in range(10)]
        for peer in peers:
            peer.write(frame(b"\xc1") * 10_000)
        for peer in peers:
            assert "100 frames in a row were no messages" in await peer.refusal()
        await someone.goes_on(done)


async def test_who_sends_without_end_and_reads_nothing_is_cut_off(
    service: LiveService, someone: Bystander
) -> None:
    """I9: a slow consumer; what the service would have to hold for it is bounded."""
    done = list(someone.done)
    flood = encode_frame(Cancel(request_id="unknown")) * 10_000
    sizes = [memory_bytes(service)]

    async def send_without_end(peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, SESSION + encode_frame(SessionInit()))
        while True:
            await loop.sock_sendall(peer, flood)
            sizes.append(memory_bytes(service))

    with socket.create_connection(("127.0.0.1", service.port)) as peer:
        peer.setblocking(False)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_without_end(peer), PATIENCE_S)
    assert max(sizes) - sizes[0] < 100 * 1024 * 1024
    await someone.goes_on(done)


def memory_bytes(service: LiveService) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in service.process.pids().values())
