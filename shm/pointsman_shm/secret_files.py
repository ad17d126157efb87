"""Secrets from files or the environment; never from an argument, never into a log."""

import os
import resource
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pointsman_shm.config_load import ConfigError
from pointsman_shm.config_redis import RedisConfig

SECRET_BYTES_MAX = 4_096


def write_no_cores() -> None:
    """Let this process, and those it starts, leave no core file, which would hold every secret.

    The units say so as well; this is for who starts a service in a shell that lets programs.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


class RedisSecrets(NamedTuple):
    """What the section `[redis]` leaves to files and the environment; "" for what is not set."""

    password: str
    sentinel_password: str
    cluster_key: str


def read_secret(
    path: str | None, variable: str, *, what: str, environment: Mapping[str, str]
) -> str:
    """The secret of that file, else of that variable, else "".

    Before both comes a credential of systemd, which has the variable's name (LoadCredential=).  A
    file must be the owner's alone; a newline at its end is not part of the secret.  Raises
    ConfigError for a file that cannot be read, that others may read, or that is empty.
    """
    if credential := credential_file(variable, environment):
        path = str(credential)
    if path is None:
        return environment.get(variable, "")
    secret = _read(Path(path), what).rstrip(b"\r\n")
    if not secret:
        raise ConfigError(f"{what}: {path} is empty: write the secret into it")
    try:
        return secret.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: {path} is not UTF-8 text") from None


def credential_file(name: str, environment: Mapping[str, str]) -> Path | None:
    """Return the file of a credential that systemd gives this process, None without one."""
    credential = Path(environment.get("CREDENTIALS_DIRECTORY", "")) / name
    return credential if credential.is_absolute() and credential.is_file() else None


def redis_secrets(redis: RedisConfig, environment: Mapping[str, str]) -> RedisSecrets:
    """Read them.  Raises ConfigError for a file that cannot be used."""
    return RedisSecrets(
        password=read_secret(
            redis.password_file,
            "POINTSMAN_REDIS_PASSWORD",
            what="redis.password_file",
            environment=environment,
        ),
        sentinel_password=read_secret(
            redis.sentinel_password_file,
            "POINTSMAN_SENTINEL_PASSWORD",
            what="redis.sentinel_password_file",
            environment=environment,
        ),
        cluster_key=read_secret(
            redis.cluster_key_file,
            "POINTSMAN_CLUSTER_KEY",
            what="redis.cluster_key_file",
            environment=environment,
        ),
    )


def _read(path: Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise ConfigError(
                    f"{what}: others may read or write {path} (mode "
                    f"{stat.S_IMODE(status.st_mode):04o}): chmod 0400 {path}"
                )
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{what}: {path} cannot be read: {error.strerror}; check the name and its permissions"
        ) from error
    if len(content) > SECRET_BYTES_MAX:
        raise ConfigError(f"{what}: {path} is larger than {SECRET_BYTES_MAX} bytes: not a secret")
    return content
