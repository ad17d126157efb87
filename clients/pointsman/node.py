"""Nodes, for users: offer services, handle jobs.

    node = Node("127.0.0.1:7400", services=["nmt"], nmt=[("en", "es")], max_concurrency=4)

    @node.handler
    async def translate(job):
        return await run_model(job.payload)

    asyncio.run(node.run())

A node dials out, so it works behind any router.  It comes back by itself after a broken
connection or a restarted server, with its running jobs and its results.
"""

import asyncio
import logging
import os
import platform
import signal
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeVar, Unpack

import msgspec

from pointsman.errors import HandlerUnstoppable, NodeRefused
from pointsman.handlers import Handler, HandlerRunner
from pointsman.jobs import Job, sayable
from pointsman.node_core.agent import AgentCore
from pointsman.node_core.departure import FAREWELL_S
from pointsman.node_core.events import (
    AgentSetup,
    DrainWished,
    EndJob,
    GiveUp,
    JobEnded,
    MeasureResources,
    Notice,
    PauseWished,
    RenewWished,
    ResourcesMeasured,
    ServicesChanged,
    StartJob,
    StateChanged,
    StopJob,
    Stopped,
    StoreCertificate,
    StoreEpoch,
    StoreIdentity,
)
from pointsman.node_store import NodeState, NodeStore
from pointsman.options import NodeOptions, NodeSettings, belief_of, register_message
from pointsman.owner.policy import OwnerPolicy
from pointsman.recording.agent_scribe import AgentScribe
from pointsman.recording.history_file import HistoryFile
from pointsman.recording.recorded_core import RecordedCore
from pointsman.resources import ResourceProbe
from pointsman.secure.node_identity import NodeIdentity, introduced_by
from pointsman.secure.reaching import dialling
from pointsman_wire.control_messages import Service, ToNode
from pointsman_wire.lane_messages import AssignAck, LaneToNode, NodeResult
from pointsman_wire.limits import HEADER_BYTES_MAX
from pointsman_wire.preamble import Role
from pointsman_wire.sockets.bounds import DriverSettings
from pointsman_wire.sockets.crash_points import CrashSpot, Moment, read_crash_point
from pointsman_wire.sockets.crashing import driver_for

H = TypeVar("H", bound=Handler)
READY = "ready"
# Where a test kills a node, in the order of a job.  Programs of nodes have no main of ours, so the
# variable is read when a node runs.
CRASH_SPOTS = (
    CrashSpot("node-before-start-ack", Moment.UNSENT, (AssignAck,)),
    CrashSpot("node-running", Moment.SENT, (AssignAck,)),
    CrashSpot("node-after-done", Moment.HEARD, (JobEnded,)),
    CrashSpot("node-mid-result", Moment.HALF_SENT, (NodeResult,)),
    CrashSpot("node-after-result", Moment.SENT, (NodeResult,)),
)
PAUSE_REASON_MAX = 128
_log = logging.getLogger("pointsman.node")


class Node:
    """One node; see NodeOptions for what it takes.  The options are its attributes.

    Raises ValueError for options out of bounds, AddressError for a bad address, OSError for a
    `ca` that cannot be read.
    """

    def __init__(self, address: str, **options: Unpack[NodeOptions]) -> None:
        settings = NodeSettings(**options)
        self._dialling = dialling(address, belief_of(settings))
        if settings.enrol and not (self._dialling.tls and settings.state_dir and settings.node_id):
            raise ValueError("enrol: needs tls://HOST:PORT, a node_id, and a state_dir for the key")
        self.address = address
        self.services = settings.services
        self.asr = settings.asr
        self.nmt = settings.nmt
        self.tts = settings.tts
        self.semantic = settings.semantic
        self.features = settings.features
        self.max_concurrency = settings.max_concurrency
        # Once the server made one, the id that it made.
        self.node_id = settings.node_id
        self.labels = settings.labels
        self.state_dir = settings.state_dir
        self.token = settings.token
        self.tls = self._dialling.tls
        # connecting, registered, then what the server calls it: ready, degraded, draining ...
        self.state = "stopped"
        # Why the node takes no new jobs at its owner's wish; "" when it takes them.
        self.paused_because = ""
        self._pauses = {"owner": "", "policy": ""}
        self._settings = settings
        self._handler: Handler | None = None
        self._running: _RunningNode | None = None
        self._waiting: list[asyncio.Future[None]] = []
        # Why run() failed the last time, for those who wait for the node.
        self._trouble: Exception | None = None
        # Id, key and fences from one run() to the next, where there is no state_dir.
        self._kept = NodeState()
        self._register = register_message(
            settings, version=package_version(), platform=platform.system().lower()
        )

    def handler(self, function: H) -> H:
        """Take the function that runs the jobs: async, or blocking and then run in threads."""
        self._handler = function
        return function

    async def run(self) -> None:
        """Serve until drained (by drain() or SIGTERM), dialling again whenever needed.

        Raises NodeRefused when the server does not take the node, NodeStateError when its
        state_dir cannot be used, OSError when it, or the history, cannot be written,
        HandlerUnstoppable when the process has to end because a handler does not.
        """
        if self._running is not None:
            raise RuntimeError("this node runs already")
        self._trouble = None
        try:
            if self._handler is None:
                raise RuntimeError("a node needs a handler: decorate a function with @node.handler")
            self._running = _RunningNode(self, self._handler)
            await self._running.serve()
        except Exception as error:
            self._trouble = error
            raise
        finally:
            self._running = None
            self._enter("stopped", self._trouble or RuntimeError("the node has stopped"))

    async def drain(self, deadline_s: float | None = None) -> None:
        """Take no new jobs, let running ones end until the deadline, leave; returns after that."""
        running = self._running
        if running is not None:
            running.begin_drain(deadline_s, "drain() was called")
            await running.gone.wait()

    async def wait_ready(self) -> None:
        """Return once the server calls the node ready: from then on it gets jobs.

        Raises what run() raises; RuntimeError where that ends meanwhile without being ready.
        """
        while self.state != READY:
            if self._trouble is not None:
                raise self._trouble
            news = asyncio.get_running_loop().create_future()
            self._waiting.append(news)
            await news

    def _enter(self, state: str, error: Exception | None = None) -> None:
        self.state = state
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            if not news.done():
                news.set_result(None) if error is None else news.set_exception(error)

    def set_pause(self, paused: bool, reason: str = "the owner asked for it") -> None:
        """Ask for no new jobs for now, such as while a game runs, or for jobs again.

        Running jobs go on.  Jobs come again when the owner's policy asks for no pause either.
        """
        self._pause("owner", reason if paused else "")

    def _pause(self, who: str, reason: str) -> None:
        self._pauses[who] = reason
        reason = "; ".join(filter(None, self._pauses.values()))
        if reason == self.paused_because:
            return
        self.paused_because = reason
        _log.info("node %s: %s", self.node_id, f"pauses: {reason}" if reason else "works again")
        if self._running is not None:
            self._running.tell_pause()

    def set_services(self, services: list[Service]) -> None:
        """Tell the server that services started, stopped or failed, all of them as they are now.

        Such as `node.set_services([Service(id="nmt", kind="nmt", status="stopped")])` while a
        model is loaded anew: jobs for it go to others until it is said to be running again.
        """
        self.services = services
        self._register = msgspec.structs.replace(self._register, services=services)
        if self._running is not None:
            self._running.post(ServicesChanged(services))


class _RunningNode:
    """What exists while Node.run() does: store, core, driver, handlers."""

    def __init__(self, node: Node, handler: Handler) -> None:
        self.gone = asyncio.Event()
        self._node = node
        crash = read_crash_point(os.environ)
        self._store = NodeStore(node.state_dir, node._kept, crash)
        self._probe = ResourceProbe()
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._drain_s = node._settings.drain_s
        self._drains_asked = 0
        self._runner = HandlerRunner(handler, self.post, self._unstoppable)
        probes = node._settings.owner_policy
        self._policy = OwnerPolicy(probes, lambda reason: node._pause("policy", reason))
        self._has_policy = bool(probes)
        node._pause("policy", "")
        place, self._identity = node._dialling, None
        if place.tls is not None and node.state_dir is not None:
            self._identity = NodeIdentity(Path(node.state_dir), place.place, place.tls)
        self._core = AgentCore(self._setup())
        history = node._settings.history
        self._history = HistoryFile(history) if history else None
        self._driver = driver_for(crash, CRASH_SPOTS)(
            self._recorded(),
            unions={Role.CONTROL: ToNode, Role.LANE: LaneToNode},
            execute=self._execute,
            settings=DriverSettings(
                server_address=node._dialling.place,
                tls=node.tls,
                header_bytes_max=HEADER_BYTES_MAX,
            ),
        )
        self._does: dict[type, Callable[[Any], None]] = {
            StartJob: self._runner.start,
            StopJob: self._runner.stop,
            EndJob: self._runner.end_hard,
            MeasureResources: lambda _: self.post(self._measured()),
            StoreEpoch: lambda c: self._store.keep_epoch(c.instance_uid, c.shard, c.epoch),
            StoreIdentity: self._keep_identity,
            StoreCertificate: self._keep_certificate,
            StateChanged: self._state_changed,
            Notice: lambda notice: _log.warning(notice.text),
            GiveUp: self._give_up,
            Stopped: self._is_stopped,
        }

    def _recorded(self) -> AgentCore | RecordedCore:
        if self._history is None:
            return self._core
        who = self._node._settings.node_id or f"node-{os.getpid()}"
        return RecordedCore(self._core, AgentScribe(who, self._node.max_concurrency), self._history)

    def _setup(self) -> AgentSetup:
        node, state = self._node, self._store.state
        register = node._register
        if node._settings.hardware is None:
            register = msgspec.structs.replace(register, hardware=self._probe.hardware())
        if not register.node_id or register.node_id == state.node_id:
            register = msgspec.structs.replace(register, node_id=state.node_id, key=state.key)
        self._node.node_id = register.node_id
        return AgentSetup(
            register=register,
            entropy=os.urandom,
            epochs={(e.instance_uid, e.shard): e.epoch for e in state.epochs},
        )

    def _measured(self) -> ResourcesMeasured:
        """Unknown figures count for nothing at the server."""
        settings = self._node._settings
        return self._probe.measure() if settings.report_load else ResourcesMeasured()

    async def serve(self) -> None:
        """Run until stopped, refused or cancelled."""
        takes_signals = self._take_signals()
        ends: set[asyncio.Future[None]] = {self._stopped, self._driver.broken}
        judging: asyncio.Task[None] | None = None
        renewing: asyncio.Task[None] | None = None
        try:
            identity = self._identity
            if identity is not None and await identity.is_shown(
                introduced_by(self._node._settings)
            ):
                keeping = identity.keep_fresh(lambda request: self.post(RenewWished(request)))
                renewing = self._loop.create_task(keeping)
                ends.add(renewing)
            if self._has_policy:  # judged before the first heartbeat, so that no job slips in
                await self._policy.judge()
                judging = self._loop.create_task(self._policy.run())
                ends.add(judging)
            self.tell_pause()
            self._driver.start()
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        except asyncio.CancelledError:
            await self._leave_at_once()
            raise
        finally:
            if takes_signals:
                self._loop.remove_signal_handler(signal.SIGTERM)
            for task in filter(None, (judging, renewing)):
                task.cancel()
            await self._policy.end()
            await self._runner.end()
            await self._driver.end(timeout_s=0.0 if self._runner.has_failed else 1.0)
            self._node._kept = self._store.state
            self._store.close()
            if self._history is not None:
                self._history.close()
            self.gone.set()

    def _keep_certificate(self, store: StoreCertificate) -> None:
        if self._identity is not None:
            self._identity.take(store.certificate)

    def post(self, event: object) -> None:
        """Tell the core something."""
        self._driver.post(event)

    def tell_pause(self) -> None:
        """Tell the core what the owner and the policy want now."""
        reason = self._node.paused_because
        self.post(PauseWished(bool(reason), sayable(reason, PAUSE_REASON_MAX)))

    def begin_drain(self, deadline_s: float | None, reason: str) -> None:
        """Wish for the drain; asked a second time, the node leaves at once."""
        self._drains_asked += 1
        if self._drains_asked > 1:
            deadline_s = 0.0
        elif deadline_s is None:
            deadline_s = self._drain_s
        self.post(DrainWished(deadline_s, reason))

    async def _leave_at_once(self) -> None:
        """Run was cancelled: say so to the server, so that jobs fail over at once."""
        if not self._driver.broken.done():
            self.post(DrainWished(0.0, "the node was interrupted"))
            ends = (self._stopped, self._driver.broken)
            timeout_s = FAREWELL_S + 0.5
            await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    def _take_signals(self) -> bool:
        """SIGTERM drains, where signals can be taken: in the main thread of a POSIX process."""
        if threading.current_thread() is not threading.main_thread():
            return False
        try:
            self._loop.add_signal_handler(signal.SIGTERM, self.begin_drain, None, "SIGTERM")
        except (NotImplementedError, ValueError):
            return False
        return True

    # ---- what the core wishes

    def _execute(self, command: Any) -> None:
        self._does[type(command)](command)

    def _keep_identity(self, identity: StoreIdentity) -> None:
        self._store.keep_identity(identity.node_id, identity.key)

    def _state_changed(self, changed: StateChanged) -> None:
        node = self._node
        node.node_id = self._core.node_id or node.node_id
        node._enter(changed.state)
        words = f" ({changed.reason})" if changed.reason else ""
        _log.info("node %s: %s%s", node.node_id or "(new)", changed.state, words)

    def _give_up(self, command: GiveUp) -> None:
        if not self._stopped.done():
            self._stopped.set_exception(NodeRefused(command.error))

    def _unstoppable(self, job: Job) -> None:
        error = HandlerUnstoppable(job.job_id)
        _log.error("node %s: %s", self._node.node_id, error)
        if not self._stopped.done():
            self._stopped.set_exception(error)

    def _is_stopped(self, _: Stopped) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)


def package_version() -> str:
    """Return the installed version, or 0 for sources that were never installed."""
    try:
        return installed_version("pointsman")
    except PackageNotFoundError:
        return "0"
