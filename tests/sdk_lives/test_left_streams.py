"""Streams that nobody reads on: their jobs are stopped, and no log complains of their end."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from pointsman.client_shell import ClientShell, OpenedSession
from pointsman.session import JobStream
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_info
from pointsman_wire.session_messages import Submit


class Quiet(ClientShell):
    """A shell without a core: it notes what is to be stopped."""

    def __init__(self) -> None:
        self.cancelled: list[int] = []

    def submit(self, *_: Any) -> int:
        return 7

    def cancel(self, ticket: int) -> None:
        self.cancelled.append(ticket)


async def leave(stream: JobStream) -> None:
    async with stream:
        pass


async def read(stream: JobStream) -> None:
    await anext(stream)


async def stop_reading(stream: JobStream) -> None:
    reading = asyncio.create_task(read(stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])


@pytest.mark.parametrize("give_up", [leave, stop_reading])
async def test_what_became_of_a_stream_that_was_given_up_is_no_complaint(
    give_up: Callable[[JobStream], Any],
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
    shell = Quiet()
    stream = JobStream(shell, OpenedSession(1))
    stream.begin(Submit(request_id="r-1"), b"body")
    await give_up(stream)
    assert shell.cancelled == [7]
    stream.failed(error_info(Code.CANCELLED, "cancelled by the client"))
    await asyncio.sleep(0)
    del stream
    gc.collect()
    assert complaints == []
