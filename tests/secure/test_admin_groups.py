"""U4: groups of people at an admin socket: some order, some ask, nobody else is answered.

Other users are processes of this test that give up being root, so it is root who runs it.
"""

import asyncio
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from pointsman_wire.admin_messages import AdminQuery, Status, StatusQuery
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import Order, OrderAnswer
from pointsman_wire.queries.operating_messages import OrderDone, PauseOrder
from pointsman_wire.sockets.admin import AdminError, AdminServer, Oversight, ask, give_order
from pointsman_wire.sockets.unix_sockets import Groups, listen_at, listen_for_groups

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can be several users"
)

READERS, OPERATORS, OTHERS = 64_001, 64_002, 64_003
SOMEBODY, SERVICE = 64_010, 64_020
STATUS = Status(process="manager", pid=7, uptime_s=1.5)


class Book:
    """What was written down: (order, outcome)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def saw(self, who: str, order: str, fields: dict[str, str], outcome: str) -> None:
        assert who.startswith(f"uid {SOMEBODY}, pid ")
        self.seen.append((order, outcome.partition(":")[0]))

    def latest(self, count: int) -> list[dict[str, object]]:
        return []


@pytest.fixture
def path() -> Iterator[Path]:
    """In a directory on whose way nobody else can make anything."""
    directory = Path(mkdtemp(prefix="pointsman-test-", dir="/run"))
    try:
        yield directory / "admin-manager.sock"
    finally:
        shutil.rmtree(directory)


def answer(query: AdminQuery) -> Status | None:
    return STATUS if isinstance(query, StatusQuery) else None


async def obey(order: Order) -> OrderAnswer:
    return OrderDone(words="done")


def talk(path: Path, group: int) -> tuple[str, str]:
    """Ask and order as somebody of that group: what each came to."""
    heard = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(
        target=as_somebody, args=(path, group, heard)
    )
    process.start()
    try:
        said: tuple[str, str] = heard.get(timeout=30)
        return said
    finally:
        process.join(timeout=30)


def as_somebody(path: Path, group: int, heard: "multiprocessing.Queue[tuple[str, str]]") -> None:
    os.setgroups([group])
    os.setgid(OTHERS)
    os.setuid(SOMEBODY)
    heard.put((asyncio.run(outcome_of(path, False)), asyncio.run(outcome_of(path, True))))


async def outcome_of(path: Path, is_order: bool) -> str:
    try:
        answer = await (give_order(path, PauseOrder()) if is_order else ask(path, StatusQuery()))
    except AdminError as error:
        return "closed" if "Permission denied" in str(error) else "nothing"
    return answer.error.code if isinstance(answer, Error) else type(answer).__name__


async def outcomes(path: Path, groups: Groups) -> tuple[dict[int, tuple[str, str]], Book]:
    """What members of each group hear of a server for these groups."""
    book = Book()
    listener = listen_for_groups(path, groups)
    server = AdminServer(listener, answer, obey=obey, oversight=Oversight(groups, book))
    try:
        asked = (READERS, OPERATORS, OTHERS)
        return {group: await asyncio.to_thread(talk, path, group) for group in asked}, book
    finally:
        await server.close()


async def test_u4_operators_order_readers_ask_and_refused_orders_are_written_down(
    path: Path,
) -> None:
    """U4: 0660 of the group, its directory 0750; reading and ordering are split, and audited."""
    path.parent.chmod(0o711)  # whoever gets in, the kernel's word decides
    groups = Groups(readers=None, operators=OPERATORS)
    heard, book = await outcomes(path, groups)
    assert heard == {
        READERS: ("closed", "closed"),
        OPERATORS: ("Status", "OrderDone"),
        OTHERS: ("closed", "closed"),
    }
    assert path.stat().st_mode & 0o777 == 0o660
    assert (path.parent.stat().st_mode & 0o7777, path.parent.stat().st_gid) == (0o750, OPERATORS)
    assert book.seen == [("pause_order", "done")]
    path.unlink()
    heard, book = await outcomes(path, Groups(readers=READERS, operators=OPERATORS))
    assert heard[READERS] == ("Status", "UNAUTHORIZED")
    assert book.seen == [("pause_order", "UNAUTHORIZED")]


async def test_u4_a_directory_that_was_given_makes_its_sockets_the_groups(path: Path) -> None:
    """No owner is changed there, which the units of systemd may not do."""
    os.chown(path.parent, -1, OPERATORS)
    path.parent.chmod(0o2750)
    with listen_for_groups(path, Groups(operators=OPERATORS)):
        assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o660, OPERATORS)
        assert path.parent.stat().st_mode & 0o7777 == 0o2750


async def test_who_is_not_root_believes_no_socket_that_another_user_could_have_made(
    path: Path,
) -> None:
    """Where others may write on the way, whoever answers there may be anybody."""
    path.parent.chmod(0o755)
    nested = path.parent / "in" / path.name
    nested.parent.mkdir()
    os.chown(nested.parent, SERVICE, OPERATORS)
    nested.parent.chmod(0o755)
    os.seteuid(SERVICE)  # the kernel keeps who it was that listened
    try:
        listener = listen_at(nested)
    finally:
        os.seteuid(0)
    server = AdminServer(listener, answer, oversight=Oversight(Groups(operators=OPERATORS)))
    nested.chmod(0o666)
    try:
        assert (await asyncio.to_thread(talk, nested, OPERATORS))[0] == "Status"
        path.parent.chmod(0o777)
        assert (await asyncio.to_thread(talk, nested, OPERATORS))[0] == "nothing"
    finally:
        await server.close()
