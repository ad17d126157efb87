"""Where the sockets of an instance lie, so that the command line finds its processes by name.

    <runtime_dir>/admin-manager.sock      typed queries, answered by the manager
    <runtime_dir>/admin-worker-<k>.sock   the same, answered by worker k
    <runtime_dir>/admin-supervisor.sock   the same, answered by the supervisor
    <runtime_dir>/admin-console.sock      the same, answered by the console

runtime_dir is /run/pointsman/<instance> for root, else below XDG_RUNTIME_DIR or /tmp: the same
as the service's own paths (pointsman_shm.paths), which has further sockets and their bound.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

INSTANCE_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class PlaceError(Exception):
    """An instance name or a directory cannot be used; the text says why and what to do."""


def check_instance(instance: str) -> str:
    """Return the name unchanged, or raise PlaceError when it is no valid instance name."""
    if not INSTANCE_PATTERN.fullmatch(instance):
        raise PlaceError(
            f"instance name {instance!r}: use 1 to 32 of a-z, 0-9 and -, starting with a "
            "letter or digit"
        )
    return instance


def default_runtime_dir(instance: str) -> Path:
    """Return where this user's instance of that name keeps its sockets."""
    check_instance(instance)
    user = _user_number()
    if user == 0:
        return system_runtime_dir(instance)
    if user is None:
        return Path(tempfile.gettempdir()) / "pointsman" / instance
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):  # the XDG rule: a relative path is ignored
        return Path(given) / "pointsman" / instance
    # Not the temporary directory: TMPDIR may differ between the service and a shell.
    return Path("/tmp") / f"pointsman-{user}" / instance  # noqa: S108 - its owner is checked


def system_runtime_dir(instance: str) -> Path:
    """Return where the system's instance of that name keeps them, open to a group of operators."""
    return Path("/run/pointsman") / check_instance(instance)


def _user_number() -> int | None:
    """The number, not the name: a service and a shell need not agree on $USER."""
    if sys.platform == "win32":
        return None
    return os.geteuid()


def admin_socket(runtime_dir: Path, process: str) -> Path:
    """`process` is manager, supervisor, console, or worker-<k>."""
    return runtime_dir / f"admin-{process}.sock"
