"""The dashboard's stream: who may watch, how many, what a slow or a leaving viewer costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from pointsman_sched.console.admin.asking import Processes
from pointsman_sched.console.admin.reading import Reading
from pointsman_sched.console.dashboard.eye import FleetEye
from pointsman_sched.console.dashboard.live import dashboard_routes
from pointsman_sched.console.dashboard.picture import FRAME_BYTES_MAX
from pointsman_sched.console.dashboard.sampler import About, Sampler
from pointsman_sched.console.observing.health import NOT_LOOKED
from pointsman_sched.console.observing.routes import Access
from pointsman_sched.console.process import fleet_access
from pointsman_shm.config import Config
from pointsman_shm.paths import InstancePaths

PATIENCE_S = 20.0


def make_sampler(tmp_path: Path) -> Sampler:
    """One that looks at an instance which is not there."""
    paths = InstancePaths(
        instance="t-nobody-is-here", state_dir=tmp_path / "s", runtime_dir=tmp_path / "r"
    )
    about = About(instance="t-nobody-is-here", version="1", worker_count=1)
    eye = FleetEye(paths, max_nodes=256, worker_count=1)
    return Sampler(eye, about, lambda: NOT_LOOKED)


class Viewer:
    """One request; takes a part of the answer each time it is told to."""

    def __init__(self, app: Starlette, path: str = "/fleet/live", **headers: str) -> None:
        self.parts: list[Message] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._leaves = asyncio.Event()
        query = path.partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": query[0],
            "query_string": query[2].encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 5),
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.may_read.wait()
        self.parts.append(message)

    def leave(self) -> None:
        self._leaves.set()

    @property
    def status(self) -> int:
        return int(self.parts[0]["status"]) if self.parts else 0

    @property
    def items(self) -> list[list[Any]]:
        bodies = [part["body"] for part in self.parts[1:] if part["body"]]
        assert all(body.startswith(b"data: ") and body.endswith(b"\n\n") for body in bodies)
        assert all(len(body) < FRAME_BYTES_MAX + 200 for body in bodies)
        return [item for body in bodies for item in msgspec.json.decode(body[6:])["items"]]


async def until(is_so: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def dashboard(
    tmp_path: Path, *, access: Access = "loopback", viewers_max: int = 2
) -> AsyncIterator[tuple[Sampler, Starlette]]:
    sampler = make_sampler(tmp_path)
    reading = Reading(Processes(lambda name: tmp_path / name, 1))
    routes = dashboard_routes(sampler, reading, access=access, viewers_max=viewers_max)
    try:
        yield sampler, Starlette(routes=routes)
    finally:
        sampler.close()


async def test_a_viewer_is_told_everything_and_let_go_when_the_console_stops(
    tmp_path: Path,
) -> None:
    async with dashboard(tmp_path) as (sampler, app):
        viewer = Viewer(app)
        await until(lambda: viewer.items)
        assert ["now", "fleet", {"states": {}, "slots": 0, "held": 0}] in viewer.items
        sampler.close()
        await asyncio.wait_for(viewer.task, PATIENCE_S)
        assert sampler.viewer_count == 0


async def test_without_viewers_only_the_history_goes_on_and_the_first_one_sees_what_is_now(
    tmp_path: Path,
) -> None:
    def tables() -> set[str]:
        return {item[0] for item in msgspec.json.decode(sampler.picture.after(0).data)["items"]}

    async with dashboard(tmp_path) as (sampler, _):
        await until(lambda: sampler.picture.number)
        assert tables() == {"point"}
        sampler.enter()
        assert {"point", "now"} <= tables(), "before anything is sent to it"
        number = sampler.picture.number
        sampler.leave()
        sampler.enter()
        assert sampler.picture.number == number, "rows of a moment ago are made once"
        sampler.leave()


async def test_as_many_as_allowed_may_watch_and_a_place_is_free_again_when_one_leaves(
    tmp_path: Path,
) -> None:
    """Knob console.viewers_max, at its bound."""
    async with dashboard(tmp_path, viewers_max=2) as (sampler, app):
        first, second = Viewer(app), Viewer(app)
        await until(lambda: sampler.viewer_count == 2)
        third = Viewer(app)
        await third.task
        assert third.status == HTTPStatus.SERVICE_UNAVAILABLE
        first.leave()
        await until(lambda: sampler.viewer_count == 1)
        fourth = Viewer(app)
        await until(lambda: fourth.items)
        assert second.status == fourth.status == HTTPStatus.OK
        sampler.close()
        await asyncio.gather(second.task, fourth.task)


async def test_a_viewer_that_does_not_read_gets_the_newest_state_and_holds_up_nobody(
    tmp_path: Path,
) -> None:
    async with dashboard(tmp_path) as (sampler, app):
        slow, quick = Viewer(app), Viewer(app)
        await until(lambda: slow.items and quick.items)
        slow.may_read.clear()
        seen = len(slow.items)
        for turn in range(500):
            sampler.picture.put("test", 1, [turn])
        await until(lambda: ["test", 1, [499]] in quick.items)
        slow.may_read.set()
        await until(lambda: ["test", 1, [499]] in slow.items)
        later = [item for item in slow.items[seen:] if item[0] == "test"]
        assert later == [["test", 1, [499]]], "one state, whatever was in between"
        sampler.close()
        await asyncio.gather(slow.task, quick.task)


async def test_only_this_machine_is_told_anything_unless_the_configuration_says_otherwise(
    tmp_path: Path,
) -> None:
    """X1: whoever a proxy speaks for is somewhere else.  Knob console.fleet."""
    async with dashboard(tmp_path) as (_, app):
        for path in ("/fleet/live", "/fleet/why?request=r-1"):
            proxied = Viewer(app, path, **{"x-forwarded-for": "10.0.0.9"})
            await proxied.task
            assert proxied.status == HTTPStatus.FORBIDDEN
            assert b"console.fleet" in proxied.parts[1]["body"]
    async with dashboard(tmp_path, access="none") as (_, app):
        nobody = Viewer(app)
        await nobody.task
        assert nobody.status == HTTPStatus.FORBIDDEN
    async with dashboard(tmp_path, access="all") as (sampler, app):
        proxied = Viewer(app, **{"x-forwarded-for": "10.0.0.9"})
        await until(lambda: proxied.items)
        sampler.close()
        await proxied.task


def test_where_this_machine_needs_tokens_it_is_not_shown_the_dashboard_without() -> None:
    """A6: who has no token must not read request ids and decisions of those who have."""
    for loopback, fleet, access in (
        ("open", "loopback", "loopback"),
        ("required", "loopback", "none"),
        ("required", "all", "all"),
        ("open", "none", "none"),
    ):
        said = {"auth": {"loopback": loopback}, "console": {"fleet": fleet}}
        assert fleet_access(msgspec.convert(said, Config)) == access


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, HTTPStatus.FORBIDDEN),  # an image, a script, a fetch
        ({"sec-fetch-site": "same-site"}, HTTPStatus.FORBIDDEN),  # another port of this host
        ({"origin": "http://evil.example", "host": "10.0.0.7:7400"}, HTTPStatus.FORBIDDEN),
        ({"origin": "null", "host": "10.0.0.7:7400"}, HTTPStatus.FORBIDDEN),
        ({"sec-fetch-site": "same-origin"}, HTTPStatus.OK),
        ({"sec-fetch-site": "none"}, HTTPStatus.OK),  # typed by somebody
        ({"origin": "http://10.0.0.7:7400", "host": "10.0.0.7:7400"}, HTTPStatus.OK),
        ({}, HTTPStatus.OK),  # a program
    ],
)
async def test_a_page_of_another_site_gets_no_place_and_has_nobody_asked(
    tmp_path: Path, headers: dict[str, str], status: HTTPStatus
) -> None:
    """Whatever page somebody has open on this host would be a peer on loopback."""
    async with dashboard(tmp_path, viewers_max=1) as (sampler, app):
        viewer = Viewer(app, **headers)
        await until(lambda: viewer.status)
        assert viewer.status == status
        assert sampler.viewer_count == (status is HTTPStatus.OK)
        why = Viewer(app, "/fleet/why?request=r-1", **headers)
        await why.task
        assert (why.status == HTTPStatus.FORBIDDEN) == (status is HTTPStatus.FORBIDDEN)
        sampler.close()
        await viewer.task


async def test_why_answers_in_words_when_no_worker_does_or_nothing_is_asked(
    tmp_path: Path,
) -> None:
    async with dashboard(tmp_path) as (_, app):
        unknown, silly = (
            Viewer(app, "/fleet/why?request=r-1"),
            Viewer(app, f"/fleet/why?request={'x' * 5_000}"),
        )
        await asyncio.gather(unknown.task, silly.task)
        assert unknown.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert b"does not answer" in unknown.parts[1]["body"]
        assert silly.status == HTTPStatus.BAD_REQUEST
