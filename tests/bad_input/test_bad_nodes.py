"""Nodes that lie, forge, or cannot be: each is told why, and nobody else notices."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from live.bystander import Bystander, bystander
from live.journal import Journal
from live.nodes import live_node
from live.raw import lane_open, raw_control, raw_role
from live.raw_node import RawNode
from live.service import LiveService, live_service

from pointsman import Node, NodeRefused, connect
from pointsman_wire.control_messages import (
    Heartbeat,
    Register,
    Service,
)
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    JobFence,
    LaneReport,
    NodeResult,
)
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role

NMT = [Service(id="nmt", kind="nmt")]
FAR = 2**63 - 1


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as started:
        yield started
        asyncio.run(started.has_no_slots_held())


@pytest.fixture(autouse=True)
async def someone(service: LiveService, tmp_path: Path) -> AsyncIterator[Bystander]:
    """Works on beside every test here; see bystander.py."""
    async with bystander(service, tmp_path) as working:
        yield working


async def refused(service: LiveService, header: dict[str, Any]) -> str:
    """Say this map as the first message of a node; return code and words of the refusal."""
    async with raw_role(service.port, Role.CONTROL) as peer:
        packed = msgspec.msgpack.encode(header)
        peer.write(struct.pack("<II", 4 + len(packed), len(packed)) + packed)
        error, _ = await peer.hear(Error)
        return f"{error.error.code}: {error.error.message}"


# ---- registering


REGISTERS: dict[str, tuple[dict[str, Any], str]] = {
    "a thousand million slots": ({"max_concurrency": 10**9}, "max_concurrency"),
    "no slots": ({"max_concurrency": 0}, "max_concurrency"),
    "another schema": (
        {"schema_version": 7},
        "INVALID_CAPABILITY_SCHEMA: schema_version: 7 was sent, version 1 is spoken here",
    ),
    "an unknown service": (
        {"services": [{"id": "x", "kind": "telepathy"}]},
        "INVALID_CAPABILITY_SCHEMA: services[0].kind: 'telepathy' is no service type of this "
        "server; it has asr, nmt, semantic, tone, tts",
    ),
    "a service twice": (
        {"services": [{"id": "x", "kind": "nmt"}, {"id": "x", "kind": "asr"}]},
        "services[1].id: 'x' is there twice",
    ),
    "a language that is none": ({"asr": ["!?"]}, "asr: '!?' is no language code"),
    "an id with blanks": ({"node_id": "my node"}, "node_id"),
    "an id too long": ({"node_id": "n" * 65}, "node_id"),
    "a hundred services": (
        {"services": [{"id": f"s{n}", "kind": "nmt"} for n in range(100)]},
        "services",
    ),
    "a text for a number": ({"max_concurrency": "many"}, "max_concurrency"),
    "more than a page can hold": (
        {"features": [f"{n:03}" + "f" * 120 for n in range(250)], "services": []},
        "INVALID_CAPABILITY_SCHEMA",
    ),
}


@pytest.mark.parametrize("name", REGISTERS)
async def test_a_declaration_that_cannot_be_is_refused_by_its_field(
    service: LiveService, name: str
) -> None:
    fields, words = REGISTERS[name]
    header = {"type": "register", "services": [{"id": "nmt", "kind": "nmt"}], **fields}
    assert words in await refused(service, header)


async def test_a_record_of_a_megabyte_is_cut_off_before_it_is_read(service: LiveService) -> None:
    async with raw_role(service.port, Role.CONTROL) as peer:
        peer.write(struct.pack("<II", 1024 * 1024, 1024 * 1024 - 4) + b"x" * 100_000)
        assert "1048580 bytes was announced, at most 65536" in await peer.refusal()


async def test_users_are_told_in_the_servers_words_why_their_node_is_refused(
    service: LiveService,
) -> None:
    node = Node(service.address, services=["telepathy"])
    node.handler(lambda job: job.payload)
    with pytest.raises(NodeRefused, match="'telepathy' is no service type") as caught:
        await node.run()
    assert not caught.value.retryable
    with pytest.raises(ValueError, match="max_concurrency"):
        Node(service.address, services=["nmt"], max_concurrency=10**9)


async def test_a_node_id_belongs_to_its_key(service: LiveService, tmp_path: Path) -> None:
    """N7, I12: another key, or none, is refused, and the owner goes on undisturbed."""
    tgt = f"t{uuid4().hex[:6]}"
    name = f"owned-{tgt}"
    async with (
        live_node(service.address, Journal(tmp_path / "j"), tgt, node_id=name),
        connect(service.address, src="en", tgt=tgt) as session,
    ):
        row = (await service.nodes())[name]
        for key, words in {"": "must prove it", "k" * 64: "belongs to another key"}.items():
            header = {"type": "register", "node_id": name, "key": key}
            refusal = await refused(service, header)
            assert refusal.startswith("NODE_ID_CONFLICT: ")
            assert words in refusal
            assert (await session.submit("x", services=["nmt"])).node_id == name
        assert (await service.nodes())[name].epoch == row.epoch


async def test_two_machines_with_one_identity_are_both_put_aside(service: LiveService) -> None:
    """N7: the newer wins, with a higher epoch; the third takeover in a minute ends both."""
    name = f"cloned-{uuid4().hex[:6]}"
    async with AsyncExitStack() as stack:
        first, told = await stack.enter_async_context(
            raw_control(service.port, Register(node_id=name, services=NMT))
        )
        assert told.key
        copy = Register(node_id=name, key=told.key, services=NMT)
        for count in range(1, 3):
            second, again = await stack.enter_async_context(raw_control(service.port, copy))
            assert (again.row, again.generation) == (told.row, told.generation)
            assert again.epoch == told.epoch + count
            assert "CONFLICT" in await first.refusal()
            first = second
        third = await stack.enter_async_context(raw_role(service.port, Role.CONTROL))
        third.say(copy)
        assert "NODE_ID_CONFLICT" in await third.refusal()
        assert "NODE_ID_CONFLICT" in await first.refusal()


async def test_messages_before_a_registration_are_answered(service: LiveService) -> None:
    async with raw_role(service.port, Role.CONTROL) as peer:
        peer.say(Heartbeat(number=1))
        assert "register" in (await peer.hear(Error))[0].error.message
        await peer.rest()


# ---- lanes


@pytest.fixture
async def node(service: LiveService, someone: Bystander) -> AsyncIterator[RawNode]:
    async with AsyncExitStack() as stack:
        yield await RawNode(service, stack).join()


FORGED: dict[str, dict[str, Any]] = {
    "another node": {"node_id": "somebody"},
    "another row": {"row": 0},
    "no such row": {"row": 10**6},
    "a row beyond all": {"row": FAR},
    "another generation": {"generation": 77},
    "a later epoch": {"epoch": 99},
    "another ticket": {"ticket": b"t" * 16},
    "no ticket": {"ticket": b""},
    "a long ticket": {"ticket": b"t" * 10_000},
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_lane_with_a_forged_ticket_is_refused(
    service: LiveService, node: RawNode, name: str
) -> None:
    """I12: the node that it claims to be keeps its lanes."""
    forged = msgspec.structs.replace(lane_open(node.told), **FORGED[name])
    for shard in (0, 1):
        async with raw_role(service.port, Role.LANE, shard) as peer:
            peer.say(forged)
            assert (await peer.refusal()).startswith("UNAUTHORIZED: ")
    job = asyncio.create_task((await node.session(0)).submit("x", services=["nmt"]))
    assign, _ = await node.lanes[0].hear(Assign)
    node.lanes[0].say(node.result(0, assign), b"still mine")
    assert (await job).payload == b"still mine"


async def test_a_lane_that_begins_with_anything_else_gets_no_jobs(
    service: LiveService, node: RawNode
) -> None:
    for message in (
        LaneReport(running=[JobFence("job", 1, 1)]),
        NodeResult(number=1, job_id="job", epoch=1, dispatch=1),
        AssignAck(number=FAR),
    ):
        async with raw_role(service.port, Role.LANE, 0) as peer:
            peer.say(message)
            assert "a lane begins with lane_open" in await peer.refusal()
