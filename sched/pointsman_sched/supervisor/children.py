"""One supervised process after another under one name: started, watched, started again.

             start                ready               died
   (idle) ---------> STARTING ------------> READY ------------+
                        ^   | died                            |
                        |   v                                 |
                        +- WAITING <--------------------------+
            pause over      |
                            | too many deaths without ever ready, or a status that
                            v will not change by trying again
                         FAILED          stop: any state -> STOPPED

A restart is immediate after a death in good health, then 0.1 s, doubling to 1 s.  Who was ready
once, and does not start because the file of the configuration has a fault by now or shared memory
is full, tries every 5 s until that is mended.

A hung process is killed.  One that is frozen survives even that until it is thawed: then its
successor is started all the same, and waits for the lock that the frozen one holds.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from time import monotonic

import msgspec

from pointsman_sched.supervisor.spares import Taken

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 1.0
# After this long in good health the next death is a first one again.
HEALTHY_AFTER_S = 10.0
UNREADY_DEATHS_MAX = 5
UNREADY_WINDOW_S = 60.0
READY_BYTES_MAX = 64
# A process that SIGKILL has not ended by then is frozen, or stuck in the kernel.
KILL_PATIENCE_S = 1.0
# Wrong usage or configuration; shared memory is full: another try ends the same way, until somebody
# has mended that.
HOPELESS_STATUSES = (2, 75)
PAUSE_HOPELESS_S = 5.0


class ChildState(StrEnum):
    """Where a child stands."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"
    STOPPED = "stopped"


class ChildPlan(msgspec.Struct, frozen=True):
    """How to start a child: its name, its command without --ready-fd, descriptors to hand on.

    A successor may be at hand already (`take_spare`): then it is taken and nothing is started.
    What is started gets its priority (`nice`), if we may give it.
    """

    name: str
    command: Sequence[str]
    descriptors: tuple[int, ...]
    take_spare: Callable[[], Taken | None] = lambda: None
    nice: int = 0


class Child:
    """One name; `changed` is called after every change of state."""

    def __init__(
        self,
        plan: ChildPlan,
        *,
        changed: Callable[["Child"], None],
        say: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.state = ChildState.STOPPED
        self.start_count = 0
        # Exit status of the last death, as the shell counts: 128 + n for a signal.
        self.status = 0
        self.was_ever_ready = False
        self._changed = changed
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_fd = -1
        self._ready_fd = -1
        self._ready_at_s = 0.0
        self._pause_s = 0.0
        self._unready_deaths: deque[float] = deque(maxlen=UNREADY_DEATHS_MAX)
        self._restart: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._renewed: subprocess.Popen[bytes] | None = None  # told to end for its successor
        self._killed: subprocess.Popen[bytes] | None = None  # for hanging
        # Killed and not dead yet, by their process descriptors; each may hold the lock.
        self._frozen: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def pid(self) -> int:
        """The living process, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_alive(self) -> bool:
        """Is there a process?"""
        return self._process is not None

    @property
    def is_serving(self) -> bool:
        """Is it ready, and not on its way out?"""
        return self.state is ChildState.READY and self._process is not self._renewed

    @property
    def has_frozen(self) -> bool:
        """Is there a former process that SIGKILL has not ended?"""
        return bool(self._frozen)

    def start(self) -> None:
        """Start the process.  Raises OSError when the system has no room for another."""
        process, ours = self.plan.take_spare() or self._spawn()
        try:
            self._pid_fd = os.pidfd_open(process.pid)
        except OSError:  # nobody would watch it, and its successor would wait for its lock
            process.kill()
            process.wait()
            os.close(ours)
            raise
        self._process = process
        self.start_count += 1
        self._loop.add_reader(self._pid_fd, self._died)
        self._ready_fd = ours
        os.set_blocking(ours, False)
        self._loop.add_reader(ours, self._read_ready)
        self._become(ChildState.STARTING)

    def _spawn(self) -> Taken:
        ours, theirs = os.pipe()
        try:
            process = subprocess.Popen(
                [*self.plan.command, "--ready-fd", str(theirs)],
                pass_fds=(*self.plan.descriptors, theirs),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                # Of a group of its own: Ctrl-C in a terminal is for the supervisor to pass on.
                process_group=0,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        if self.plan.nice:
            with suppress(OSError):  # a higher one takes root, or CAP_SYS_NICE
                os.setpriority(os.PRIO_PROCESS, process.pid, self.plan.nice)
        return process, ours

    def _start_again(self) -> None:
        self._restart = None
        try:
            self.start()
        except OSError as error:
            # The system has no room: that is no fault of the child's, and may pass.
            self._say(f"{self.plan.name} cannot be started: {error.strerror}; tries again")
            self._wait_and_restart()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal that means something else than an end, if it can be understood."""
        if self.state is ChildState.READY and self._process is not None:
            self._process.send_signal(number)

    def renew(self) -> bool:
        """End a process that is ready gently; its successor starts as soon as it has ended.

        False when there is none that is ready, or when it is on its way out already.
        """
        process = self._process
        if not self.is_serving or process is None:
            return False
        self._renewed = process
        process.send_signal(signal.SIGTERM)
        return True

    def replace(self, why: str) -> None:
        """Kill a process that hangs, and let a successor take its place."""
        if self._process is None or self._process is self._killed:
            return
        self._killed = self._process
        self._say(f"{self.plan.name} (pid {self.pid}) {why}: kills it")
        self._process.kill()
        self._loop.call_later(KILL_PATIENCE_S, self._leave_frozen, self._process)

    def _leave_frozen(self, process: subprocess.Popen[bytes]) -> None:
        if process is not self._process:
            return
        fd = self._pid_fd
        self._say(
            f"{self.plan.name} (pid {process.pid}) does not end by SIGKILL, so it is frozen: its "
            "successor waits until it is thawed"
        )
        self._loop.remove_reader(fd)
        self._frozen[fd] = process
        self._loop.add_reader(fd, self._thawed, fd)
        self._process = None
        self.status = 128 + signal.SIGKILL
        self._close_ready()
        if self._is_stopping:
            self._become(ChildState.STOPPED)
        else:
            self._plan_restart(was_ready=self.state is ChildState.READY)

    def _thawed(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        process = self._frozen.pop(fd)
        process.wait()
        self._say(f"{self.plan.name} (pid {process.pid}), which was frozen, is gone")
        self._changed(self)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a child that is signalled is not started again."""
        self._is_stopping = True
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._process is not None:
            # Who ends for its successor was told: a second SIGTERM would mean "at once".
            if self._process is not self._renewed or number != signal.SIGTERM:
                self._process.send_signal(number)
        elif self.state is not ChildState.FAILED:
            self._become(ChildState.STOPPED)

    def _read_ready(self) -> None:
        try:
            said = os.read(self._ready_fd, READY_BYTES_MAX)
        except BlockingIOError:
            return
        if said and b"ready" not in said:
            return  # a spare's word that it was at hand
        self._close_ready()
        if said:
            self._ready_at_s = monotonic()
            self.was_ever_ready = True
            self._become(ChildState.READY)

    def _close_ready(self) -> None:
        if self._ready_fd >= 0:
            self._loop.remove_reader(self._ready_fd)
            os.close(self._ready_fd)
            self._ready_fd = -1

    def _died(self) -> None:
        assert self._process is not None
        self._loop.remove_reader(self._pid_fd)
        os.close(self._pid_fd)
        if self._ready_fd >= 0:
            self._read_ready()  # it may have become ready and died in one breath
            self._close_ready()
        code = self._process.wait()
        self.status = code if code >= 0 else 128 - code
        was_ready = self.state is ChildState.READY
        is_renewal = self._process is self._renewed
        self._process = self._renewed = None
        if self._is_stopping:
            self._become(ChildState.STOPPED)
            return
        if is_renewal and code == 0:
            self._say(f"{self.plan.name} has ended as it was asked to; starts its successor")
            self._start_again()
            return
        self._say(f"{self.plan.name} {describe_exit(code)}")
        self._plan_restart(was_ready=was_ready)

    def _plan_restart(self, *, was_ready: bool) -> None:
        now_s = monotonic()
        is_unfit = not was_ready and self.status in HOPELESS_STATUSES
        if is_unfit and self.was_ever_ready:
            self._pause_s = PAUSE_HOPELESS_S
        elif not was_ready:
            self._unready_deaths.append(now_s)
        elif now_s - self._ready_at_s >= HEALTHY_AFTER_S:
            self._pause_s = 0.0
        if (is_unfit and not self.was_ever_ready) or self._is_crash_loop(now_s):
            self._become(ChildState.FAILED)
            return
        self._wait_and_restart()

    def _wait_and_restart(self) -> None:
        self._restart = self._loop.call_later(self._pause_s, self._start_again)
        self._pause_s = min(max(2 * self._pause_s, PAUSE_FIRST_S), PAUSE_MAX_S)
        self._become(ChildState.WAITING)

    def _is_crash_loop(self, now_s: float) -> bool:
        deaths = self._unready_deaths
        return len(deaths) == UNREADY_DEATHS_MAX and now_s - deaths[0] < UNREADY_WINDOW_S

    def _become(self, state: ChildState) -> None:
        self.state = state
        self._changed(self)


def describe_exit(code: int) -> str:
    """Return how a process ended, in words, from Popen's return code."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"
