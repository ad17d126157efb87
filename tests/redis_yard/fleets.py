"""Several servers of a test's own: a Cluster of three primaries, a primary under Sentinels, TLS."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from redis_yard.server import RedisServer, running

SLOTS = 16_384
WAIT_S = 30.0


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look every 50 ms, for a bounded time."""
    deadline_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {WAIT_S} s: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def cluster(program: str, directory: Path, options: Sequence[str]) -> Iterator[list[RedisServer]]:
    """Three primaries that share all slots."""
    own = ["cluster-enabled yes", "cluster-node-timeout 2000", *options]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(program, directory / f"{n}", own)) for n in range(3)]
        for number, server in enumerate(servers):
            slots = range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
            assert server.command("CLUSTER", "ADDSLOTS", *slots) == b"OK"
            assert server.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1) == b"OK"
        for server in servers[1:]:
            assert server.command("CLUSTER", "MEET", "127.0.0.1", servers[0].port) == b"OK"
        wait_until(lambda: all(is_whole(server) for server in servers), "the Cluster is whole")
        yield servers


def is_whole(server: RedisServer) -> bool:
    """Whether this server sees all three, and all slots served."""
    info = server.command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


class Watched(NamedTuple):
    """A primary, its replica, and the Sentinel that watches both."""

    primary: RedisServer
    replica: RedisServer
    sentinel: RedisServer


@contextlib.contextmanager
def watched(
    program: str, directory: Path, options: Sequence[str], *, sentinel_options: Sequence[str] = ()
) -> Iterator[Watched]:
    """A primary with one replica, and a Sentinel that may promote it alone."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(running(program, directory / "primary", options))
        follows = [*options, f"replicaof 127.0.0.1 {primary.port}"]
        replica = stack.enter_context(running(program, directory / "replica", follows))
        wait_until(lambda: b"master_link_status:up" in replica.command("INFO"), "replica follows")
        monitor = [
            f"sentinel monitor pointsman 127.0.0.1 {primary.port} 1",
            "sentinel down-after-milliseconds pointsman 500",
            "sentinel failover-timeout pointsman 3000",
            *sentinel_options,
        ]
        sentinel = stack.enter_context(
            running(program, directory / "sentinel", monitor, "--sentinel")
        )
        wait_until(lambda: b"slaves=1" in sentinel.command("INFO"), "the Sentinel knows both")
        yield Watched(primary, replica, sentinel)


class Certificates(NamedTuple):
    """Files that openssl made: who signs, and the server's own."""

    authority: Path
    certificate: Path
    key: Path


def certificates(directory: Path) -> Certificates:
    """An authority of a test's own, and a certificate for 127.0.0.1 by it."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key = directory / "ca.pem", directory / "ca.key"
    made = Certificates(authority, directory / "server.pem", directory / "server.key")
    request, extension = directory / "server.csr", directory / "server.ext"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    own = ["-keyout", str(authority_key), "-out", str(authority), "-days", "2"]
    openssl("req", "-x509", *curve, *own, "-subj", "/CN=Test authority")
    openssl("req", *curve, "-keyout", str(made.key), "-out", str(request), "-subj", "/CN=redis")
    signed_by = ["-CA", str(authority), "-CAkey", str(authority_key), "-CAcreateserial"]
    files = ["-in", str(request), "-out", str(made.certificate), "-extfile", str(extension)]
    openssl("x509", "-req", *files, *signed_by, "-days", "2")
    return made


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
