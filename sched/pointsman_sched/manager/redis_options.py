"""What the manager makes of the section `[redis]`, and why it may not start with it."""

from collections.abc import Mapping

from pointsman_shm.config_redis import RedisConfig
from pointsman_shm.secret_files import redis_secrets
from pointsman_wire.coordination.settings import RedisSettings, Secret, redis_settings


class FleetUnfit(Exception):
    """This instance must not join the fleet as it is; the words say what to do."""


def redis_of(redis: RedisConfig, environment: Mapping[str, str]) -> RedisSettings | None:
    """Return the settings with their secrets, None when there is no Redis.

    Raises ConfigError for a secret file that cannot be used.
    """
    if not redis.is_on:
        return None
    secrets = redis_secrets(redis, environment)
    section = {name: getattr(redis, name) for name in redis.__struct_fields__}
    return redis_settings(
        section,
        password=Secret(secrets.password),
        sentinel_password=Secret(secrets.sentinel_password),
        cluster_key=Secret(secrets.cluster_key),
    )
