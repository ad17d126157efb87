"""The console's life: sockets, pages; serve; stop.

It holds nothing that anybody depends on: when it dies, sessions and jobs go on, and the supervisor
starts another.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from time import monotonic

from pointsman_sched.console.admin.asking import Processes
from pointsman_sched.console.admin.doors import open_api
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.dashboard.eye import FleetEye
from pointsman_sched.console.dashboard.live import dashboard_routes
from pointsman_sched.console.dashboard.sampler import About, Sampler
from pointsman_sched.console.dashboard.work import keep_asking
from pointsman_sched.console.guard import Guard
from pointsman_sched.console.hall import Hall
from pointsman_sched.console.languages import LanguageDesk
from pointsman_sched.console.observing.observer import Observer
from pointsman_sched.console.observing.routes import Access, observing_routes
from pointsman_sched.console.pages import make_pages
from pointsman_sched.options import ProcessOptions
from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.auditing.operators import group_numbers
from pointsman_shm.config import Config
from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.events import Event
from pointsman_shm.logs.process_log import ProcessLog
from pointsman_shm.units.under_systemd import Watchdog
from pointsman_wire.admin_messages import AdminAnswer, AdminQuery, Status, StatusQuery
from pointsman_wire.sockets.admin import AdminServer, Oversight, obeying_level
from pointsman_wire.sockets.handover import HandoverReceiver
from pointsman_wire.sockets.life import Life
from pointsman_wire.sockets.parent import watch_parent
from pointsman_wire.sockets.unix_sockets import Groups, PathInUse, listen_for_groups

SIGN_S = 0.5
START_ERRORS = (ConfigError, OSError, PathInUse)


class ConsoleProcess:
    """Runs the console until it ends; `run` returns the exit status."""

    def __init__(self, options: ProcessOptions, log: ProcessLog) -> None:
        self._options = options
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._life = Life(self._loop, log.ended)
        self._started_at_s = monotonic()
        self._next_sign: asyncio.TimerHandle

    async def run(self) -> int:
        """Start, serve, stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, f"signal {number.name}")
        async with AsyncExitStack() as stack:
            gone = partial(self._stop, "the supervisor is gone")
            stack.callback(watch_parent(self._loop, self._options.alive_fd, gone))
            error = await self._life.start(self._start(stack), START_ERRORS)
            if error is not None:
                self._life.end(1, f"cannot start: {error}")
            return await self._life.ended

    async def _start(self, stack: AsyncExitStack) -> None:
        paths, config = self._options.paths, self._options.config.console
        observer = Observer(self._options)
        stack.callback(observer.close)
        sampler = self._sampler(observer)
        processes = Processes(paths.admin, self._options.worker_count)
        reading = Reading(processes)
        asking = keep_asking(reading, sampler.picture, lambda: sampler.viewer_count > 0)
        stack.callback(self._loop.create_task(asking).cancel)
        routes = [
            *observing_routes(observer, config.metrics),
            *dashboard_routes(
                sampler,
                reading,
                access=fleet_access(self._options.config),
                viewers_max=config.viewers_max,
            ),
        ]
        pages = make_pages(
            LanguageDesk([paths.admin(worker) for worker in processes.workers]),
            routes,
            guard=guard_of(self._options.config),
        )
        hall = Hall(pages, connections_max=config.connections_max, request_s=config.request_s)
        stack.push_async_callback(hall.close)
        stack.callback(sampler.close)  # whoever watches is let go before the rest
        admin_path = paths.admin("console")
        stack.callback(admin_path.unlink, missing_ok=True)
        obey = obeying_level("console", self._log.set_level)
        witness = AuditFile(paths.state_dir, "console", self._log.about(Event.AUDIT))
        groups = Groups(*group_numbers(self._options.config.admin, paths.runtime_dir))
        listener = listen_for_groups(admin_path, groups)
        admin = AdminServer(listener, self._answer, obey=obey, oversight=Oversight(groups, witness))
        stack.push_async_callback(admin.close)
        stack.callback(HandoverReceiver(paths.console_handover, hall.adopt).close)
        tell = self._log.about(Event.AUTH_FAILED)
        await open_api(stack, self._options, os.environ, witness, tell)
        watchdog = Watchdog(self._options.unit, self._loop)
        stack.callback(watchdog.close)
        watchdog.ready(self._options.ready_fd)
        stack.callback(lambda: self._next_sign.cancel())
        self._sign(watchdog)
        self._log.tell(Event.PROCESS_STARTED, "is ready", (("pid", os.getpid()),))

    def _sampler(self, observer: Observer) -> Sampler:
        options = self._options
        eye = FleetEye(
            options.paths,
            max_nodes=options.config.nodes.max_nodes,
            worker_count=options.worker_count,
        )
        about = About(
            instance=options.paths.instance,
            version=version("pointsman"),
            worker_count=options.worker_count,
        )
        return Sampler(eye, about, observer.verdict)

    def _sign(self, watchdog: Watchdog) -> None:
        """What it does it does in answers, which are nobody's progress: that the loop turns is."""
        watchdog.turned()
        self._log.look()
        self._next_sign = self._loop.call_later(SIGN_S, self._sign, watchdog)

    def _answer(self, query: AdminQuery) -> AdminAnswer | None:
        if not isinstance(query, StatusQuery):
            return None
        return Status(
            process="console",
            pid=os.getpid(),
            uptime_s=monotonic() - self._started_at_s,
            instance=self._options.paths.instance,
            version=version("pointsman"),
            address=self._options.address,
            worker_count=self._options.worker_count,
        )

    def _stop(self, why: str) -> None:
        self._life.end(0, f"stops: {why}")


def guard_of(config: Config) -> Guard:
    """Return whom this console answers."""
    hosts = (*config.web.allowed_hosts, config.server.host)
    return Guard(hosts, is_loopback_open=config.auth.loopback == "open")


def fleet_access(config: Config) -> Access:
    """Return who may watch the dashboard, which asks nobody for a token.

    So where programs of this host must show one, being of this host is not enough.
    """
    access = config.console.fleet
    is_local_proof = config.auth.loopback == "open"
    return "none" if access == "loopback" and not is_local_proof else access
