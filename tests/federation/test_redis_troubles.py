"""Redis is killed, empty, or cut off for one of two services: fleets stay, and come together."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from federation.services import config_for, redis_at, until_node, until_so
from live.journal import Journal
from live.nodes import live_node
from live.service import LiveService, live_service
from redis_yard.server import RedisServer


@contextmanager
def fleet(directory: Path) -> Iterator[tuple[RedisServer, Path, LiveService, LiveService]]:
    """A Redis, the path by which the second of two services alone reaches it, and both services."""
    with redis_at(directory / "redis") as server, ExitStack() as stack:
        other_way = directory / "other-way.sock"
        os.symlink(server.socket, other_way)
        first = config_for(server, directory)
        second = config_for(server, directory, url=f"unix://{other_way}")
        services = [
            stack.enter_context(live_service(config=config, workers=1))
            for config in (first, second)
        ]
        yield server, other_way, services[0], services[1]


async def test_nodes_outlive_a_killed_redis_and_a_service_that_is_cut_off(tmp_path: Path) -> None:
    """R1, R3, R7: an empty successor is told everything; a cut makes two fleets, not none.

    At last one of the two is stopped, and says so: nobody has to wait for its presence to lapse.
    """
    journal = Journal(tmp_path / "journal")
    with fleet(tmp_path) as (server, other_way, here, there):
        async with live_node(here.address, journal, "es", node_id="n-far"):
            await until_node(there, "n-far", "ready")
            server.kill()
            await until_so(lambda told: bool(told.trouble), there, "it is missed")
            await asyncio.to_thread(server.start)
            await until_so(lambda told: not told.trouble, there, "it is heard again")
            await until_node(there, "n-far", "ready")
            await until_so(lambda told: len(told.instances) == 2, here, "both are told anew")
            os.unlink(other_way)
            assert server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") >= 1
            await until_node(there, "n-far", "offline")
            assert (await here.nodes())["n-far"].state == "ready"
            await until_so(lambda told: told.instances[1].state == "gone", here, "it has lapsed")
            os.symlink(server.socket, other_way)
            await until_node(there, "n-far", "ready")
        key = f"pointsman:{{fleet}}:instance:{here.here.instance}"
        assert server.command("HEXISTS", key, "uid") == 1
        await asyncio.to_thread(here.stop)
        assert server.command("HEXISTS", key, "uid") == 0, "its name is free"
        await until_so(lambda told: told.instances[1].state == "gone", there, "it has gone")
        words = f"instance {here.here.instance} has stopped"
        await asyncio.to_thread(there.process.wait_for, words)
