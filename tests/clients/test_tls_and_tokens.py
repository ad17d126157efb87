"""Node and client over TLS, with tokens: as far as the wire goes today."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from live.commands import invoke
from live.fake_service import fake_service

from pointsman import Job, Node, Unreachable, connect
from pointsman_wire.control_messages import Register
from pointsman_wire.session_messages import SessionInit


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of a server with a fresh certificate, and of a client that trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with the openssl program, which is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


async def test_node_and_client_speak_tls_and_send_their_tokens(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, trusting = contexts
    async with fake_service(server) as service:
        node = Node(service.address, services=["nmt"], token="node's", tls=trusting)

        @node.handler
        async def handle(job: Job) -> bytes:
            return job.payload

        serving = asyncio.create_task(node.run())
        async with asyncio.timeout(20):
            await node.wait_ready()
            async with connect(service.address, token="mine", tls=trusting) as session:
                big = b"x" * 500_000
                assert (await session.submit(big)).payload == big
            await node.drain()
            await serving
        assert [register.token for register in service.all(Register)] == ["node's"]
        assert [init.token for init in service.all(SessionInit)] == ["mine"]


async def test_a_server_that_cannot_prove_itself_is_not_spoken_to(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, _ = contexts
    async with fake_service(server) as service:
        stranger = ssl.create_default_context()
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            async with connect(service.address, tls=stranger, connect_timeout_s=0.5):
                raise AssertionError("it opened")
        assert not service.heard


@pytest.mark.parametrize(
    ("scheme", "options", "words"),
    [
        ("tls://", [], "add --pin sha256:..., from the ready line"),
        ("tls://", ["--pin", f"sha256:{'00' * 32}"], "compare --pin with the ready line"),
        ("", [], "if that is the TLS port: --server tls://127.0.0.1:"),
    ],
)
async def test_who_comes_to_a_tls_port_wrongly_is_told_what_was_wrong(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], scheme: str, options: list[str], words: str
) -> None:
    async with fake_service(contexts[0]) as service:
        address = f"{scheme}{service.address}"
        ended = await asyncio.to_thread(
            invoke, "submit", "--text", "a", "--server", address, *options
        )
    assert ended.exit_code == 1
    assert words in ended.stderr
    assert "is a service running" not in ended.stderr


async def test_tls_to_a_port_without_it_is_told_so() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Unreachable, match="it speaks no TLS: take the port that does"):
            async with connect(address, connect_timeout_s=0.5):
                raise AssertionError("it opened")
