"""The console behind a real service: pages on the public port, and a service without them."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from itertools import product

import aiohttp
import pytest
from supervised_service import Place, Service, is_running, place, wait_until


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place() as made:
        made.has_console = True
        yield made


@pytest.fixture(scope="module")
def service(here: Place) -> Iterator[Service]:
    with here.service("--workers", "2") as started:
        started.ready()
        yield started
        started.signal(signal.SIGTERM)
        assert started.ended() == 0
        assert "kills" not in started.text()
    assert here.sockets() == []


def port_of(service: Service) -> int:
    [line] = [line for line in service.said if line.startswith("pointsman ready")]
    assert "pages at http://127.0.0.1:" in line
    return int(line.split("127.0.0.1:")[1].split(",")[0])


async def fetch(port: int, path: str) -> tuple[int, str, dict[str, str]]:
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text(), dict(answer.headers)


async def test_x1_pages_and_metrics_are_not_told_to_a_page_whose_name_was_made_to_lead_here(
    service: Service,
) -> None:
    url = f"http://127.0.0.1:{port_of(service)}"
    timeout = aiohttp.ClientTimeout(total=20)
    headers = ({"Host": "rebound.example"}, {"X-Forwarded-For": "203.0.113.7"})
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for path, header in product(("/", "/metrics", "/languages.json"), headers):
            async with session.get(url + path, headers=header) as answer:
                assert answer.status == 403, (path, header)


async def test_the_page_and_all_that_it_needs_come_from_the_public_port(service: Service) -> None:
    port = port_of(service)
    status, page, headers = await fetch(port, "/")
    assert status == 200
    assert "<title>Pointsman</title>" in page
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    for path, kind in [
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/pointsman.js", "text/javascript"),
    ]:
        assert path.strip("/") in page or path == "/pointsman.js"
        status, text, headers = await fetch(port, path)
        assert (status, bool(text)) == (200, True)
        assert headers["Content-Type"].startswith(kind)
        assert "http://" not in text.replace("http://127.0.0.1", ""), "no other host is asked"


async def test_the_dashboards_address_without_its_slash_leads_there_by_whatever_scheme(
    service: Service,
) -> None:
    """Over TLS the console hears of no TLS: an address with a scheme would lead to another port."""
    url = f"http://127.0.0.1:{port_of(service)}/fleet"
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (307, "/fleet/")
    status, page, _ = await fetch(port_of(service), "/fleet")
    assert (status, "<title>" in page) == (200, True)


async def test_what_is_not_there_is_not_found_and_nothing_beside_the_page_is_shown(
    service: Service,
) -> None:
    port = port_of(service)
    for path in ("/no-such", "/../process.py", "/%2e%2e/process.py", "/page.js/.."):
        status, text, _ = await fetch(port, path)
        assert status in (404, 405) or "class ConsoleProcess" not in text
    assert (await fetch(port, "/%2e%2e/process.py"))[0] == 404


async def test_a_request_that_does_not_end_is_hung_up_on(here: Place) -> None:
    """N14: uvicorn would wait for ever."""
    config = here.directory / "slow.toml"
    config.write_text("[console]\nrequest_s = 0.5\n")
    config.chmod(0o600)
    with place() as other:
        other.has_console = True
        with other.service("--workers", "1", "--config", str(config)) as service:
            service.ready()
            loop = asyncio.get_running_loop()
            with socket.create_connection(("127.0.0.1", port_of(service))) as sock:
                sock.setblocking(False)
                await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                assert await asyncio.wait_for(loop.sock_recv(sock, 100), 20) == b""


def test_a_dead_console_comes_back_and_nobody_else_notices(service: Service) -> None:
    port = port_of(service)
    asyncio.run(fetch(port, "/"))
    pids = service.pids()
    os.kill(pids["console"], signal.SIGKILL)
    wait_until(lambda: service.pids().get("console", 0) not in (0, pids["console"]), "another one")
    status, _, _ = asyncio.run(fetch(port, "/"))  # waits at the hand-over until it is there
    assert status == 200
    others = {name: pid for name, pid in pids.items() if name != "console"}
    assert all(is_running(pid) for pid in others.values())
