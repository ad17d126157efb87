"""All nodes come back over TLS: after the manager is killed, and after the whole service is.

    PYTHONPATH=bench:tests .venv/bin/python -m hosts.tls_storm [--quick] [--json FILE]

Nodes are the product's own, each with a certificate of its own, in the bench's process.  They keep
their lanes when the manager alone is new, so one handshake each brings them back; with workers that
are new it is one for the control connection and one for each lane.  Beside the time, which on a
busy machine says little, stands what does: handshakes, and the processor time that the workers
have used for each, relaying and registering included.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from _load.orders import cpu_of
from _shared.report import Options, Row, report, run
from live.commands import tls_place

from pointsman import Job, Node
from pointsman.testing import RunningService, running_service
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.secure.certificates import (
    Issued,
    Life,
    make_authority,
    make_request,
    sign_request,
)
from pointsman_wire.secure.grants import Grant
from pointsman_wire.sockets.admin import AdminError, ask

WORKERS = ("worker-0", "worker-1")
NODES, NODES_QUICK = 200, 60
BACK_S = 180.0
LOOK_S = 0.05
CONFIG = """
[nodes]
resource_threshold_percent = 0
[tls]
enabled = true
host = "127.0.0.1"
port = 0
authority = "{folder}/authority.pem"
authority_key = "{folder}/authority.key"
"""


async def status_of(service: RunningService, process: str) -> Status:
    """Ask a process, which may be about to be restarted."""
    while True:
        try:
            answer = await ask(admin_socket(service.runtime_dir, process), StatusQuery())
        except AdminError:
            await asyncio.sleep(LOOK_S)
            continue
        assert isinstance(answer, Status)
        return answer


async def echo(job: Job) -> bytes:
    """Answer with what came."""
    return job.payload


class Crowd:
    """All nodes, each with its certificate in a directory of its own."""

    def __init__(self, service: RunningService, folder: Path, authority: Issued, count: int):
        place, pin = tls_place("\n".join(service.output))
        key, request = make_request(None, "a node of the bench")
        life = Life(int(time.time()) - 60, 86_400)
        self.nodes = []
        for number in range(count):
            name = f"storm-{number}"
            certificate = sign_request(authority, request, Grant(name=name), life)
            assert certificate is not None
            path = folder / name / "tls" / "node.pem"
            path.parent.mkdir(parents=True)
            path.write_bytes(key + certificate)
            path.chmod(0o600)
            node = Node(
                f"tls://{place}",
                pin=pin,
                node_id=name,
                state_dir=folder / name,
                services=["nmt"],
                nmt=[("en", "es")],
                report_load=False,
            )
            node.handler(echo)
            self.nodes.append(node)
        self.running = [asyncio.ensure_future(node.run()) for node in self.nodes]

    async def all_are(self, *, ready: bool) -> float:
        """Wait until all are ready, or none is; return when."""
        async with asyncio.timeout(BACK_S):
            while True:
                if all((node.state == "ready") is ready for node in self.nodes):
                    return time.monotonic()
                await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)


async def storm(service: RunningService, crowd: Crowd, *victims: str) -> Row:
    """Kill these, and wait until every node is ready again."""
    before = {name: await status_of(service, name) for name in ("manager", *WORKERS)}
    cpu_before = cpu_of({name: before[name].pid for name in WORKERS})
    for name in victims:
        os.kill(before[name].pid, signal.SIGKILL)
    began_s = time.monotonic()
    await crowd.all_are(ready=False)
    back_s = await crowd.all_are(ready=True) - began_s
    after = {name: await status_of(service, name) for name in WORKERS}
    cpu_after = cpu_of({name: after[name].pid for name in WORKERS})
    handshakes, cpu_ns = 0, 0
    for name in WORKERS:
        is_new = after[name].pid != before[name].pid
        handshakes += after[name].counters["tls_handshakes"]
        handshakes -= 0 if is_new else before[name].counters["tls_handshakes"]
        cpu_ns += cpu_after[name] - (0 if is_new else cpu_before[name])
    return {
        "killed": "+".join(victims),
        "nodes": len(crowd.nodes),
        "all_back_s": round(back_s, 1),
        "handshakes": handshakes,
        "handshakes_per_s": round(handshakes / back_s, 1),
        "worker_cpu_us_per_handshake": round(cpu_ns / 1e3 / max(1, handshakes), 1),
    }


async def measure(options: Options) -> list[Row]:
    """Both storms, at one service."""
    with TemporaryDirectory(prefix="pm-storm-") as name:
        folder = Path(name)
        authority = make_authority("bench", int(time.time()) - 60)
        (folder / "authority.pem").write_bytes(authority.certificate)
        for path, text in (
            (folder / "authority.key", authority.key),
            (folder / "pointsman.toml", CONFIG.format(folder=folder).encode()),
        ):
            path.write_bytes(text)
            path.chmod(0o600)
        with running_service(workers=len(WORKERS), config=folder / "pointsman.toml") as service:
            crowd = Crowd(service, folder, authority, NODES_QUICK if options.is_quick else NODES)
            try:
                await crowd.all_are(ready=True)
                rows = [await storm(service, crowd, "manager")]
                rows.append(await storm(service, crowd, "manager", *WORKERS))
            finally:
                await crowd.close()
    return rows


def main(options: Options) -> None:
    """Measure, and tell."""
    report("tls_storm", uvloop.run(measure(options)), options)


if __name__ == "__main__":
    run(str(__doc__).partition("\n")[0], main)
