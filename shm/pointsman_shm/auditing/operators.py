"""Which groups of people may use the admin sockets of a service.

named in [admin]                                  those groups
none named, runtime directory set-group-id        its group may give orders: root gave it so
none named, any other runtime directory           nobody but root and the service's user
"""

import grp
import stat
from pathlib import Path

from pointsman_shm.auditing.config_admin import AdminConfig
from pointsman_shm.config_load import ConfigError

GIVEN = stat.S_ISGID | stat.S_IRGRP | stat.S_IXGRP


def group_numbers(config: AdminConfig, runtime_dir: Path) -> tuple[int | None, int | None]:
    """Return (readers, operators), None for no such group; raises ConfigError for an unknown one.

    Without groups in the configuration the runtime directory, which must be there, decides.
    """
    readers, operators = named_groups(config)
    if readers is None and operators is None:
        return None, given_to(runtime_dir)
    return readers, operators


def named_groups(config: AdminConfig) -> tuple[int | None, int | None]:
    """Return the numbers of the groups that are named; raises ConfigError for an unknown one."""
    return (
        _number(config.read_group, "admin.read_group"),
        _number(config.operator_group, "admin.operator_group"),
    )


def given_to(directory: Path) -> int | None:
    """Return the group to which somebody gave a directory on purpose, None when nobody did."""
    status = directory.stat()
    return status.st_gid if status.st_mode & GIVEN == GIVEN else None


def _number(name: str, knob: str) -> int | None:
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        words = f"{knob}: there is no group {name!r}: make it (groupadd --system {name})"
        raise ConfigError(words) from None
