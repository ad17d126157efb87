"""`rolling-restart`: every process anew, one after another, while clients go on submitting.

    worker-0  ->  ... -> worker-N  ->  manager  ->  console

A worker that ends tells its clients and nodes to come again, lets jobs end that run, and leaves
the rest in its journal; its successor takes them over.  The next one is only begun when the one
before has answered and has its lanes again.  What the new program could not read in the memory of
the old one is looked for before anything is touched.
"""

import asyncio
import sys
from collections.abc import Callable
from time import monotonic
from typing import Annotated

import msgspec
import typer

from pointsman.cli.endings import Commands, Trouble
from pointsman.cli.fleet.asking import MANAGER, Service, find_service, nobody_there
from pointsman.cli.options import Instance, Json, RuntimeDir
from pointsman.cli.rolling.hosts import Host, host_of
from pointsman.cli.rolling.looking import Look, look_at, missing_lanes, processes_of
from pointsman.cli.screen import complete, say, say_json
from pointsman_wire.admin_messages import Status

app = typer.Typer(cls=Commands)

UPGRADE_CHECK = "pointsman_shm.versions.upgrade_check"
LOOK_S = 0.05
# A busy process may be late with an answer, between two restarts.
WHOLE_S = 10.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One process that was restarted."""

    process: str
    seconds: float
    old_pid: int
    new_pid: int
    old_version: str
    new_version: str


class Course(msgspec.Struct, kw_only=True):
    """What was done so far, and what is still to be done."""

    service: Service
    host: Host
    patience_s: float
    tell: Callable[[str], None]
    todo: list[str]
    steps: list[Step] = []


@app.command("rolling-restart")
def rolling_restart(
    *,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    patience: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds to wait for each process.")
    ] = 120.0,
    as_json: Json = False,
) -> None:
    """Restart every process of a running service, one after another.

    No submit fails meanwhile: clients and nodes come again by themselves.  So
    it is upgraded, too: install the new version first.  Refuses while the
    service is not whole; stops where something does not come back, and says
    what state it leaves.
    """
    service = find_service(instance, runtime_dir)
    tell = _silent if as_json else say
    began_s = monotonic()
    steps = asyncio.run(_restart_all(service, patience, tell))
    if as_json:
        say_json(complete({"steps": steps, "seconds": round(monotonic() - began_s, 3)}))
    else:
        say(f"all restarted in {monotonic() - began_s:.1f} s; version {steps[0].new_version} runs")


def _silent(text: str) -> None:
    """Programs read the end alone."""


async def _restart_all(
    service: Service, patience_s: float, tell: Callable[[str], None]
) -> list[Step]:
    look = await look_at(service)
    if not look.statuses:
        raise nobody_there(service, [])
    if look.faults:
        raise Trouble(
            f"nothing was restarted, the service is not whole: {'; '.join(look.faults)}",
            todo="mend that first (`pointsman status`), or restart all of it at once",
        )
    host = await host_of(service, look)
    await _check_fit(service, look)
    todo = processes_of(look)
    course = Course(service=service, host=host, patience_s=patience_s, tell=tell, todo=todo)
    tell(
        f"restarts {', '.join(todo)} of {service.instance} {host.words}, one after another; "
        f"version {', '.join(look.versions())} runs"
    )
    while course.todo:
        await _restart_next(course)
    return course.steps


async def _check_fit(service: Service, look: Look) -> None:
    """Raise Trouble where processes of this version could not follow those that run."""
    manager = look.statuses[MANAGER]
    check = (UPGRADE_CHECK, "--pid", str(manager.pid), service.instance)
    command = (sys.executable, "-P", "-m", *check)
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode != 0:
        raise Trouble(
            f"nothing was restarted: {said.decode(errors='replace').strip()}",
            todo="restart all of it at once, clients wait meanwhile: `systemctl restart "
            "pointsman.target`, or end `pointsman serve` and start it again",
        )


async def _restart_next(course: Course) -> None:
    name = course.todo[0]
    before = await _look_until_whole(course.service)
    old = before.statuses.get(name)
    if before.faults or old is None:
        raise _stopped(course, f"the service is no longer whole: {'; '.join(before.faults)}")
    began_s = monotonic()
    course.tell(f"{name}: told to end (pid {old.pid}{_load_words(before, name)})")
    try:
        async with asyncio.timeout(course.patience_s):
            await course.host.restart(name)
            new = await _wait_back(course.service, before, name)
    except TimeoutError:
        now = await look_at(course.service)
        missing = missing_lanes(before, now, name)
        why = now.faults or ([f"it lacks {missing} lanes"] if missing else ["it is not ready"])
        what = f"{name} is not back after {course.patience_s:g} s: {'; '.join(why)}"
        raise _stopped(course, what) from None
    except Trouble as trouble:
        raise _stopped(course, f"{name}: {trouble.what}") from None
    seconds = monotonic() - began_s
    course.tell(f"{name}: ready again after {seconds:.2f} s (pid {new.pid}, version {new.version})")
    course.todo.pop(0)
    step = Step(
        process=name,
        seconds=round(seconds, 3),
        old_pid=old.pid,
        new_pid=new.pid,
        old_version=old.version,
        new_version=new.version,
    )
    course.steps.append(step)


async def _look_until_whole(service: Service) -> Look:
    """Look; where something is amiss, give it a moment to pass, and return the last look."""
    look = await look_at(service)
    try:
        async with asyncio.timeout(WHOLE_S):
            while look.faults:
                await asyncio.sleep(LOOK_S)
                look = await look_at(service)
    except TimeoutError:
        return look
    return look


def _load_words(look: Look, process: str) -> str:
    if not process.startswith("worker"):
        return ""
    return f", {look.sessions(process)} sessions, {look.lanes(process)} nodes"


async def _wait_back(service: Service, before: Look, name: str) -> Status:
    """Return what the successor says of itself once the service is whole with it."""
    old = before.statuses[name]
    while True:
        now = await look_at(service)
        new = now.statuses.get(name)
        is_back = new is not None and new.pid != old.pid
        if new is not None and is_back and not now.faults and not missing_lanes(before, now, name):
            return new
        await asyncio.sleep(LOOK_S)


def _stopped(course: Course, what: str) -> Trouble:
    """Return the trouble, with the state in which the service is left."""
    done = ", ".join(step.process for step in course.steps) or "none"
    left = ", ".join(course.todo[1:]) or "none"
    return Trouble(
        f"stopped at {course.todo[0]}: {what}\nrestarted: {done}; not touched: {left}",
        todo=f"see {course.host.log_words}; the others serve on. Mend it, then run this again, "
        "or install the former version and run this again",
    )
