"""The command line by which the supervisor or systemd starts the manager."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.config_load import configured_paths, load_config
from pointsman_shm.paths import InstancePaths
from pointsman_shm.units.under_systemd import Unit, unit_of


class ManagerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What this manager was given; descriptors of -1 were not."""

    worker_count: int
    config: Config
    config_path: Path | None = None
    paths: InstancePaths
    address: str = ""
    tls_address: str = ""
    ready_fd: int = -1
    alive_fd: int = -1
    unit: Unit = Unit()


def parse_options(arguments: Sequence[str]) -> ManagerOptions:
    """Read the command line and the configuration file that it names.

    Raises SystemExit (2) for a wrong command line, ConfigError or PathError with words.
    """
    parser = argparse.ArgumentParser(prog="python -m pointsman_sched.manager", allow_abbrev=False)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--instance", default=None)
    parser.add_argument("--state-dir", default=None)
    parser.add_argument("--runtime-dir", default=None)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--host", default="", help="of the public port, for status answers")
    parser.add_argument("--port", type=int, default=0, help="the public port, for status answers")
    parser.add_argument("--tls-address", default="", help="of the TLS port, for those who enrol")
    parser.add_argument("--ready-fd", type=int, default=-1, help="gets 'ready' and a newline")
    parser.add_argument("--alive-fd", type=int, default=-1, help="its end means: stop")
    given = parser.parse_args(arguments)
    if not 1 <= given.workers <= 64:
        parser.error(f"{given.workers} workers: 1 to 64 are possible")
    config = load_config(given.config)
    paths = configured_paths(
        config,
        instance=given.instance,
        state_dir=given.state_dir,
        runtime_dir=given.runtime_dir,
        environment=os.environ,
    )
    return ManagerOptions(
        worker_count=given.workers,
        config=config,
        config_path=given.config.absolute() if given.config is not None else None,
        paths=paths,
        address=f"{given.host}:{given.port}" if given.host else "",
        tls_address=given.tls_address,
        ready_fd=given.ready_fd,
        alive_fd=given.alive_fd,
        unit=unit_of(os.environ, os.getpid()),
    )
