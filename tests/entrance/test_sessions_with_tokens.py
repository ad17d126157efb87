"""A real service that wants tokens: given out while it runs, shown by clients, revoked."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any

import aiohttp
import pytest
from entrance.searching import cores_wanted, places_with, processes_with
from live.service import CONFIG, LiveService, live_service
from web.web_harness import browser, hear

from pointsman import SessionError, connect
from pointsman_wire.shards import shard_of

SECONDS_TO_REVOKE = 5.0
WORKERS = 2


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    config = CONFIG + '[auth]\nloopback = "required"\n'
    with cores_wanted(), live_service(config=config, workers=WORKERS) as started:
        yield started


def tokens(service: LiveService, *words: str) -> dict[str, str]:
    command = [sys.executable, "-m", "pointsman", "tokens", *words, "--json"]
    command += ["--state-dir", str(service.here.state_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


async def opened(service: LiveService, token: str, session_id: str = "") -> str:
    """Open a session and close it; return what was said against it."""
    try:
        async with connect(service.address, token=token, session_id=session_id):
            return ""
    except SessionError as error:
        return error.code


async def until_opened(service: LiveService, token: str) -> None:
    """Every worker looks at the file by itself: open a session at each of the two."""
    until_s = monotonic() + 20
    left = {shard_of(name, WORKERS): name for name in map(str, range(100))}
    while left:
        assert monotonic() < until_s, "the token is not taken"
        left = {shard: name for shard, name in left.items() if await opened(service, token, name)}
        await asyncio.sleep(0.1)


async def test_a1_a_token_lets_in_until_it_is_revoked_and_then_live_sessions_end(
    service: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python over TCP, by argument and environment; a browser over WebSocket."""
    assert "; open on loopback, tokens needed" in service.process.text()
    assert await opened(service, "") == "UNAUTHORIZED"
    assert await opened(service, "pmt_00000000_guess") == "UNAUTHORIZED"
    made = tokens(service, "add", "--tenant", "acme")
    await until_opened(service, made["token"])
    monkeypatch.setenv("POINTSMAN_TOKEN", made["token"])
    await until_opened(service, "")
    init = {"type": "session_init", "token": made["token"]}
    async with browser(f"http://{service.address}/session") as web:
        await web.send_json(init)
        message, _ = await hear(web)
        assert message["type"] == "session_init_ack"
        tokens(service, "revoke", made["id"])
        revoked_at_s = monotonic()
        told = [await heard(web), await heard(web)]
        took_s = monotonic() - revoked_at_s
    assert told[0]["error"]["code"] == "UNAUTHORIZED"
    assert told[1]["type"] == "session_closed"
    assert took_s < SECONDS_TO_REVOKE + 15, "five seconds, and what a busy machine adds"
    until_s = monotonic() + 20
    while await opened(service, made["token"]) != "UNAUTHORIZED":
        assert monotonic() < until_s
    assert_nowhere(service, [made["token"].split("_", 2)[2]])


async def heard(web: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    async with asyncio.timeout(20):
        message, _ = await hear(web)
    return dict(message)


def assert_nowhere(service: LiveService, secrets: list[str]) -> None:
    """A6: not in files, memory that is shared, pages, processes, nor in what was said."""
    here = service.here
    assert not places_with(
        secrets, instance=here.instance, folders=[here.directory], address=service.address
    )
    assert not processes_with(
        secrets, [service.process.process.pid, *service.process.pids().values()]
    )
    said = service.process.text_so_far()
    assert "auth.failed" in said, "who came with a wrong token is told of"
    assert not any(secret in said for secret in secrets)
