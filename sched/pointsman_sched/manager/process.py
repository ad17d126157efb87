"""The manager's life: lock, segments, registry file, core, sockets; serve; stop.

    manager's lock -> registry file -> segments (taken over, or made) -> core -> sockets -> "ready"

Everything that was opened is closed in reverse, however far the start came.  Segments stay, for a
successor; the supervisor removes them when the whole service ends.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, cast

from pointsman_sched.core.events import (
    Alarm,
    Answer,
    LagMeasured,
    NodeNews,
    Record,
    Recorded,
    Stopped,
    StopWished,
    TellWorker,
    TellWorkers,
)
from pointsman_sched.core.federation.rounds import FLEET_REQUESTS
from pointsman_sched.core.federation.settings import FederationSettings
from pointsman_sched.core.manager_core import ManagerCore
from pointsman_sched.core.setup import ManagerSetup, SharedMemory
from pointsman_sched.manager.authority import open_authority, reachable, told_to_others
from pointsman_sched.manager.garbage import GarbageKeeper
from pointsman_sched.manager.log_levels import LogLevels
from pointsman_sched.manager.orders import OrderDesk
from pointsman_sched.manager.redis_options import FleetUnfit, redis_of
from pointsman_sched.manager.registry_file import RegistryFile
from pointsman_sched.manager.registry_sync import RegistryHooks, RegistrySync
from pointsman_sched.manager.segments import ManagerSegments
from pointsman_sched.manager.uplink_server import UplinkServer
from pointsman_sched.options import ProcessOptions
from pointsman_sched.wall_clock import wall_clock_offset_ns
from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.auditing.operators import group_numbers
from pointsman_shm.config_load import ConfigError
from pointsman_shm.descriptors import take_descriptors
from pointsman_shm.garbage_watch import GarbageWatch
from pointsman_shm.logs.events import Event
from pointsman_shm.logs.process_log import ProcessLog
from pointsman_shm.memory.ownership import LockHeld, OwnerLock, acquire_lock
from pointsman_shm.memory.segment import SegmentForeign, SegmentsFull
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.paths import worker_process
from pointsman_shm.state_files import (
    StateFileError,
    disk_hint,
    read_instance_uid,
    read_ticket_key,
    ticket_key_for,
    when_there_is_room,
)
from pointsman_shm.units.under_systemd import Watchdog
from pointsman_wire.admin_messages import AdminAnswer
from pointsman_wire.control_messages import ToManager
from pointsman_wire.coordination.fleet_requests import FleetAsk
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_wire.preamble import Role
from pointsman_wire.secure.pins import PinError
from pointsman_wire.sockets.admin import AdminServer, Oversight, obeying_level
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings, Strangers
from pointsman_wire.sockets.driver import Driver
from pointsman_wire.sockets.handover import HandoverReceiver
from pointsman_wire.sockets.life import Life
from pointsman_wire.sockets.parent import watch_parent
from pointsman_wire.sockets.unix_sockets import Groups, PathInUse, listen_for_groups

if TYPE_CHECKING:
    from pointsman_sched.manager.federation_link import FederationLink

UNIONS = {Role.CONTROL: ToManager}
LOCK_RETRY_S = 0.1
LOOK_S = 1.0
FLUSH_S = 1.0
WAIT_LONG_NS = 10_000_000
# A heartbeat costs some 35 µs with its answer: steps of about 10 ms, also when thousands came.
STEP_EVENTS_MAX = 256
# A process that slept pays more for waking up than for a heartbeat: what it needs has left the
# processor's caches.  So ordinary ones are taken together, in turns of about a millisecond.
WAITING_MAX = 31
START_ERRORS = (
    ConfigError,
    FleetUnfit,
    OSError,
    PathInUse,
    PinError,
    SegmentForeign,
    SegmentsFull,
    StateFileError,
)


class ManagerProcess:
    """Runs the manager until it ends; `run` returns the exit status."""

    def __init__(
        self, options: ProcessOptions, log: ProcessLog, crash: Callable[[str], None]
    ) -> None:
        self._options = options
        self._log = log
        self._crash = crash
        self._loop = asyncio.get_running_loop()
        self._life = Life(self._loop, log.ended)
        self._watchdog = Watchdog(options.unit, self._loop)
        self._driver: Driver | None = None  # set once the core can be told things
        self._registry: RegistryFile
        self._registry_sync: RegistrySync
        self._uplinks: UplinkServer
        self._orders: OrderDesk | None = None
        self._redis: RedisSettings | None = None
        self._federation: FederationLink | None = None  # where there is Redis
        self._garbage = GarbageKeeper()
        self._is_reload_wished = False  # by SIGHUP, before there was anybody to obey
        self._next_look: asyncio.TimerHandle

    async def run(self) -> int:
        """Start, serve, stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, f"signal {number.name}")
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        async with AsyncExitStack() as stack:
            gone = partial(self._stop, "the supervisor is gone")
            stack.callback(watch_parent(self._loop, self._options.alive_fd, gone))
            stack.callback(self._watchdog.starting())
            error = await self._life.start(self._start(stack), START_ERRORS)
            if error is not None:
                status = error.exit_code if isinstance(error, SegmentsFull) else 1
                self._life.end(status, f"cannot start: {error}{disk_hint(error)}")
            return await self._life.ended

    # ---- start

    async def _start(self, stack: AsyncExitStack) -> None:
        options = self._options
        paths = options.paths
        lock = await self._take_lock()
        stack.callback(lock.release)
        self._redis = redis_of(options.config.redis, os.environ)
        link = await self._open_federation(stack)
        wait, trouble = map(self._log.about, (Event.PROCESS_WAITS, Event.REGISTRY_TROUBLE))
        opening = partial(RegistryFile, paths.state_dir, trouble)
        self._registry = await when_there_is_room(opening, wait)
        stack.callback(self._registry.close)
        hooks = RegistryHooks(self._registry.append, self._recorded, self._registry_failed, trouble)
        self._registry_sync = RegistrySync(hooks)
        stack.callback(self._registry_sync.close)
        segments = ManagerSegments(paths, self._log.about(Event.SEGMENT_REMADE))
        stack.callback(segments.close)
        memory = segments.open(
            max_nodes=options.config.nodes.max_nodes,
            worker_count=options.worker_count,
            crash=self._crash,
        )
        memory.stats.introduce(os.getpid())
        core = ManagerCore(self._setup(memory))
        driver = self._driver = self._drive(core, memory, stack)
        self._uplinks = UplinkServer(paths.manager_uplink, options.worker_count, driver.post)
        stack.push_async_callback(self._uplinks.close)
        orders = self._orders = self._open_orders(driver, stack)
        self._open_admin(core, orders, stack)
        receiver = HandoverReceiver(paths.manager_handover, driver.adopt)
        stack.callback(receiver.close)
        self._look(segments, memory.stats, self._loop.time())
        stack.callback(lambda: self._next_look.cancel())
        if link is not None:
            stack.push_async_callback(link.close)  # before the driver, which it posts to
        stack.callback(self._watchdog.close)
        driver.start()
        self._garbage.settle()
        self._watchdog.ready(self._options.ready_fd)
        self._log.tell(Event.PROCESS_STARTED, "is ready", (("pid", os.getpid()),))
        if self._is_reload_wished:
            orders.reload_by_signal()

    async def _take_lock(self) -> OwnerLock:
        """Wait for a predecessor that still holds it: a frozen one survives SIGKILL till thawed."""
        told, wait = "", self._log.about(Event.PROCESS_WAITS)
        while True:
            try:
                taking = partial(acquire_lock, self._options.paths.manager_lock)
                return await when_there_is_room(taking, wait)
            except LockHeld as held:
                if str(held) != told:
                    told = str(held)
                    self._log.tell(Event.PROCESS_WAITS, f"waits for its predecessor: {told}")
            await asyncio.sleep(LOCK_RETRY_S)

    def _setup(self, memory: SharedMemory) -> ManagerSetup:
        options = self._options
        tls, advertise = options.config.tls, options.config.server.advertise
        address = options.address and reachable(options.address, tls, advertise)
        return ManagerSetup(
            config=options.config,
            memory=memory,
            started_at_ns=monotonic_ns(),
            worker_count=options.worker_count,
            ticket_key=ticket_key_for(read_ticket_key(options.paths), memory.catalog.identity),
            entropy=os.urandom,
            instance=options.paths.instance,
            instance_uid=read_instance_uid(options.paths),
            server_version=version("pointsman"),
            address=address,
            advertised=told_to_others(address, advertise),
            process_id=os.getpid(),
            registry=self._registry.entries(),
            wall_clock_offset_ns=wall_clock_offset_ns(),
            authority=open_authority(options),
            federation=_federation_of(self._redis),
            crash=self._crash,
            stopwatch_ns=monotonic_ns,
        )

    def _drive(self, core: ManagerCore, memory: SharedMemory, stack: AsyncExitStack) -> Driver:
        limits = self._options.config.limits
        driver = Driver(
            core,
            unions=UNIONS,
            execute=self._execute,
            settings=DriverSettings(
                limits=ConnectionLimits(
                    frame_bytes_max=limits.frame_bytes_max,
                    first_frame_bytes_max=limits.handshake_bytes_max,
                    first_frame_s=limits.handshake_s,
                    frame_arrival_s=limits.frame_arrival_s,
                    queue_bytes_max=limits.node_queue_bytes_max,
                    queue_frames_max=limits.node_queue_frames_max,
                    stall_s=limits.node_stall_s,
                ),
                connections_max=take_descriptors(limits.descriptors_percent),
                step_events_max=STEP_EVENTS_MAX,
                waiting_max=WAITING_MAX,
            ),
            strangers=Strangers(
                total_max=limits.unauthenticated_max,
                per_address_max=limits.unauthenticated_per_address_max,
            ),
        )
        stats = memory.stats
        watching = self._watchdog.watching
        driver.may_wait = core.may_wait
        driver.observe_turn = watching(partial(stats.observe, Timing.TURN))
        stack.callback(GarbageWatch(stats).close)
        driver.observe_wait = partial(_observe_wait, stats)
        self._life.hangs_on(driver)
        stack.push_async_callback(driver.end, FLUSH_S)
        return driver

    async def _open_federation(self, stack: AsyncExitStack) -> "FederationLink | None":
        """Meet the other instances, if there is a Redis to meet in."""
        redis = self._redis
        if redis is None:
            return None
        # redis-py takes long to read, and most services do without it.
        from pointsman_sched.manager.federation_link import FederationLink

        link = FederationLink(
            redis,
            post=self._post,
            say=self._log.about(Event.REDIS_DOWN),
            warn=self._log.about(Event.REDIS_UNFIT),
            broken=partial(self._life.end, 1),
        )
        claim = FleetAsk(
            0,
            name=self._options.paths.instance,
            uid=read_instance_uid(self._options.paths),
            presence_ms=int(redis.presence_s * 1000),
        )
        stack.push_async_callback(link.close)
        await link.open(claim, self._options.paths.catalog_segment)
        self._federation = link
        return link

    def _post(self, event: object) -> None:
        assert self._driver is not None, "who asks nothing yet is not answered"
        self._driver.post(event)

    def _open_orders(self, driver: Driver, stack: AsyncExitStack) -> OrderDesk:
        options, say = self._options, self._log.about(Event.CONFIG_RELOAD)
        others = ["supervisor", "console", *map(worker_process, range(options.worker_count))]
        places = [options.paths.admin(name) for name in others]
        levels = LogLevels(
            options.config.logs.level,
            places=lambda: [place for place in places if place.is_socket()],
            own=self._log.set_level,
            say=say,
        )
        stack.callback(levels.close)
        orders = OrderDesk(
            options.config_path,
            post=driver.post,
            say=say,
            in_force=lambda config: levels.follow(config.logs.level),
        )
        stack.push_async_callback(orders.close)
        return orders

    def _open_admin(self, core: ManagerCore, orders: OrderDesk, stack: AsyncExitStack) -> None:
        paths = self._options.paths
        path = paths.admin("manager")
        stack.callback(path.unlink, missing_ok=True)
        groups = Groups(*group_numbers(self._options.config.admin, paths.runtime_dir))
        witness = AuditFile(paths.state_dir, "manager", self._log.about(Event.AUDIT))
        server = AdminServer(
            listen_for_groups(path, groups),
            lambda query: cast(AdminAnswer, core.answer(query)),
            obey=obeying_level("manager", self._log.set_level, orders.obey),
            oversight=Oversight(groups, witness),
        )
        stack.push_async_callback(server.close)

    # ---- serve

    def _execute(self, command: Any) -> None:
        kind = type(command)
        if kind is Record:
            self._registry_sync.record(command)
        elif kind is TellWorkers:
            self._uplinks.tell_all(command.message)
        elif kind is TellWorker:
            self._uplinks.tell(command.worker_index, command.message)
        elif kind is Answer:
            assert self._orders is not None
            self._orders.answered(command)
        elif kind is NodeNews or kind is Alarm:
            self._log.tell(command.event, command.words, command.fields)
        elif kind is Stopped:
            self._life.end(0, "")
        elif kind in FLEET_REQUESTS:
            assert self._federation is not None
            self._federation.ask(command)
        else:
            raise AssertionError(f"the core wishes what nobody can do: {command!r}")

    def _recorded(self, number: int) -> None:
        assert self._driver is not None
        self._driver.post(Recorded(number))

    def _registry_failed(self, error: OSError) -> None:
        words = f"the registry cannot be written: {error}; ends, and tries no second time"
        self._life.end(1, words + disk_hint(error))

    def _reload(self) -> None:
        if self._orders is None:
            self._is_reload_wished = True
        else:
            self._orders.reload_by_signal()

    def _look(self, segments: ManagerSegments, stats: StatsPage, due_at_s: float) -> None:
        """Once a second: are the segments still those that others find under their names?"""
        now_s = self._loop.time()
        lag_ns = int((now_s - due_at_s) * 1e9)
        stats.observe(Timing.LOOP_LAG, lag_ns)
        stats.add(Counter.LOG_LINES_LOST, self._log.look())
        if self._driver is not None:
            self._driver.post(LagMeasured(lag_ns))
        if self._federation is not None:
            stats.gauge(Gauge.REDIS_UNFIT, int(self._federation.is_redis_unfit()))
        self._garbage.look(stats.counted(Counter.REGISTRATIONS))
        lost = segments.lost()
        if lost:
            self._life.end(
                1, f"segment {lost} is gone or cut: ends, so that a successor makes it anew"
            )
        next_s = now_s + LOOK_S
        self._next_look = self._loop.call_at(next_s, self._look, segments, stats, next_s)

    # ---- stop

    def _stop(self, why: str) -> None:
        self._log.tell(Event.PROCESS_STOPS, f"stops: {why}")
        if self._driver is None:
            self._life.end(0, "")
        else:
            self._driver.post(StopWished())


def _federation_of(redis: RedisSettings | None) -> FederationSettings | None:
    if redis is None:
        return None
    return FederationSettings(presence_ns=int(redis.presence_s * 1e9))


def _observe_wait(stats: StatsPage, wait_ns: int) -> None:
    stats.observe(Timing.MANAGEMENT_WAIT, wait_ns)
    if wait_ns > WAIT_LONG_NS:
        stats.add(Counter.MANAGEMENT_WAIT_LONG)
