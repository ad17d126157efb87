"""Servers for the tests of this folder, one of each kind per process, and the backings on them."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from coordination.asking import Asked, AskedModel, AskedRedis, settings_for
from redis_yard.programs import needed, redis_program, valkey_program
from redis_yard.rights import acl_line
from redis_yard.server import RedisServer, running

from pointsman_wire.coordination.backing import RedisBacking


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(needed(redis_program()), tmp_path_factory.mktemp("redis"), [acl_line()]) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    program = needed(valkey_program())
    with running(program, tmp_path_factory.mktemp("valkey"), [acl_line()]) as server:
        yield server


@pytest_asyncio.fixture(params=["model", "redis", "valkey"])
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[Asked]:
    """Each backing in turn, empty."""
    if request.param == "model":
        yield AskedModel()
        return
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.command("FLUSHALL")
    backing = RedisBacking(settings_for(server))
    await backing.open()
    try:
        yield AskedRedis(server, backing)
    finally:
        await backing.close()


@pytest_asyncio.fixture
async def asked_redis(redis_server: RedisServer) -> AsyncIterator[AskedRedis]:
    """A real server, empty."""
    redis_server.command("FLUSHALL")
    backing = RedisBacking(settings_for(redis_server))
    await backing.open()
    try:
        yield AskedRedis(redis_server, backing)
    finally:
        await backing.close()
