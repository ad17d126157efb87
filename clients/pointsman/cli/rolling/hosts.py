"""Who restarts a process: systemd, where it is a unit, or the supervisor of `pointsman serve`."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Protocol

from pointsman.cli.endings import Trouble
from pointsman.cli.fleet.asking import MANAGER, USUAL_INSTANCE, Service
from pointsman.cli.rolling.looking import SUPERVISOR, Look
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import RestartOrder
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import AdminError, give_order

WORKER = re.compile(r"worker-(\d+)")
NO_UNIT = "the manager is neither a unit of systemd nor a child of a supervisor"


class Host(Protocol):
    """Restarts one process gently."""

    words: str  # who does it, for people
    log_words: str  # where the processes tell what happened

    async def restart(self, process: str) -> None:
        """Begin, or do, the restart of this process.  Raises Trouble."""


class SupervisorHost:
    """`pointsman serve`: its supervisor takes the order, and starts the successor."""

    words = "by its supervisor"
    log_words = "what the service printed"

    def __init__(self, service: Service) -> None:
        self._path = admin_socket(service.runtime_dir, SUPERVISOR)

    async def restart(self, process: str) -> None:
        """Begin the restart.  Raises Trouble when the supervisor refuses."""
        try:
            answer = await give_order(self._path, RestartOrder(process))
        except AdminError as error:
            raise Trouble(f"the supervisor cannot be asked: {error}") from None
        if isinstance(answer, Error):
            raise Trouble(answer.error.message, error_code=answer.error.code)


class SystemdHost:
    """Units of systemd: each process is one, and `systemctl restart` returns when it is ready."""

    words = "by systemd"
    log_words = "journalctl -u 'pointsman*' -n 50"

    def __init__(self, *, is_users: bool) -> None:
        self._command = ("systemctl", *(("--user",) if is_users else ()))

    async def restart(self, process: str) -> None:
        """Restart the unit.  Raises Trouble when it cannot be started again."""
        status, said = await self._run("restart", unit_of(process))
        if status != 0:
            raise Trouble(f"systemctl restart {unit_of(process)}: {said}")

    async def main_pid(self, process: str) -> int:
        """Return the process that the unit is, 0 for none."""
        _, said = await self._run("show", "--value", "-p", "MainPID", unit_of(process))
        return int(said) if said.isdigit() else 0

    async def python(self, process: str) -> str:
        """Return the program that the unit starts."""
        _, said = await self._run("show", "--value", "-p", "ExecStart", unit_of(process))
        found = re.search(r"path=(\S+)", said)
        return found[1] if found else ""

    async def _run(self, *words: str) -> tuple[int, str]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except FileNotFoundError:
            raise Trouble(f"{NO_UNIT}: systemctl is not here") from None
        try:
            said, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, said.decode(errors="replace").strip()


def unit_of(process: str) -> str:
    """Return the unit's name of a process."""
    if worker := WORKER.fullmatch(process):
        return f"pointsman-worker@{worker[1]}.service"
    return f"pointsman-{process}.service"


async def host_of(service: Service, look: Look) -> Host:
    """Return who runs this service.  Raises Trouble when nobody does who could restart it."""
    if SUPERVISOR in look.statuses:
        return SupervisorHost(service)
    for is_users in (False, True):
        host = SystemdHost(is_users=is_users)
        is_it = service.instance == USUAL_INSTANCE
        if is_it and await host.main_pid(MANAGER) == look.statuses[MANAGER].pid:
            await _check_python(host)
            return host
    raise Trouble(NO_UNIT, todo="end the service, and start it by `serve` or `systemd install`")


async def _check_python(host: SystemdHost) -> None:
    """Refuse to restart into another installation than the one that was asked to check it."""
    theirs = await host.python(MANAGER)
    if theirs and Path(theirs) != Path(sys.executable):
        raise Trouble(
            f"the units start {theirs}, this is {sys.executable}",
            todo="to change to this installation: `pointsman systemd install --no-start` with the "
            "options of the first time, then again; else run the command beside the units' Python",
        )
