"""A whole service with a TLS port: enrol, serve, renew, revoke, as an operator does it.

It runs under the filter of system calls that its units have, so all of this shows H2 as well.
"""

import asyncio
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import psutil
import pytest
from entrance.searching import places_with, processes_with
from live.commands import tls_place
from secure.system_calls import IS_POSSIBLE, UNIT, allowed, filtered_python

from pointsman import Job, Node, NodeRefused, SessionError, Unreachable, connect
from pointsman.secure.wall_clock import wall_clock_s
from pointsman.testing import RunningService, running_service
from pointsman_wire.secure.contexts import trusting_context
from pointsman_wire.shards import shard_of

CERTIFICATE_S = 6
WORKERS = 2
CONFIG = f"""
[nodes]
resource_threshold_percent = 0
[tls]
enabled = true
host = "127.0.0.1"
port = 0
handshakes_per_s_max = 50
node_certificate_s = {CERTIFICATE_S}
"""


class Door:
    """Where the TLS port is, and how an operator orders things."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.place, self.pin = tls_place("\n".join(service.output))
        self.address = f"tls://{self.place}"

    def order(self, *words: str, at: str = "runtime") -> dict[str, object]:
        folder = self.service.runtime_dir if at == "runtime" else self.service.state_dir
        place = ["--instance", self.service.instance, f"--{at}-dir", str(folder), "--json"]
        ended = subprocess.run(
            [sys.executable, "-m", "pointsman", *words, *place],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        answer: dict[str, object] = json.loads(ended.stdout)
        return answer

    async def introduce(self, name: str, *options: str) -> str:
        answer = await asyncio.to_thread(self.order, "enrol", "--name", name, *options)
        assert answer["pin"] == self.pin
        assert answer["address"] == self.place
        return str(answer["secret"])

    async def token(self) -> str:
        """A client's token, once the workers know it."""
        made = await asyncio.to_thread(self.order, "tokens", "add", "--tenant", "acme", at="state")
        token = str(made["token"])
        known: set[int] = set()
        number = 0
        while len(known) < WORKERS:  # each looks by itself
            number += 1
            try:
                async with connect(
                    self.address, pin=self.pin, token=token, session_id=f"try-{number}"
                ):
                    known.add(shard_of(f"try-{number}", WORKERS))
            except SessionError:
                await asyncio.sleep(0.3)
        return token

    def node(self, name: str, directory: Path, **options: str) -> Node:
        made = Node(
            self.address,
            services=["nmt"],
            pin=self.pin,
            node_id=name,
            state_dir=directory,
            **options,  # type: ignore[arg-type]
        )

        @made.handler
        async def handle(job: Job) -> bytes:
            return job.payload[::-1]

        return made


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    config = tmp_path_factory.mktemp("tls") / "pointsman.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    before = threading.active_count()
    with pytest.MonkeyPatch.context() as patched:
        if IS_POSSIBLE:
            patched.setattr(sys, "executable", filtered_python(config.parent))
        running = running_service(workers=WORKERS, config=config)
        service = running.__enter__()
    try:
        yield Door(service)
    finally:
        running.__exit__(None, None, None)
    assert threading.active_count() <= before + 1


@pytest.mark.skipif(not IS_POSSIBLE, reason="no libseccomp or no systemd-analyze here")
def test_h2_every_process_of_the_service_is_left_with_the_calls_of_its_unit(door: Door) -> None:
    """And what the tests of this module do with the service, it does under that filter."""
    first = door.service.process.pid
    everybody = [psutil.Process(first), *psutil.Process(first).children(recursive=True)]
    assert len(everybody) >= 2 + WORKERS
    for process in everybody:
        told = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Seccomp:\t2$", told, re.MULTILINE), process
        assert re.search(r"^NoNewPrivs:\t1$", told, re.MULTILINE), process
    forbidden = {"ptrace", "mount", "bpf", "init_module", "setuid", "reboot", "kexec_load"}
    assert not allowed(UNIT.read_text()) & forbidden


async def test_a_node_enrols_serves_renews_and_is_gone_when_revoked(
    door: Door, tmp_path: Path
) -> None:
    """E4, E5, E6: over one TLS port, sessions of both workers, and to the end of a certificate."""
    secret = await door.introduce("alpha", "--pool", "east")
    node = door.node("alpha", tmp_path, enrol=secret, pool="east")
    serving = asyncio.create_task(node.run())
    async with asyncio.timeout(60):
        await node.wait_ready()
        until_s = wall_clock_s() + CERTIFICATE_S
        certificate = tmp_path / "tls" / "node.pem"
        assert certificate.stat().st_mode & 0o777 == 0o600
        first = certificate.read_bytes()
        token = await door.token()
        for number in range(4):  # of both workers, so also through the other's relay
            async with connect(
                door.address, pin=door.pin, token=token, session_id=f"session-{number}"
            ) as session:
                done = await session.submit(
                    b"abc" * 100_000, services=["nmt"], labels_required={"pool": "east"}
                )
                assert done.payload == b"cba" * 100_000
                assert done.node_id == "alpha"
        async with connect(f"wss://{door.place}", pin=door.pin, token=token) as session:
            assert (await session.submit(b"abc", services=["nmt"])).payload == b"cba"
        while wall_clock_s() < until_s + 1 or certificate.read_bytes() == first:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert node.state == "ready"
        async with connect(door.address, pin=door.pin, token=token) as session:
            assert (await session.submit(b"abc", services=["nmt"])).payload == b"cba"
            revoked_at_s = monotonic()
            answer = await asyncio.to_thread(door.order, "revoke", "alpha")
            assert answer["was_here"]
            with pytest.raises(NodeRefused, match="revoked"):
                await serving
            assert monotonic() - revoked_at_s < 5 + 20  # 5 s, and what a busy machine adds
        with pytest.raises(NodeRefused, match="revoked"):
            await door.node("alpha", tmp_path).run()


async def test_e1_no_introduction_no_registration_and_none_is_good_twice(
    door: Door, tmp_path: Path
) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(NodeRefused, match="enrol"):
            await door.node("beta", tmp_path / "none").run()
        secret = await door.introduce("beta", "--code")
        assert len(secret) == 8
        with pytest.raises(NodeRefused, match="introduction"):
            await door.node("gamma", tmp_path / "wrong", enrol=secret).run()
        node = door.node("beta", tmp_path / "right", enrol=secret)
        serving = asyncio.create_task(node.run())
        await node.wait_ready()
        with pytest.raises(NodeRefused, match="introduction"):
            await door.node("beta", tmp_path / "again", enrol=secret).run()
        await node.drain()
        await serving


async def test_a6_no_secret_lies_where_others_could_come_upon_it(
    door: Door, tmp_path: Path
) -> None:
    """An introduction that was used, one that was not, and a client's token that was shown."""
    used = await door.introduce("delta")
    secrets = [used, await door.introduce("epsilon")]
    node = door.node("delta", tmp_path, enrol=used)
    serving = asyncio.create_task(node.run())
    async with asyncio.timeout(60):
        await node.wait_ready()
        token = await door.token()
        async with connect(door.address, pin=door.pin, token=token) as session:
            assert (await session.submit(b"abc", services=["nmt"])).payload == b"cba"
            secrets.append(token.split("_", 2)[2])
            service = door.service
            held = await asyncio.to_thread(
                places_with,
                secrets,
                instance=service.instance,
                folders=[service.state_dir, service.runtime_dir, tmp_path],
                address=service.address,
            )
        await node.drain()
        await serving
    first = psutil.Process(service.process.pid)
    pids = [process.pid for process in (first, *first.children(recursive=True))]
    assert held + processes_with(secrets, pids) == []
    assert not [line for line in service.output if any(secret in line for secret in secrets)]


async def test_x1_over_tls_nobody_comes_without_a_token(door: Door) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(SessionError, match="token"):
            async with connect(door.address, pin=door.pin):
                raise AssertionError("it opened")
        async with connect(door.service.address) as session:  # this machine's own port
            assert session.session_id


async def test_a_client_that_knows_another_key_does_not_get_in(door: Door) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            async with connect(door.address, pin=f"sha256:{'00' * 32}", connect_timeout_s=2.0):
                raise AssertionError("it opened")


async def test_pages_come_over_https_and_over_tls_nobody_is_of_this_machine(door: Door) -> None:
    """X1: a forwarded-for header is refused on loopback, where a proxy would make all local."""
    host, port = door.place.rsplit(":", 1)
    context = trusting_context(pin=door.pin)
    assert (await asked(host, int(port), "/", tls=context)).startswith("HTTP/1.1 404")
    plain_host, plain_port = door.service.address.rsplit(":", 1)
    header = "X-Forwarded-For: 10.1.1.1\r\n"
    answer = await asked(plain_host, int(plain_port), "/session", header)
    assert answer.startswith("HTTP/1.1 403")
    answer = await asked(host, int(port), "/session", header, tls=context)
    assert answer.startswith("HTTP/1.1 101")


async def asked(
    host: str, port: int, path: str, header: str = "", *, tls: ssl.SSLContext | None = None
) -> str:
    """Return the head of the answer to a request for a WebSocket."""
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{upgrade}{key}{header}\r\n"
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()  # no good-bye of TLS, whose answer this loop may not live to see
        return head.decode()


async def test_x1_a_proxys_preface_is_no_way_in(door: Door) -> None:
    host, port = door.service.address.rsplit(":", 1)
    prefaces = (
        b"PROXY TCP4 10.1.1.1 127.0.0.1 4000 7400\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    )
    for preface in prefaces:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(preface)
            assert b"Pointsman" in await reader.read(-1)
            writer.close()
