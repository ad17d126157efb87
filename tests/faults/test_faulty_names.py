"""N16: names that nobody resolves: a node and a client try again until somebody does."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from faults.yard import CONFIG
from live.journal import Journal
from live.nodes import live_node
from live.service import live_service, until

from pointsman import connect

NAME = "service.invalid"


class Names:
    """A resolver that is dead until it is mended; counts who asked for our name."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_dead = True
        self._real = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(
        self, loop: asyncio.BaseEventLoop, host: Any, port: Any, **other: Any
    ) -> Any:
        if host != NAME:
            return await self._real(loop, host, port, **other)
        self.asked += 1
        if self.is_dead:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await self._real(loop, "127.0.0.1", port, **other)


async def test_n16_a_name_that_does_not_resolve_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()

    async def resolved(loop: Any, host: Any, port: Any, **other: Any) -> Any:
        return await names.getaddrinfo(loop, host, port, **other)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolved)
    with live_service(config=CONFIG) as service:
        address = f"{NAME}:{service.port}"

        async def mend() -> None:
            await until(lambda: names.asked >= 2, "both try again")
            names.is_dead = False

        mending = asyncio.create_task(mend())
        opening = connect(address, src="en", tgt="dn", connect_timeout_s=20.0)
        async with live_node(address, Journal(tmp_path / "j"), "dn"), opening as session:
            result = await session.submit("abc", services=["nmt"])
        await mending
    assert result.text == "cba"
    assert 3 <= names.asked < 60, "with a pause between the tries"
