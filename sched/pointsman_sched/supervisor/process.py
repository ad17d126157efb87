"""The supervisor's life: ground, port, children; watch; stop in order and leave nothing behind.

    start   instance's lock -> clean -> journals divided among the workers -> port -> manager and
            workers -> "pointsman ready: ..."
    stop    close the port -> SIGTERM to the workers -> they end -> SIGTERM to the manager -> clean
            a second signal, or 30 s: SIGKILL

Children hold the read end of a pipe whose write end only this process has: when it dies, however,
they read the end of it and stop by themselves.

SIGHUP stops a service whose terminal was closed; one without a terminal reloads its configuration.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from time import monotonic, monotonic_ns

from pointsman_sched.supervisor.children import HOPELESS_STATUSES, Child, ChildPlan, ChildState
from pointsman_sched.supervisor.grounds import (
    GroundError,
    clean,
    has_leftovers,
    open_port,
    predecessor,
    take_instance,
)
from pointsman_sched.supervisor.options import ServiceOptions
from pointsman_sched.supervisor.renewing import RenewalDesk
from pointsman_sched.supervisor.resplitting import divide_journals
from pointsman_sched.supervisor.secure_port import check_pin, open_tls_port, prepare_tls
from pointsman_sched.supervisor.spares import Spare
from pointsman_sched.supervisor.watching import START_LIMITS, HangJudge, read_words, sign_of
from pointsman_shm.auditing.audit_file import AuditFile
from pointsman_shm.auditing.operators import group_numbers
from pointsman_shm.logs.events import Event
from pointsman_shm.logs.process_log import ProcessLog
from pointsman_shm.paths import worker_process
from pointsman_shm.state_identity import settle_identity
from pointsman_shm.tls.files import tls_files
from pointsman_wire.admin_messages import AdminAnswer, AdminQuery, Status, StatusQuery
from pointsman_wire.sockets.admin import AdminServer, Oversight, obeying_level
from pointsman_wire.sockets.tcp import address_text, split_address
from pointsman_wire.sockets.unix_sockets import Groups, listen_for_groups

STOP_S = 30.0
# What is left of it for the manager, after the workers.
MANAGER_STOP_S = 3.0
KILL_S = 5.0
# As in its unit of systemd: all nodes wait for its turns, and those are short.
MANAGER_NICE = -5
PREDECESSOR_S = 10.0
# The words of the children are looked at so often within the time that makes one hung.
LOOKS = 10
LOOK_MAX_S = 1.0
# Some senders signal the process and then its group: that is one wish, not an impatient second.
SAME_SIGNAL_S = 0.5


def has_terminal() -> bool:
    """Was this process started in a terminal, whose end it is told by SIGHUP?"""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _trust(options: ServiceOptions) -> str:
    """Say who may come at the plaintext port, and with what."""
    is_token_needed = options.config.auth.loopback == "required"
    if options.is_open_beyond_loopback:
        beside = ", tokens needed" if is_token_needed else " and tokens"
        return f"OPEN TO THE NETWORK without TLS{beside}"
    return f"open on loopback, {'tokens' if is_token_needed else 'no tokens'} needed"


class Supervisor:
    """Runs one service until it is stopped or cannot go on; `run` returns the exit status."""

    def __init__(self, options: ServiceOptions, log: ProcessLog) -> None:
        self._options = options
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._children: list[Child] = []  # manager, workers: without them there is no service
        self._console: list[Child] = []  # one or none
        self._address = ""
        self._tls_listener: socket.socket | None = None
        self._started_at_s = monotonic()
        self._is_told_ready = False
        self._signal_count = 0
        self._signalled_at_s = 0.0
        self._changed = asyncio.Event()  # a child changed, or a signal came
        self._failed: Child | None = None
        self._spare: Spare | None = None
        self._look_s = min(options.config.supervision.hung_s / LOOKS, LOOK_MAX_S)
        hung_ns, look_ns = int(options.config.supervision.hung_s * 1e9), int(self._look_s * 1e9)
        self._judge = HangJudge(hung_ns=hung_ns, look_ns=look_ns)
        self._start_judge = HangJudge(hung_ns=START_LIMITS * hung_ns, look_ns=look_ns)
        self._next_look: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Start, watch, stop.  Raises GroundError or PathError when there is no ground."""
        options = self._options
        had_leftovers = has_leftovers(options.paths)
        claims = take_instance(options)
        if news := settle_identity(options.paths, os.urandom):
            self._say(Event.SERVICE, news)
        await divide_journals(options)
        prepare_tls(options)
        listener = await self._listen(is_patient=had_leftovers)
        self._address = address_text(listener)
        self._tls_listener = open_tls_port(options)
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._signalled)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            hung_up = self._signalled if has_terminal() else self._reload
            self._loop.add_signal_handler(signal.SIGHUP, hung_up)
        alive, held = os.pipe()  # `held` is inherited by nobody: it closes when this process ends
        admin_path = options.paths.admin("supervisor")
        renewals = RenewalDesk(lambda: [*self._children, *self._console], self._renew_spare)
        obey = obeying_level("supervisor", self._log.set_level, renewals.obey)
        witness = AuditFile(options.paths.state_dir, "supervisor", self._log.about(Event.AUDIT))
        groups = Groups(*group_numbers(options.config.admin, options.paths.runtime_dir))
        listening = listen_for_groups(admin_path, groups)
        admin = AdminServer(listening, self.answer, obey=obey, oversight=Oversight(groups, witness))
        try:
            self._start_children(listener.fileno(), alive)
            self._look()
            await self._wait(lambda: self._signal_count > 0 or self._failed is not None, None)
        finally:
            listener.close()
            if self._tls_listener is not None:
                self._tls_listener.close()
            if self._spare is not None:
                self._spare.close()
            await self._stop_children()
            if self._next_look is not None:
                self._next_look.cancel()
            await admin.close()
            os.close(held)
            os.close(alive)
            clean(options.paths)
            claims.close()
        return self._exit_status()

    async def _listen(self, *, is_patient: bool) -> socket.socket:
        """Open the port, which a dead predecessor's worker may still have for a moment.

        A worker that was just being started holds no lock yet by which it could be seen.
        """
        options = self._options
        until_s = monotonic() + PREDECESSOR_S
        told = ""
        while True:
            left = predecessor(options.paths)
            try:
                return open_port(options.host, options.port)
            except GroundError:
                if not (left or is_patient) or monotonic() > until_s:
                    raise
            if left != told:
                told = left
                self._say(Event.PROCESS_WAITS, f"waits for its predecessor: {left}")
            await asyncio.sleep(0.05)

    def answer(self, query: AdminQuery) -> AdminAnswer | None:
        """Answer who this is and how its children are."""
        if not isinstance(query, StatusQuery):
            return None
        children = [
            {
                "name": child.plan.name,
                "state": child.state.value,
                "pid": str(child.pid),
                "starts": str(child.start_count),
            }
            for child in (*self._children, *self._console)
        ]
        return Status(
            process="supervisor",
            pid=os.getpid(),
            uptime_s=monotonic() - self._started_at_s,
            instance=self._options.paths.instance,
            version=version("pointsman"),
            address=self._address,
            worker_count=self._options.worker_count,
            children=children,
        )

    # ---- children

    def _start_children(self, listen_fd: int, alive_fd: int) -> None:
        manager = self._command("pointsman_sched.manager", alive_fd)
        if self._tls_listener is not None:
            manager = [*manager, "--tls-address", address_text(self._tls_listener)]
        plans = [ChildPlan("manager", manager, (alive_fd,), nice=MANAGER_NICE)]
        worker = [*self._command("pointsman_workers", alive_fd), "--listen-fd", str(listen_fd)]
        if self._options.accept_loss:
            worker.append("--accept-loss")
        if self._options.has_console:
            worker.append("--console")
        descriptors: tuple[int, ...] = (alive_fd, listen_fd)
        if self._tls_listener is not None:
            descriptors = (*descriptors, self._tls_listener.fileno())
            worker += ["--tls-fd", str(self._tls_listener.fileno())]
        spare = self._spare = Spare(worker, descriptors)
        for index in range(self._options.worker_count):
            plan = ChildPlan(
                worker_process(index),
                [*worker, "--index", str(index)],
                descriptors,
                partial(spare.take, index),
            )
            plans.append(plan)
        for plan in plans:
            child = Child(
                plan, changed=self._child_changed, say=self._log.about(Event.CHILD_TROUBLE)
            )
            self._children.append(child)
            child.start()
        if self._options.has_console:
            self._start_console(alive_fd)

    def _start_console(self, alive_fd: int) -> None:
        """Start the pages beside the service, which is ready without them."""
        command = self._command("pointsman_sched.console", alive_fd)
        plan = ChildPlan("console", command, (alive_fd,))
        child = Child(plan, changed=self._console_changed, say=self._log.about(Event.CHILD_TROUBLE))
        self._console.append(child)
        child.start()

    def _console_changed(self, child: Child) -> None:
        if child.state is ChildState.FAILED:
            words = "GIVES UP console: no pages are shown; the service goes on"
            self._say(Event.CHILD_GIVEN_UP, words)
        self._changed.set()

    def _command(self, module: str, alive_fd: int) -> Sequence[str]:
        options = self._options
        host, port = split_address(self._address)
        command = [sys.executable, "-P", "-m", module]
        command += ["--instance", options.paths.instance]
        command += ["--workers", str(options.worker_count)]
        command += ["--state-dir", str(options.paths.state_dir)]
        command += ["--runtime-dir", str(options.paths.runtime_dir)]
        command += ["--host", host, "--port", str(port), "--alive-fd", str(alive_fd)]
        if options.config_path is not None:
            command += ["--config", str(options.config_path)]
        return command

    def _child_changed(self, child: Child) -> None:
        if child.state is ChildState.FAILED:
            self._child_failed(child)
        if not self._is_told_ready and all(c.was_ever_ready for c in self._children):
            self._is_told_ready = len(self._children) == self._options.worker_count + 1
            if self._is_told_ready:
                self._tell_ready()
                assert self._spare is not None
                self._spare.make_soon()
        self._changed.set()

    def _child_failed(self, child: Child) -> None:
        """Before the service was ready it has failed; afterwards the others go on without one."""
        is_last = all(other.state is ChildState.FAILED for other in self._children)
        if not self._is_told_ready or is_last:
            self._failed = self._failed or child
            return
        is_manager = child is self._children[0]
        lost = "nodes cannot join or leave" if is_manager else "sessions of its shard find nobody"
        self._say(
            Event.CHILD_GIVEN_UP,
            f"GIVES UP {child.plan.name}: it died again and again without becoming ready; the "
            f"others go on, {lost}. Mend what it said above, then restart the service",
        )

    async def _renew_spare(self) -> None:
        if self._spare is not None:
            await self._spare.make_anew()

    def _look(self) -> None:
        """Replace who is hung; also while the service stops, which a hung one would hold up."""
        ready = {c.plan.name: c for c in self._children if c.state is ChildState.READY}
        words = read_words(self._options.paths, [*ready])
        self._log.look()
        for name, stood_s in self._judge.look(monotonic_ns(), words).items():
            ready[name].replace(f"has done nothing for {stood_s:.1f} s")
        starting = {c.plan.name: c for c in self._children if c.state is ChildState.STARTING}
        signs = {name: sign_of(child.pid) for name, child in starting.items()}
        for name, stood_s in self._start_judge.look(monotonic_ns(), signs).items():
            starting[name].replace(f"is not ready, and has done nothing for {stood_s:.1f} s")
        self._next_look = self._loop.call_later(self._look_s, self._look)

    def _tell_ready(self) -> None:
        try:
            print(self.ready_line(), flush=True)
        except OSError as error:  # nobody reads it, which is no reason not to serve
            self._say(Event.SERVICE, f"{self.ready_line()} (standard output: {error.strerror})")

    def ready_line(self) -> str:
        """Return the one line that says where the service is to be found."""
        options = self._options
        count = options.worker_count
        trust = _trust(options)
        if self._tls_listener is not None:
            files = tls_files(options.paths, options.config.tls)
            trust += f"; TLS at {address_text(self._tls_listener)}, {check_pin(files.certificate)}"
        pages = f"; pages at http://{self._address}/" if options.has_console else ""
        return (
            f"pointsman ready: {self._address}, {count} worker{'s' if count > 1 else ''}, "
            f"instance {options.paths.instance} (pid {os.getpid()}); {trust}{pages}"
        )

    def _say(self, event: Event, text: str) -> None:
        self._log.tell(event, text)

    # ---- stop

    def _signalled(self) -> None:
        now_s = monotonic()
        if now_s - self._signalled_at_s < SAME_SIGNAL_S:
            return
        self._signalled_at_s = now_s
        self._signal_count += 1
        self._changed.set()

    def _reload(self) -> None:
        """SIGHUP without a terminal that could have been closed: the manager reads its file."""
        for child in self._children[:1]:
            child.tell(signal.SIGHUP)

    async def _stop_children(self) -> None:
        manager, workers = self._children[:1], self._children[1:]
        deadline_s = monotonic() + STOP_S
        for child in (*self._console, *workers):
            child.signal(signal.SIGTERM)
        if await self._wait_for_end(workers, deadline_s - MANAGER_STOP_S):
            for child in manager:
                child.signal(signal.SIGTERM)
            await self._wait_for_end([*manager, *self._console], deadline_s)
        everybody = [*self._children, *self._console]
        left = [child for child in everybody if child.is_alive]
        if left:
            names = ", ".join(child.plan.name for child in left)
            self._say(Event.CHILD_TROUBLE, f"kills what did not stop: {names}")
        for child in everybody:
            child.signal(signal.SIGKILL)
        self._signal_count = 0
        is_over = await self._wait_for_end(everybody, monotonic() + KILL_S)
        if not is_over or any(child.has_frozen for child in everybody):
            words = "some processes do not even end by SIGKILL (are they frozen?); leaves them"
            self._say(Event.CHILD_TROUBLE, words)

    async def _wait_for_end(self, children: Sequence[Child], deadline_s: float) -> bool:
        """Wait until these are gone; False at the deadline or at a second signal."""
        await self._wait(
            lambda: self._signal_count > 1 or not any(child.is_alive for child in children),
            deadline_s,
        )
        return not any(child.is_alive for child in children)

    async def _wait(self, is_so: Callable[[], bool], deadline_s: float | None) -> None:
        timeout_s = None if deadline_s is None else max(0.0, deadline_s - monotonic())
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    def _exit_status(self) -> int:
        if self._failed is None:
            return 0
        name = self._failed.plan.name
        if self._failed.status in HOPELESS_STATUSES and not self._failed.was_ever_ready:
            words = f"gives up: {name} cannot start; what it said above tells what to do"
            self._say(Event.PROCESS_FAILED, words)
            return self._failed.status
        words = (
            f"gives up: {name} died again and again without becoming ready; see what it said above"
        )
        self._say(Event.PROCESS_FAILED, words)
        return 1
