"""Typed questions on a unix socket: answered to this user, refused in words otherwise."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pointsman_wire.admin_messages import (
    AdminAnswer,
    AdminQuery,
    NodesQuery,
    Sessions,
    SessionsQuery,
    Status,
    StatusQuery,
)
from pointsman_wire.framing import encode_frame
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import (
    ConfigDiffQuery,
    Order,
    OrderAnswer,
    PairingCode,
    PairOrder,
    ReloadOrder,
)
from pointsman_wire.queries.operating_messages import Audit, AuditLine, AuditQuery
from pointsman_wire.session_messages import SessionClose
from pointsman_wire.sockets.admin import AdminError, AdminServer, Oversight, ask, give_order
from pointsman_wire.sockets.unix_sockets import PathInUse, Peer, listen_at

STATUS = Status(process="worker-0", pid=7, uptime_s=1.5, counters={"decisions": 3})


def answer(query: AdminQuery) -> AdminAnswer | None:
    if isinstance(query, StatusQuery):
        return STATUS
    if isinstance(query, SessionsQuery):
        return Sessions(sessions=[], total=query.limit)
    return None


@asynccontextmanager
async def serving(
    path: Path,
    answering: Callable[[AdminQuery], AdminAnswer | None] = answer,
    query_s: float = 5.0,
) -> AsyncIterator[None]:
    server = AdminServer(listen_at(path), answering, query_s=query_s)
    try:
        yield
    finally:
        await server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin-worker-0.sock"


async def test_a_question_is_answered(path: Path) -> None:
    async with serving(path):
        assert await ask(path, StatusQuery()) == STATUS
        assert await ask(path, SessionsQuery(limit=9)) == Sessions(sessions=[], total=9)


async def test_records_that_are_none_are_passed_over_and_end_nobody(path: Path) -> None:
    class Strange:
        def saw(self, who: str, order: str, fields: dict[str, str], outcome: str) -> None: ...

        def latest(self, count: int) -> list[dict[str, object]]:
            whole: dict[str, object] = {"at": "now", "who": "me"}
            return [{}, {**whole, "fields": {"a": 1}}, whole][:count]

    server = AdminServer(listen_at(path), answer, oversight=Oversight(witness=Strange()))
    try:
        assert await ask(path, AuditQuery()) == Audit(lines=[AuditLine(at="now", who="me")])
    finally:
        await server.close()


async def test_many_ask_at_once_and_each_gets_its_own_answer(path: Path) -> None:
    async with serving(path):
        queries = [SessionsQuery(limit=number) for number in range(1, 21)]
        answers = await asyncio.gather(*(ask(path, query) for query in queries))
        assert [got.total for got in answers if isinstance(got, Sessions)] == [*range(1, 21)]


async def test_what_a_process_cannot_answer_is_answered_by_an_error(path: Path) -> None:
    async with serving(path):
        got = await ask(path, NodesQuery())
        assert isinstance(got, Error)
        assert got.error.code == "NOT_FOUND"


async def test_one_connection_may_ask_again_after_nonsense(path: Path) -> None:
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(encode_frame(SessionClose()) + encode_frame(StatusQuery()))
        frames = b""
        while encode_frame(STATUS) not in frames:
            frames += await asyncio.wait_for(reader.read(4096), 5)
        assert b"INVALID_MESSAGE" in frames
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("prefix", [(2**31, 4), (3, 0), (10, 99)])
async def test_broken_frames_are_answered_and_end_the_connection(
    path: Path, prefix: tuple[int, int]
) -> None:
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(struct.pack("<II", *prefix))
        assert b"INVALID_MESSAGE" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
        assert await ask(path, StatusQuery()) == STATUS


async def test_who_asks_nothing_is_ended(path: Path) -> None:
    async with serving(path, query_s=0.05):
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()


async def test_another_user_is_not_answered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = os.geteuid() + 1
    monkeypatch.setattr(
        "pointsman_wire.sockets.unix_sockets.peer_of", lambda sock: Peer(1, stranger, 1)
    )
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(encode_frame(StatusQuery()))
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except OSError:  # it was hung up on before it could ask
            pass
        writer.close()
        with pytest.raises(AdminError, match="another user"):
            await ask(path, StatusQuery())


async def test_asking_where_nobody_listens_says_what_to_look_for(path: Path) -> None:
    with pytest.raises(AdminError, match="is the process running"):
        await ask(path, StatusQuery())
    listen_at(path).close()
    with pytest.raises(AdminError, match="is the process running"):
        await ask(path, StatusQuery())


async def test_a_process_that_does_not_answer_is_given_up_in_time(path: Path) -> None:
    with listen_at(path), pytest.raises(AdminError, match=r"no answer within 0\.05 s"):
        await ask(path, StatusQuery(), timeout_s=0.05)


async def test_an_answer_above_the_bound_is_cut_off_in_words(path: Path) -> None:
    huge = Status(process="x" * 2_000_000, pid=1, uptime_s=0.0)

    def answer_hugely(query: AdminQuery) -> AdminAnswer:
        return huge

    async with serving(path, answer_hugely):
        got = await ask(path, StatusQuery())
        assert isinstance(got, Error)
        assert got.error.code == "INTERNAL_ERROR"


def test_a_file_that_is_no_socket_is_not_removed(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(PathInUse, match="is no socket"):
        listen_at(path)
    assert path.read_text() == "mine"


def test_a_dead_predecessors_socket_is_replaced(path: Path) -> None:
    listen_at(path).close()
    with listen_at(path):
        assert path.stat().st_mode & 0o777 == 0o600


# ---- orders


async def test_an_order_may_take_a_while_and_holds_up_nobody(path: Path) -> None:
    may_answer = asyncio.Event()

    async def obey(order: Order) -> OrderAnswer:
        assert isinstance(order, PairOrder)
        await may_answer.wait()
        return PairingCode(code="7K3M-9QX2", node_id=order.node_id)

    server = AdminServer(listen_at(path), answer, obey=obey)
    try:
        ordered = asyncio.create_task(give_order(path, PairOrder("pc-17")))
        for _ in range(5):
            assert await ask(path, StatusQuery()) == STATUS
        assert not ordered.done()
        may_answer.set()
        assert await ordered == PairingCode(code="7K3M-9QX2", node_id="pc-17")
    finally:
        await server.close()


@pytest.mark.parametrize(
    "order", [PairOrder("pc-17"), ReloadOrder(), ConfigDiffQuery("/etc/pointsman.toml")]
)
async def test_a_process_that_takes_no_orders_says_so(path: Path, order: Order) -> None:
    async with serving(path):
        got = await give_order(path, order)
        assert isinstance(got, Error)
        assert got.error.code == "NOT_FOUND"


async def test_a_server_that_closes_gives_up_the_order_under_way(path: Path) -> None:
    begun = asyncio.Event()

    async def obey(order: Order) -> OrderAnswer:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("it was never told to go on")

    server = AdminServer(listen_at(path), answer, obey=obey)
    ordered = asyncio.create_task(give_order(path, ReloadOrder()))
    await begun.wait()
    await server.close()
    with pytest.raises(AdminError):
        await ordered
