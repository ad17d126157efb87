"""A real service that wants tokens: given out while it runs, shown by clients, revoked."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from live.service import CONFIG, LiveService, live_service
from web.web_harness import browser, hear

from pointsman import SessionError, connect

SECONDS_TO_REVOKE = 5.0


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(config=CONFIG + '[auth]\nloopback = "required"\n') as started:
        yield started


def tokens(service: LiveService, *words: str) -> dict[str, str]:
    command = [sys.executable, "-m", "pointsman", "tokens", *words, "--json"]
    command += ["--state-dir", str(service.here.state_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


async def opened(service: LiveService, token: str) -> str:
    """Open a session and close it; return what was said against it."""
    try:
        async with connect(service.address, token=token):
            return ""
    except SessionError as error:
        return error.code


async def until_opened(service: LiveService, token: str) -> None:
    until_s = monotonic() + 20
    while await opened(service, token):
        assert monotonic() < until_s, "the token is not taken"
        await asyncio.sleep(0.1)


async def test_a1_a_token_lets_in_until_it_is_revoked_and_then_live_sessions_end(
    service: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python over TCP, by argument and environment; a browser over WebSocket."""
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
    secret = made["token"].rpartition("_")[2]
    assert_nowhere(service, secret)


async def heard(web: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    async with asyncio.timeout(20):
        message, _ = await hear(web)
    return dict(message)


def assert_nowhere(service: LiveService, secret: str) -> None:
    """A6: not in files, command lines, environments, nor in what was said."""
    for path in service.here.directory.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    for pid in [service.process.process.pid, *service.process.pids().values()]:
        for what in ("cmdline", "environ"):
            assert secret.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()
    assert secret not in service.process.text()
