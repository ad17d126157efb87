"""Reaches Redis for a worker; read only where there is one, because redis-py takes long to read."""

from collections.abc import Callable

from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.connection import NotReached
from pointsman_wire.coordination.inbox_requests import Place
from pointsman_wire.coordination.reach.inbox import InboxReader
from pointsman_wire.coordination.reach.server import Unfit
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_workers.shell.sharing.unfit import RedisUnfit

AWAY = NotReached  # what reading an inbox raises when Redis does not do its part


def inbox_reader(settings: RedisSettings, instance: str, shard: int) -> InboxReader:
    """Who reads the inbox of a worker, on a connection of its own."""
    return InboxReader(settings, Place(instance, shard))


async def reach_redis(settings: RedisSettings, say: Callable[[str], None]) -> RedisBacking:
    """Meet Redis.  Raises RedisUnfit; that it is away is borne, and said."""
    backing = RedisBacking(settings)
    try:
        await backing.open()
    except Unfit as error:
        await backing.close()
        raise RedisUnfit(str(error)) from error
    except NotReached as error:
        say(f"{error}; new jobs are handled by policy {settings.policy!r} until it answers")
    return backing
