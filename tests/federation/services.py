"""Several services of real processes that share one Redis."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from live.service import CONFIG, PATIENCE_S, LiveService, live_service
from redis_yard.programs import needed, redis_program
from redis_yard.rights import PASSWORD, USER, acl_line
from redis_yard.server import RedisServer, running

from pointsman_wire.queries.fleet_messages import InstanceLine, Instances, InstancesQuery

KEY = "a key of a cluster of tests"


def config_for(server: RedisServer, directory: Path, more: str = "", url: str = "") -> str:
    """The configuration of an instance in the fleet of this Redis."""
    secrets = {"password": PASSWORD, "cluster-key": KEY}
    for name, secret in secrets.items():
        path = directory / name
        path.write_text(secret)
        path.chmod(0o600)
    return (
        CONFIG
        + f"""
[redis]
url = "{url or f"unix://{server.socket}"}"
username = "{USER}"
password_file = "{directory}/password"
cluster_key_file = "{directory}/cluster-key"
presence_s = 3.0
policy = "local"
"""
        + more
    )


@contextmanager
def redis_at(directory: Path) -> Iterator[RedisServer]:
    """A Redis server of the test's own."""
    with running(needed(redis_program()), directory, [acl_line()]) as server:
        yield server


@contextmanager
def two_services(
    directory: Path, more: str = "", workers: int = 1
) -> Iterator[tuple[LiveService, LiveService]]:
    """Two instances, which know each other."""
    with redis_at(directory / "redis") as server, ExitStack() as stack:
        config = config_for(server, directory, more)
        first, second = [
            stack.enter_context(live_service(config=config, workers=workers)) for _ in range(2)
        ]
        yield first, second


async def listing(service: LiveService) -> Instances:
    """The instances as a service knows them."""
    told = await service.ask("manager", InstancesQuery())
    assert isinstance(told, Instances), told
    return told


async def other_of(service: LiveService) -> InstanceLine | None:
    """The one other instance, if it is known."""
    lines = (await listing(service)).instances
    return lines[1] if len(lines) > 1 else None


async def until_so(is_so: Callable[[Instances], bool], service: LiveService, what: str) -> None:
    """Ask again and again until the listing is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so(told := await listing(service)):
            assert told is not None, what
            await asyncio.sleep(0.05)


async def until_node(service: LiveService, node_id: str, state: str) -> None:
    """Wait until the manager and all workers of a service show a node in this state."""
    until_s = monotonic() + PATIENCE_S
    for process in ("manager", *(f"worker-{n}" for n in range(service.worker_count))):
        while (found := await _state(service, process, node_id)) != state:
            assert monotonic() < until_s, f"{process} shows {node_id} {found}, not {state}"
            await asyncio.sleep(0.05)


async def _state(service: LiveService, process: str, node_id: str) -> str:
    line = (await service.nodes(process)).get(node_id)
    return line.state if line is not None else ""
