"""Every reason why a node is not chosen, brought about by nodes of a real service."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from live.raw import RawPeer, raw_control, raw_lane
from live.service import CONFIG, PATIENCE_S, LiveService, live_service

from pointsman import JobExpired, JobRefused, Session, connect
from pointsman_shm.rules.reasons import Reason
from pointsman_wire.control_messages import (
    Drain,
    Hardware,
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    Register,
    Service,
    Translation,
)
from pointsman_wire.lane_messages import Assign, AssignAck, LanePing, LanePong, NodeResult
from pointsman_wire.messages import Breakdown, Message

RULES = CONFIG.replace("resource_threshold_percent = 0", "resource_threshold_percent = 90")
RULES += "[pools]\nmode = 'single_level'\n"
GPU_RULES = RULES.replace("[nodes]", "[nodes]\nrequire_gpu = true")
FEATURE = "speech_rate_detection"
SPEECH = ("asr", "nmt", "tts")
BEAT_S = 0.3
NO_GPU = "gpu-unavailable"
FULL = "capacity-exceeded"
NOW: dict[str, Any] = {"wait_busy_s": 0, "wait_none_s": 0}


def services(*kinds: str) -> list[Service]:
    return [Service(id=kind, kind=kind) for kind in kinds]


def pair(src: str, tgt: str) -> Translation:
    return Translation(pairs=[(src, tgt)])


ABLE: dict[str, Any] = {
    "hardware": Hardware(gpus=["one"]),
    "services": services(*SPEECH),
    "asr": ["en"],
    "tts": ["es"],
    "nmt": pair("en", "es"),
    "features": [FEATURE],
    "labels": {"site": "a"},
    "max_concurrency": 1,
}
# The one thing that is wrong with each node as it registers; the others look all right.
WRONG: dict[str, dict[str, Any]] = {
    NO_GPU: {"hardware": Hardware()},
    "not-in-public-pool": {"accept_public_jobs": False, "tenant": "others"},
    "model-not-available": {"services": services("asr", "nmt")},
    "lang-pair-unsupported": {"nmt": pair("en", "fr")},
    "asr-lang-unsupported": {"asr": ["de"]},
    "tts-lang-unsupported": {"tts": ["fr"]},
    "feature-unsupported": {"features": []},
    "label-mismatch": {"labels": {"site": "b"}},
    "offline": {},
    "status-not-ready": {},
    "capacity-exceeded": {},
    "resource-threshold-exceeded": {},
    "owner-paused": {},
    "excluded": {},
    "no-lane": {},
}
BEATS: dict[str, dict[str, Any]] = {
    "resource-threshold-exceeded": {"cpu_percent": 99.0},
    "owner-paused": {"pause": True, "pause_reason": "a game runs"},
}


class Fleet:
    """The nodes by hand, which beat until the end unless they are to be missed."""

    def __init__(self, service: LiveService, stack: AsyncExitStack) -> None:
        self._service = service
        self._stack = stack
        self.controls: dict[str, RawPeer] = {}
        self.lanes: dict[str, RawPeer] = {}
        self.is_occupied = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def join(self, node_id: str) -> None:
        """Register a node and open its lane, if it is to have one."""
        port = self._service.port
        register = Register(node_id=node_id, **{**ABLE, **WRONG[node_id]})
        control, told = await self._stack.enter_async_context(raw_control(port, register))
        self.controls[node_id] = control
        if node_id != "no-lane":
            lane, epoch = await self._stack.enter_async_context(raw_lane(port, told, 0))
            self.lanes[node_id] = lane
            self.tasks.append(asyncio.create_task(self._work(node_id, epoch)))
        control.say(LanesReady())

    async def _work(self, node_id: str, epoch: int) -> None:
        """Read the lane; end every job at once but those of the node that is to be full."""
        lane, read = self.lanes[node_id], 0
        while True:
            message, _ = await lane.hear(Message)
            if isinstance(message, LanePing):
                lane.say(LanePong(number=message.number, last_read=read))
            elif isinstance(message, Assign):
                read = message.number
                lane.say(AssignAck(number=read))
                if node_id == FULL:
                    self.is_occupied.set()
                    continue
                job_id, dispatch = message.job_id, message.dispatch
                lane.say(NodeResult(number=read, job_id=job_id, epoch=epoch, dispatch=dispatch))

    async def beat(self) -> None:
        """Say again and again that all are well, and what is not."""
        number = 0
        while True:
            number += 1
            for node_id, control in self.controls.items():
                calm = {"cpu_percent": 5.0, "memory_percent": 5.0}
                control.say(Heartbeat(number=number, **{**calm, **BEATS.get(node_id, {})}))
            await asyncio.sleep(BEAT_S)

    async def is_ready(self, node_id: str) -> None:
        """Wait until the server calls the node ready."""
        while (await self.controls[node_id].hear(HeartbeatAck))[0].state != "ready":
            continue

    async def lose(self, node_id: str) -> None:
        """A node is gone, without a word."""
        await self.controls.pop(node_id).close()
        await self.lanes.pop(node_id).close()


@pytest.fixture
def service() -> Iterator[LiveService]:
    with live_service(config=RULES, workers=1) as started:
        yield started


@asynccontextmanager
async def fleet_of(service: LiveService, *node_ids: str) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet(service, stack)
        for node_id in node_ids:
            await fleet.join(node_id)
        fleet.tasks.append(asyncio.create_task(fleet.beat()))
        try:
            yield fleet
        finally:
            for task in fleet.tasks:
                task.cancel()
            await asyncio.gather(*fleet.tasks, return_exceptions=True)


async def refusal(session: Session, **request: Any) -> Breakdown | None:
    """Ask for what nobody is to do; None as long as somebody does."""
    try:
        await session.submit("no", services=SPEECH, **request, **NOW)
    except (JobRefused, JobExpired) as refused:
        return refused.breakdown
    return None


async def has_reasons(session: Session, wanted: Mapping[str, str], **request: Any) -> Breakdown:
    """Ask until each of these nodes is refused for its reason."""
    until_s = monotonic() + PATIENCE_S
    while True:
        told = await refusal(session, **request)
        if told is not None:
            reasons = {node: reason for reason, nodes in told.nodes.items() for node in nodes}
            if wanted.items() <= reasons.items():
                return told
        assert monotonic() < until_s, told
        await asyncio.sleep(0.1)


async def occupy(fleet: Fleet, session: Session) -> asyncio.Task[Any]:
    """Give a node a job that it starts and never ends."""
    others = [node_id for node_id in WRONG if node_id != FULL]
    job = session.submit("long", services=["nmt"], exclude=others, request_id="long")
    running = asyncio.create_task(job)
    async with asyncio.timeout(PATIENCE_S):
        await fleet.is_occupied.wait()
    return running


REQUEST: dict[str, Any] = {
    "features": [FEATURE],
    "labels_required": {"site": "a"},
    "exclude": ["excluded"],
}


async def test_every_reason_is_reached_by_a_node_of_its_own(service: LiveService) -> None:
    wanted = {node_id: node_id.replace("-", "_") for node_id in WRONG if node_id != NO_GPU}
    async with (
        fleet_of(service, *wanted) as fleet,
        connect(service.address, src="en", tgt="es") as session,
    ):
        fleet.controls["status-not-ready"].say(Drain())
        await fleet.lose("offline")
        running = await occupy(fleet, session)
        told = await has_reasons(session, wanted, **REQUEST)
        assert set(told.counts) == set(told.nodes) == {*wanted.values()}
        assert set(told.counts.values()) == {1}
        assert told.total_nodes == len(wanted)
        guessed = {"asr-lang-unsupported": "src_auto_no_candidate"}
        auto = await has_reasons(session, guessed, src="auto", **REQUEST)
        reached = {*told.counts, *auto.counts, "gpu_unavailable"}  # by the next test
        assert reached == {reason.label for reason in Reason}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_node_without_a_gpu_is_refused_once_a_manager_demands_one(
    service: LiveService,
) -> None:
    """None can register then, but a new manager recovers those that are there."""
    async with (
        fleet_of(service, NO_GPU) as fleet,
        connect(service.address, src="en", tgt="es") as session,
    ):
        await fleet.is_ready(NO_GPU)
        (service.here.directory / "pointsman.toml").write_text(GPU_RULES)
        service.kill("manager")
        await has_reasons(session, {NO_GPU: "gpu_unavailable"}, **REQUEST)
