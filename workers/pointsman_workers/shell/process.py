"""One worker's life: lock, epoch, segments, core, sockets; serve; stop.

    lock of the shard -> epoch + 1, fsynced -> journal, replayed -> segments -> sockets -> "ready"

Everything that was opened is closed in reverse, however far the start came.  The process ends by
itself when it is told to (SIGTERM, or the end of alive-fd: the supervisor is gone), when the core
has a bug, and when the manager has replaced the segments under it; the supervisor starts another.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic_ns
from typing import Any

import msgspec

from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.auditing.operators import group_numbers
from pointsman_shm.descriptors import take_descriptors
from pointsman_shm.logs.events import Event
from pointsman_shm.logs.process_log import ProcessLog
from pointsman_shm.memory.header import LayoutMismatch, SegmentUnready
from pointsman_shm.memory.segment import SegmentForeign, SegmentMissing
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter, Gauge
from pointsman_shm.paths import worker_process
from pointsman_shm.state_files import (
    begin_epoch,
    disk_hint,
    read_instance_uid,
    read_ticket_key,
    ticket_key_for,
    when_there_is_room,
)
from pointsman_shm.tokens.token_file import token_file
from pointsman_shm.units.under_systemd import Watchdog
from pointsman_shm.uplink import WorkerHello
from pointsman_wire.lane_messages import LaneToWorker
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import ToWorker
from pointsman_wire.sockets.admin import AdminServer, Oversight, obeying_level
from pointsman_wire.sockets.bounds import DriverSettings
from pointsman_wire.sockets.crash_points import pass_by
from pointsman_wire.sockets.crashing import driver_for
from pointsman_wire.sockets.driver import Driver
from pointsman_wire.sockets.handover import HandoverReceiver, HandoverSender
from pointsman_wire.sockets.life import Life
from pointsman_wire.sockets.parent import watch_parent
from pointsman_wire.sockets.slowness import close_slowest
from pointsman_wire.sockets.tcp import address_text
from pointsman_wire.sockets.unix_sockets import Groups, listen_for_groups
from pointsman_wire.sockets.web.web_connection import web_factory
from pointsman_workers.core.core import WorkerCore
from pointsman_workers.core.events import (
    BellRang,
    CloseSlowest,
    DropSegments,
    OrderAnswered,
    PressureMeasured,
    RefuseClients,
    RingWorker,
    Say,
    Stopped,
    StopWished,
    TellManager,
    TokensChanged,
    WriteJournal,
)
from pointsman_workers.core.setup import WorkerSetup
from pointsman_workers.journal.segment_files import JournalFailed
from pointsman_workers.shell.admin.orders import OrderDesk
from pointsman_workers.shell.attaching import SharedSegments, attach_segments, take_shard_lock
from pointsman_workers.shell.bells import Bells
from pointsman_workers.shell.bounds import (
    connection_limits,
    doorway_limits,
    strangers,
    web_settings,
)
from pointsman_workers.shell.crash_points import WORKER_SPOTS, CrashingLedger
from pointsman_workers.shell.doorway import CONSOLE, MANAGER, Doorway, DoorwayOwners
from pointsman_workers.shell.entrance.token_watch import TokenWatch
from pointsman_workers.shell.entrance.wall_clock import wall_clock_s
from pointsman_workers.shell.journalling import open_journal
from pointsman_workers.shell.options import WorkerOptions
from pointsman_workers.shell.pressure import PressureGauge, memory_share_bytes
from pointsman_workers.shell.pulse import Pulse, scheduling_observer
from pointsman_workers.shell.secure.entrance import Entrance
from pointsman_workers.shell.secure.wiring import open_entrance
from pointsman_workers.shell.settling_in import START_ERRORS, VERSION, settle_garbage_collector
from pointsman_workers.shell.sharing.outgoing import Sender
from pointsman_workers.shell.sharing.wiring import SHARED_COMMANDS, SharedShell
from pointsman_workers.shell.status import StatusDesk
from pointsman_workers.shell.tracing.wiring import with_tracing
from pointsman_workers.shell.uplink import Uplink

UNIONS = {Role.SESSION: ToWorker, Role.TRUNK: ToWorker, Role.LANE: LaneToWorker}
STOP_NS = 25_000_000_000
FLUSH_S = 2.0


class WorkerProcess:
    """Runs one worker until it ends; `run` returns the exit status."""

    def __init__(
        self, options: WorkerOptions, log: ProcessLog, crash: Callable[[str], None]
    ) -> None:
        self._options = options
        self._log = log
        self._crash = crash  # called at each named point
        self._loop = asyncio.get_running_loop()
        self._life = Life(self._loop, log.ended)
        self._watchdog = Watchdog(options.unit, self._loop)
        self._driver: Driver | None = None  # set once the core can be told things
        self._doorway: Doorway | None = None
        self._entrance: Entrance | None = None  # where there is a TLS port
        self._is_stopping = False
        self._senders: dict[int, HandoverSender] = {}
        self._close_doors: list[Callable[[], None]] = []  # what stops taking connections
        self._tell_draining: Callable[[], None] = lambda: None

    async def run(self) -> int:
        """Start, serve, stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, f"signal {number.name}")
        async with AsyncExitStack() as stack:
            stack.callback(watch_parent(self._loop, self._options.alive_fd, self._supervisor_left))
            stack.callback(self._watchdog.starting())
            error = await self._life.start(self._start(stack), START_ERRORS)
            if error is not None:
                self._life.end(1, f"cannot start: {error}{disk_hint(error)}")
            return await self._life.ended

    # ---- start

    async def _start(self, stack: AsyncExitStack) -> None:
        options, wait = self._options, self._log.about(Event.PROCESS_WAITS)
        lock = await take_shard_lock(options, wait)
        stack.callback(lock.release)
        self._crash("worker-at-start")
        self._shared = SharedShell(options.config.redis, os.environ)
        stack.push_async_callback(self._shared.close)
        await self._shared.meet(self._log.about(Event.REDIS_DOWN))
        epoch = await when_there_is_room(partial(begin_epoch, options.paths, options.index), wait)
        damage = self._log.about(Event.JOURNAL_TROUBLE)
        journal, recovered = await open_journal(options, epoch, crash=self._crash, say=damage)
        self._journal = journal
        stack.callback(self._close_journal)
        trouble = self._log.about(Event.TOKENS_UNREADABLE)
        self._token_watch = TokenWatch(token_file(options.paths), wall_clock_s, trouble)
        tokens = self._token_watch.first()
        segments = await attach_segments(options, wait)
        stack.callback(segments.close)
        segments.memory.stats.introduce(os.getpid())
        os.set_inheritable(options.listen_fd, False)
        listener = stack.enter_context(socket.socket(fileno=options.listen_fd))
        setup = self._setup(segments, epoch, address_text(listener))
        setup = msgspec.structs.replace(
            setup, journal=journal.state(), recovered=recovered, tokens=tokens
        )
        core = WorkerCore(setup)
        stack.push_async_callback(self._close_entrance)  # after the driver has said its last words
        driver = self._driver = self._drive(core, setup, stack)
        broken = partial(self._life.end, 1)
        self._shared.open(driver.post, setup.memory.stats, broken)
        sender = Sender(options.paths.instance, setup.instance_uid, options.index, epoch)
        tend = self._log.about(Event.DEAD_LETTERS)
        self._shared.open_inbox(sender, driver.post, setup.memory.stats, broken, tend)
        journal.start(driver.post, self._journal_failed)
        self._token_watch.tell = lambda known: driver.post(TokensChanged(known))
        self._open_unix_sockets(core, setup, stack)
        self._open_doors(driver, listener, setup.memory.stats, stack)
        memory_bytes_max = options.config.limits.worker_memory_bytes_max
        memory_bytes_max = memory_bytes_max or memory_share_bytes(options.worker_count)
        gauge = PressureGauge(memory_bytes_max, lambda found: driver.post(PressureMeasured(found)))
        stack.callback(gauge.close)
        look, turned = partial(self._check, segments), self._watchdog.turned
        pulse = Pulse(setup.memory.stats, tell=gauge.beat, turned=turned, look=look)
        stack.callback(pulse.close)
        driver.observe_turn = pulse.turns_ns.append
        stack.callback(self._watchdog.close)
        driver.start()
        settle_garbage_collector()
        self._watchdog.ready(self._options.ready_fd)
        self._log.tell(Event.PROCESS_STARTED, "is ready", (("epoch", epoch), ("pid", os.getpid())))

    def _setup(self, segments: SharedSegments, epoch: int, address: str) -> WorkerSetup:
        options, memory = self._options, segments.memory
        if self._crash is not pass_by:
            hand = CrashingLedger(memory.ledger, options.index, self._crash)
            memory = msgspec.structs.replace(memory, own_ledger=hand)
        return WorkerSetup(
            config=options.config,
            memory=memory,
            worker_index=options.index,
            worker_count=options.worker_count,
            instance=options.paths.instance,
            instance_uid=read_instance_uid(options.paths),
            epoch=epoch,
            ticket_key=ticket_key_for(read_ticket_key(options.paths), memory.catalog.identity),
            address=address,
            sharing=self._shared.core_settings(),
            server_version=VERSION,
            entropy=os.urandom,
            stopwatch=monotonic_ns,
        )

    def _drive(self, core: WorkerCore, setup: WorkerSetup, stack: AsyncExitStack) -> Driver:
        limits = setup.config.limits
        stats = setup.memory.stats
        self._tell_draining = partial(stats.gauge, Gauge.DRAINING, 1)
        driver = driver_for(self._crash, WORKER_SPOTS)(
            core,
            unions=UNIONS,
            execute=with_tracing(self._execute, self._options, stats, stack),
            settings=DriverSettings(
                limits=connection_limits(limits),
                connections_max=take_descriptors(limits.descriptors_percent),
                web=web_factory(web_settings(setup.config.web, setup.config.server.host)),
            ),
            strangers=strangers(limits),
        )
        driver.observe_wait = scheduling_observer(stats, core.shard)
        self._life.hangs_on(driver)
        stack.push_async_callback(driver.end, FLUSH_S)
        return driver

    def _open_unix_sockets(
        self, core: WorkerCore, setup: WorkerSetup, stack: AsyncExitStack
    ) -> None:
        paths = self._options.paths
        index = self._options.index
        driver = self._driver
        assert driver is not None
        hello = WorkerHello(worker_index=index, pid=os.getpid(), epoch=setup.epoch)
        heard = partial(self._shared.hear_manager, driver.post)
        self._uplink = Uplink(paths.manager_uplink, hello, heard)
        stack.push_async_callback(self._uplink.close)
        self._bells = Bells(
            paths, index, lambda other, number: driver.post(BellRang(other, number))
        )
        stack.callback(self._bells.close)
        admin_path = paths.admin(worker_process(index))
        desk = StatusDesk(setup, monotonic_ns(), core.answer)
        stack.callback(admin_path.unlink, missing_ok=True)
        self._orders = OrderDesk(driver.post, self._shared.obey)
        witness = AuditFile(paths.state_dir, worker_process(index), self._log.about(Event.AUDIT))
        obey = obeying_level(worker_process(index), self._log.set_level, self._orders.obey)
        groups = Groups(*group_numbers(setup.config.admin, paths.runtime_dir))
        listener = listen_for_groups(admin_path, groups)
        admin = AdminServer(listener, desk.answer, obey=obey, oversight=Oversight(groups, witness))
        stack.push_async_callback(admin.close)
        stats = setup.memory.stats
        elsewhere = {MANAGER: paths.manager_handover, CONSOLE: paths.console_handover}
        for owner in (CONSOLE, *range(MANAGER, self._options.worker_count)):
            path = elsewhere.get(owner) or paths.worker_handover(owner)
            sender = HandoverSender(
                path,
                ended=lambda is_adopted: stats.add(
                    Counter.HANDOVERS if is_adopted else Counter.HANDOVER_FAILURES
                ),
            )
            self._senders[owner] = sender
            stack.callback(sender.close)

    def _open_doors(
        self, driver: Driver, listener: socket.socket, stats: StatsPage, stack: AsyncExitStack
    ) -> None:
        options = self._options
        stack.callback(self._close_all_doors)
        receiver = HandoverReceiver(options.paths.worker_handover(options.index), driver.adopt)
        self._close_doors.append(receiver.close)
        owners = DoorwayOwners(
            worker_index=options.index,
            worker_count=options.worker_count,
            adopt=driver.adopt,
            give=lambda owner, sock, at_ns, origin: self._senders[owner].give(sock, at_ns, origin),
            connection_count=self._connection_count,
            has_console=options.has_console,
        )
        doorway = self._doorway = Doorway(
            listener,
            owners,
            strangers=driver.strangers,
            limits=doorway_limits(options.config.limits),
        )
        self._close_doors.append(doorway.close)
        self._entrance = open_entrance(
            options, doorway.let_in, stats, driver.settings.connections_max
        )
        if self._entrance is not None:
            self._close_doors.append(self._entrance.stop_accepting)

    def _close_all_doors(self) -> None:
        doors, self._close_doors = self._close_doors, []
        for close in doors:
            close()

    def _connection_count(self) -> int:
        assert self._driver is not None
        offers = sum(sender.offer_count for sender in self._senders.values())
        relayed = 0 if self._entrance is None else self._entrance.connection_count
        return self._driver.connection_count + offers + relayed

    async def _close_entrance(self) -> None:
        if self._entrance is not None:
            await self._entrance.close()

    # ---- serve

    def _execute(self, command: Any) -> None:
        kind = type(command)
        if kind is WriteJournal:
            try:
                self._journal.write(command)
            except JournalFailed as error:
                self._journal_failed(error)
        elif kind is RingWorker:
            self._bells.ring(command.worker_index, command.class_number)
        elif kind is TellManager:
            self._uplink.tell(command.message)
        elif kind in SHARED_COMMANDS:
            self._shared.carry_out(command)
        elif kind is DropSegments:
            self._journal.drop(command)
        elif kind is Say:
            self._log.tell(command.event, command.text)
        elif kind is RefuseClients:
            if self._doorway is not None:
                self._doorway.is_refusing_clients = command.is_refusing
        elif kind is CloseSlowest:
            assert self._driver is not None
            close_slowest(self._driver.alive, command.count)
        elif kind is OrderAnswered:
            self._orders.answered(command)
        elif kind is Stopped:
            self._life.end(0, "")
        else:
            raise AssertionError(f"the core wishes what nobody can do: {command!r}")

    def _close_journal(self) -> None:
        try:
            self._journal.close()
        except JournalFailed as error:
            self._journal_failed(error)

    def _journal_failed(self, error: JournalFailed) -> None:
        """End at once, as by kill -9: no frame of this turn may leave, nothing be tried again."""
        words = f"ends at once: {error}; a successor reads what is really there"
        self._log.tell(Event.JOURNAL_TROUBLE, words + disk_hint(error))
        self._log.close()
        os._exit(1)

    def _check(self, segments: SharedSegments) -> None:
        """Follow the manager to new segments: the old ones live on until there are new ones.

        And look at the tokens of clients; both once a second.
        """
        self._token_watch.look()
        segments.memory.stats.add(Counter.LOG_LINES_LOST, self._log.look())
        lost = segments.lost()
        if not lost:
            return
        try:
            SharedSegments.attach(self._options).close()
        except (SegmentMissing, SegmentUnready, LayoutMismatch, SegmentForeign):
            return
        self._life.end(1, f"segment {lost} was replaced: this worker starts anew with the new one")

    # ---- stop

    def _supervisor_left(self) -> None:
        # Not after what runs: until this process has ended, no service can start here anew, and
        # nodes go on with their jobs and report them to a successor.
        self._life.end(0, "stops at once: the supervisor is gone")

    def _stop(self, why: str) -> None:
        """Take no new work and end when what runs is done; the second time at once."""
        if self._driver is None or self._is_stopping:
            self._life.end(0, f"stops at once: {why}")
            return
        self._is_stopping = True
        self._log.tell(Event.PROCESS_STOPS, f"stops: {why}")
        self._close_all_doors()
        self._tell_draining()
        self._driver.post(StopWished(monotonic_ns() + STOP_NS))
        self._loop.call_later(STOP_NS / 1e9 + 1, self._life.end, 0, "stops with jobs still running")
