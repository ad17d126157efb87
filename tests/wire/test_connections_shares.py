"""A turn takes its share from each connection, so that nobody who sends a lot holds others up."""

import asyncio
import json
from typing import Any

from shells.socket_harness import NotingCore, Peer, accepted, beat, driving, until
from web.web_harness import TEXT, frame, large_frame, raw_socket, web_place

from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable, encode_frame
from pointsman_wire.link import Close, Received, Send
from pointsman_wire.messages import Error, Message, error_info
from pointsman_wire.session_messages import ClientHeartbeat, ResultAck
from pointsman_wire.sockets.bounds import ConnectionLimits

FEW = ConnectionLimits(frames_a_turn_max=10, unreadable_max=5, unreadable_forgiven_a_second=0)


class Unheard(Message, tag="unheard_of", frozen=True):
    """A message that no version knows."""


def numbers(core: NotingCore) -> list[int]:
    return [message.number for message, _ in core.frames()]


async def test_many_frames_of_one_read_are_told_in_shares_and_in_order() -> None:
    core = NotingCore()
    async with driving(core, limits=FEW) as driver:
        peer = await accepted(driver)
        await peer.send(beat(0))
        await until(lambda: core.frames())
        await peer.send(b"".join(beat(number) for number in range(1, 200)))
        await until(lambda: len(core.frames()) == 200)
        assert numbers(core) == list(range(200))
        assert max(len(received.frames) for received in core.events(Received)) <= 10
        assert all(
            sum(isinstance(event, Received) for event in events) <= 1 for _, events in core.steps
        )
        peer.close()


async def test_others_are_heard_between_the_shares() -> None:
    core = NotingCore()
    async with driving(core, limits=FEW) as driver:
        loud, quiet = await accepted(driver), await accepted(driver)
        await loud.send(beat(0))
        await quiet.send(beat(0))
        await until(lambda: len(core.frames()) == 2)
        await loud.send(b"".join(beat(1) for _ in range(2000)))
        await quiet.send(beat(7))
        await until(lambda: len(core.frames()) == 2003)
        assert numbers(core).index(7) < 1000
        loud.close()
        quiet.close()


def told_in_turns(core: NotingCore) -> list[int]:
    """How many frames each turn has told."""
    return [
        sum(len(event.frames) for event in events if isinstance(event, Received))
        for _, events in core.steps
    ]


async def test_large_frames_are_told_a_few_a_turn_however_fast_they_come() -> None:
    """Each takes long to decode, and some loops read from one socket until nothing is left."""
    core = NotingCore()
    large = encode_frame(ResultAck(results=[(0, 1)] * 70_000))
    async with driving(core) as driver:
        loud = await accepted(driver, is_tcp=True)
        await loud.send(beat(0))
        await until(lambda: core.frames())
        loud.sock.setblocking(True)
        await asyncio.to_thread(loud.sock.sendall, large * 60)
        await until(lambda: len(core.frames()) == 61)
        assert max(told_in_turns(core)) * len(large) <= 2**20
        loud.close()


async def test_large_messages_over_websocket_are_told_a_few_a_turn_as_well() -> None:
    core = NotingCore()
    text = json.dumps({"type": "result_ack", "results": [[0, 1]] * 25_000}).encode()
    large = large_frame(TEXT, text)
    async with web_place(core) as place, raw_socket(place.port) as raw:
        await raw.send(frame(TEXT, b'{"type": "client_heartbeat", "number": 1}'))
        await until(lambda: core.frames())
        raw.sock.setblocking(True)
        await asyncio.to_thread(raw.sock.sendall, large * 60)
        await until(lambda: len(core.frames()) == 61)
    assert max(told_in_turns(core)) * len(large) <= 2**20


async def test_a_frame_that_is_cut_at_the_end_of_a_share_arrives_whole() -> None:
    core = NotingCore()
    async with driving(core, limits=FEW) as driver:
        peer = await accepted(driver)
        stream = b"".join(beat(number) for number in range(50))
        for at in range(0, len(stream), 77):
            await peer.send(stream[at : at + 77])
        await until(lambda: len(core.frames()) == 50)
        assert numbers(core) == list(range(50))
        peer.close()


async def test_what_was_sent_before_the_end_is_told_share_by_share() -> None:
    core = NotingCore()
    async with driving(core, limits=FEW) as driver:
        peer = await accepted(driver)
        await peer.send(b"".join(beat(number) for number in range(100)))
        peer.close()
        await until(core.closings)
        assert numbers(core) == list(range(100))


async def test_many_frames_that_are_no_messages_end_the_connection_with_words() -> None:
    core = NotingCore()
    async with driving(core, limits=FEW) as driver:
        peer = await accepted(driver)
        await peer.send(beat(1) + encode_frame(Unheard()) * 5 + beat(2))
        await until(lambda: len(core.frames()) == 7)
        await peer.send(encode_frame(Unheard()) + beat(3))
        assert "5 frames in a row were no messages" in await last_words(peer)
        assert core.closings() == ["5 frames in a row were no messages"]
        assert ClientHeartbeat(number=3) not in [message for message, _ in core.frames()]
        peer.close()


async def test_frames_that_are_no_messages_and_come_slowly_are_forgiven() -> None:
    core = NotingCore()
    limits = ConnectionLimits(unreadable_max=2, unreadable_forgiven_a_second=1_000_000)
    async with driving(core, limits=limits) as driver:
        peer = await accepted(driver)
        for count in range(1, 20):
            await peer.send(encode_frame(Unheard()))
            await until(lambda count=count: len(core.frames()) == count)  # type: ignore[misc]
        assert all(isinstance(message, Unreadable) for message, _ in core.frames())
        assert core.closings() == []
        peer.close()


def refusing(event: Any) -> list[Any]:
    """Answer whatever comes by an error, and end the connection."""
    if not isinstance(event, Received):
        return []
    words = Error(error_info(Code.INVALID_MESSAGE, "enough"))
    return [Send(event.connection, words), Close(event.connection, "enough")]


async def test_who_is_ended_amid_its_shares_is_not_reset_while_it_sends_on() -> None:
    core = NotingCore(refusing)
    limits = ConnectionLimits(frames_a_turn_max=10, linger_s=5.0)
    async with driving(core, limits=limits) as driver:
        peer = await accepted(driver, is_tcp=True)
        # More than the kernel takes by itself: who is not read from cannot send all of it.
        await peer.send(b"".join(beat(number) for number in range(200_000)))
        assert await last_words(peer) == "enough"
        assert len(core.frames()) == 10
        peer.close()


async def test_who_is_ended_amid_its_shares_is_gone_as_soon_as_it_leaves() -> None:
    core = NotingCore(refusing)
    limits = ConnectionLimits(frames_a_turn_max=10, linger_s=60.0)
    async with driving(core, limits=limits) as driver:
        peer = await accepted(driver)
        await peer.send(b"".join(beat(number) for number in range(100)))
        assert await last_words(peer) == "enough"
        peer.close()
        await until(lambda: driver.connection_count == 0)


async def last_words(peer: Peer) -> str:
    messages = await peer.read_to_the_end()
    error = messages[-1][0]
    assert isinstance(error, Error)
    return error.error.message
