"""Frames through real sockets: however the bytes are cut, the messages are the same."""

import asyncio
import struct

import pytest
from shells.socket_harness import NotingCore, accepted, beat, driving, echo, until

from pointsman_wire.framing import Unreadable, encode_frame
from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.link import Accepted, Closed, Received
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import ClientHeartbeat, SessionInit, Submit
from pointsman_wire.sockets.bounds import ConnectionLimits


class Unheard(Message, tag="unheard_of", frozen=True):
    """A message that no version knows."""


async def test_n4_frames_split_at_every_offset_arrive_the_same() -> None:
    sent = [
        (SessionInit(ref=1, session_id="s"), b""),
        (Submit(session_number=1, request_id="r", services=["nmt"]), b"payload"),
        (ClientHeartbeat(number=3), b""),
    ]
    stream = b"".join(encode_frame(message, payload) for message, payload in sent)
    core = NotingCore()
    async with driving(core) as driver:
        for offset in range(1, len(stream)):
            core.steps.clear()
            peer = await accepted(driver)
            await peer.send(stream[:offset])
            await until(lambda: core.events(Accepted))
            await asyncio.sleep(0)
            await peer.send(stream[offset:])
            await until(lambda: len(core.frames()) >= len(sent), f"offset {offset}")
            assert core.frames() == sent
            peer.close()
            await until(lambda: core.events(Closed))


async def test_n4_frames_that_come_byte_by_byte_arrive_the_same() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver, is_tcp=True)
        for byte in beat(1) + beat(2):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await until(lambda: len(core.frames()) == 2)
        assert core.frames() == [(ClientHeartbeat(number=1), b""), (ClientHeartbeat(number=2), b"")]
        peer.close()


async def test_coalesced_frames_are_told_as_one_batch() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver)
        await until(lambda: core.events(Accepted))
        await peer.send(b"".join(beat(number) for number in range(500)))
        await until(lambda: len(core.frames()) == 500)
        assert len(core.events(Received)) == 1
        assert [message.number for message, _ in core.frames()] == [*range(500)]
        peer.close()


async def test_large_payloads_between_small_frames_keep_their_order_and_bytes() -> None:
    payloads = [bytes([number]) * (number * 150_000) for number in range(1, 7)]
    frames = [
        encode_frame(Submit(request_id=str(number)), payload) + beat(number)
        for number, payload in enumerate(payloads)
    ]
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver, is_tcp=True)
        await peer.send(b"".join([beat(0), *frames]))
        await until(lambda: len(core.frames()) == 1 + 2 * len(payloads))
        got = [payload for message, payload in core.frames() if isinstance(message, Submit)]
        assert got == payloads
        peer.close()


async def test_an_unknown_message_takes_its_place_in_the_batch() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver)
        await peer.send(beat(1) + encode_frame(Unheard(), b"x") + beat(2))
        await until(lambda: len(core.frames()) == 3)
        (_, (unreadable, payload), _) = core.frames()
        assert isinstance(unreadable, Unreadable)
        assert unreadable.name == "unheard_of"
        assert payload == b"x"
        peer.close()


@pytest.mark.parametrize("length", [FRAME_BYTES_MAX, 2**31, 2**32 - 1])
async def test_n13_an_oversized_frame_is_answered_by_an_error_and_the_connection_closed(
    length: int,
) -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver, is_tcp=True)
        await peer.send(beat(1) + struct.pack("<II", length, 8) + b"z" * 100_000)
        [(error, _)] = await peer.read_to_the_end()
        assert isinstance(error, Error)
        assert error.error.code == "INVALID_MESSAGE"
        assert str(length + 4) in error.error.message
        assert [message for message, _ in core.frames()] == [ClientHeartbeat(number=1)]
        assert len(core.closings()) == 1
        assert "announced" in core.closings()[0]
        peer.close()


async def test_n13_a_header_longer_than_its_frame_is_answered_by_an_error() -> None:
    core = NotingCore()
    async with driving(core) as driver:
        peer = await accepted(driver)
        await peer.send(beat(1) + struct.pack("<II", 20, 99) + b"z" * 16)
        [(error, _)] = await peer.read_to_the_end()
        assert isinstance(error, Error)
        assert len(core.closings()) == 1
        peer.close()


async def test_a_frame_above_the_handshakes_bound_is_refused_only_before_the_first_message() -> (
    None
):
    limits = ConnectionLimits(first_frame_bytes_max=1000)
    large = encode_frame(Submit(request_id="r"), b"x" * 2000)
    core = NotingCore()
    async with driving(core, limits=limits) as driver:
        early = await accepted(driver)
        await early.send(large)
        [(error, _)] = await early.read_to_the_end()
        assert isinstance(error, Error)
        assert core.frames() == []
        late = await accepted(driver)
        await late.send(beat(1) + large)
        await until(lambda: len(core.frames()) == 2)
        early.close()
        late.close()


async def test_a_registration_may_be_larger_than_other_first_frames() -> None:
    limits = ConnectionLimits(first_frame_bytes_max=100, register_bytes_max=1000)
    core = NotingCore()
    large = encode_frame(Submit(request_id="r"), b"x" * 500)
    unions = dict.fromkeys(Role, Submit)
    async with driving(core, limits=limits, unions=unions) as driver:
        peer = await accepted(driver, preamble=Preamble(Role.CONTROL, None))
        await peer.send(large)
        await until(lambda: len(core.frames()) == 1)
        other = await accepted(driver, preamble=Preamble(Role.LANE, 1))
        await other.send(large)
        await until(lambda: core.closings())
        peer.close()
        other.close()


async def test_what_comes_back_is_what_was_sent() -> None:
    core = NotingCore(echo)
    async with driving(core) as driver:
        peer = await accepted(driver)
        peer._decoder = type(peer._decoder)(ClientHeartbeat | Submit)
        payload = bytes(range(256)) * 4096
        sent = [(ClientHeartbeat(number=n), b"") for n in range(100)]
        sent += [(Submit(request_id="big"), payload)]  # type: ignore[list-item]
        await peer.send(b"".join(encode_frame(message, body) for message, body in sent))
        assert await peer.read_until(len(sent)) == sent
        peer.close()
