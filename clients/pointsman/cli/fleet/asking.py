"""Asking the processes of a service over their admin sockets: data only, no output.

Processes are found by their sockets, `admin-<process>.sock` in the instance's runtime directory.
A socket file proves nothing, its process may have died: an answer does.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pointsman.cli.endings import USAGE, Trouble
from pointsman_wire.admin_messages import (
    AdminAnswer,
    AdminQuery,
    NodeLine,
    Nodes,
    NodesQuery,
    SessionLine,
    Sessions,
    SessionsQuery,
    StatusQuery,
)
from pointsman_wire.limits import PAGE_LINES_MAX
from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.order_messages import OrderAnswer
from pointsman_wire.places import (
    PlaceError,
    admin_socket,
    default_runtime_dir,
    system_runtime_dir,
)
from pointsman_wire.queries.job_messages import PoisonJobs, PoisonLine, PoisonQuery
from pointsman_wire.sockets.admin import AdminError, ask

ASK_S = 2.0
MANAGER = "manager"
USUAL_INSTANCE = "default"

AnswerKind = TypeVar("AnswerKind")


class NobodyAnswers(Exception):
    """Sockets are there, but nobody behind them; `faults` says of each why."""

    def __init__(self, faults: "Sequence[Heard]") -> None:
        super().__init__("; ".join(heard.fault for heard in faults))
        self.faults = list(faults)


class Service(NamedTuple):
    """A running service, as far as its sockets tell."""

    instance: str
    runtime_dir: Path
    processes: list[str]

    @property
    def workers(self) -> list[str]:
        return [process for process in self.processes if process.startswith("worker-")]


class Heard(NamedTuple):
    """What a process answered; None, and why, when it gave no answer of the kind.

    `error` is what it said when it refused.
    """

    process: str
    answer: AdminAnswer | OrderAnswer | None
    fault: str = ""
    error: ErrorInfo | None = None


class Fleet(NamedTuple):
    """The nodes as one process sees them; `faults` says who could not be asked."""

    answered_by: str
    nodes: list[NodeLine]
    page: Nodes
    faults: list[Heard]

    @property
    def has_manager(self) -> bool:
        return self.answered_by == MANAGER


def find_service(instance: str, runtime_dir: Path | None) -> Service:
    """Return the service of that name, or raise Trouble with the names of those that run."""
    try:
        place = runtime_dir or default_runtime_dir(instance)
        shared = system_runtime_dir(instance)
    except PlaceError as error:
        raise Trouble(str(error), code=USAGE) from None
    for found in (place,) if runtime_dir else (place, shared):
        if processes := processes_in(found):
            return Service(instance, found, processes)
    if runtime_dir is None and shared.is_dir() and not os.access(shared, os.R_OK | os.X_OK):
        group = "its group"
        if sys.platform != "win32":
            group = shared.group()
        todo = f"become a member of {group} (usermod --append --groups), and log in anew"
        raise Trouble(f"{shared} is closed to this user", todo=todo)
    raise no_service(f"no service {instance!r} is running: nothing listens in {place}", place)


def no_service(what: str, place: Path) -> Trouble:
    """Return the trouble that nothing runs there, with what runs beside it."""
    others = [path for path in running_places(place.parent) if path != place]
    todo = "start one with `pointsman serve`, or name its place with --runtime-dir"
    if others and place.parent == default_runtime_dir(USUAL_INSTANCE).parent:
        todo = f"name one that runs: --instance {' | '.join(path.name for path in others)}"
    elif others:
        todo = f"name one that runs: --runtime-dir {' | '.join(map(str, others))}"
    return Trouble(what, todo=todo)


def processes_in(runtime_dir: Path) -> list[str]:
    """Return the processes that have, or had, a socket there: manager, workers, supervisor."""
    names = (path.name for path in runtime_dir.glob("admin-*.sock"))
    found = [name.removeprefix("admin-").removesuffix(".sock") for name in names]
    return sorted(found, key=_rank)


def _rank(process: str) -> tuple[int, int, str]:
    kind, _, number = process.partition("-")
    order = {"manager": 0, "worker": 1, "supervisor": 2}.get(kind, 3)
    return order, int(number) if number.isdigit() else 0, process


def running_places(folder: Path) -> list[Path]:
    """Return the runtime directories below this folder of which a process answers."""
    places = sorted(path for path in folder.glob("*") if processes_in(path))
    return [place for place in places if asyncio.run(_answers(place))]


async def _answers(runtime_dir: Path) -> bool:
    heard = await ask_each(runtime_dir, processes_in(runtime_dir), StatusQuery())
    return any(one.answer is not None for one in heard)


async def ask_each(
    runtime_dir: Path, processes: Sequence[str], query: AdminQuery, *, timeout_s: float = ASK_S
) -> list[Heard]:
    """Put one question to several processes at once; none holds up the others."""
    places = (admin_socket(runtime_dir, process) for process in processes)
    questions = (ask(place, query, timeout_s=timeout_s) for place in places)
    return await asyncio.gather(*map(hear, processes, questions))


async def hear(process: str, answering: Awaitable[AdminAnswer | OrderAnswer]) -> Heard:
    """Wait for what a process answers."""
    try:
        answer = await answering
    except AdminError as error:
        return Heard(process, None, str(error))
    if isinstance(answer, Error):
        return Heard(process, None, f"{process}: {answer.error.message}", answer.error)
    return Heard(process, answer)


async def ask_fleet(service: Service, *, lines_max: int) -> Fleet:
    """Return the nodes as the manager knows them; with it gone, as a worker sees them.

    Raises NobodyAnswers.
    """
    faults: list[Heard] = []
    for process in [MANAGER, *service.workers]:
        heard = await _ask_pages(service, process, lines_max)
        if isinstance(heard, Fleet):
            return heard._replace(faults=faults)
        faults.append(heard)
    raise NobodyAnswers(faults)


def nobody_there(service: Service, faults: Sequence[Heard]) -> Trouble:
    """Return the trouble that sockets are there, but nobody behind them."""
    what = f"no process of service {service.instance!r} answers: {NobodyAnswers(faults)}"
    return no_service(what, service.runtime_dir)


async def _ask_pages(service: Service, process: str, lines_max: int) -> Fleet | Heard:
    nodes: list[NodeLine] = []
    while True:
        query = NodesQuery(
            limit=min(PAGE_LINES_MAX, lines_max - len(nodes)),
            after=nodes[-1].node_id if nodes else "",
        )
        (heard,) = await ask_each(service.runtime_dir, [process], query)
        page = heard.answer
        if not isinstance(page, Nodes):
            return heard._replace(answer=None, fault=heard.fault or f"{process}: no such answer")
        nodes += page.nodes
        if not page.more or not page.nodes or len(nodes) >= lines_max:
            return Fleet(process, nodes, page, [])


async def ask_sessions(
    service: Service, *, lines_max: int
) -> tuple[list[tuple[str, SessionLine]], int, list[Heard]]:
    """Return (worker, session) of all workers, how many there are, and who gave no answer."""
    query = SessionsQuery(limit=min(PAGE_LINES_MAX, lines_max))
    all_heard = await ask_each(service.runtime_dir, service.workers, query)
    pages = of_kind(all_heard, Sessions)
    lines = [(process, line) for process, page in pages.items() for line in page.sessions]
    faults = [heard for heard in all_heard if heard.process not in pages]
    return lines[:lines_max], sum(page.total for page in pages.values()), faults


async def ask_poison(
    service: Service, *, lines_max: int
) -> tuple[list[tuple[str, PoisonLine]], int, list[Heard]]:
    """Return (worker, job) of all workers, newest first, how many there were, and who is silent."""
    query = PoisonQuery(limit=min(PAGE_LINES_MAX, lines_max))
    all_heard = await ask_each(service.runtime_dir, service.workers, query)
    pages = of_kind(all_heard, PoisonJobs)
    lines = [(process, line) for process, page in pages.items() for line in page.jobs]
    lines.sort(key=lambda line: line[1].ended_ago_s)
    faults = [heard for heard in all_heard if heard.process not in pages]
    return lines[:lines_max], sum(page.total for page in pages.values()), faults


def of_kind(heard: Sequence[Heard], kind: type[AnswerKind]) -> dict[str, AnswerKind]:
    """Return process -> answer, of those that answered so."""
    return {one.process: one.answer for one in heard if isinstance(one.answer, kind)}


def no_answer(faults: Sequence[Heard]) -> dict[str, object]:
    """Return for JSON who gave no answer, and why."""
    return {"no_answer": {heard.process: heard.fault for heard in faults}}
