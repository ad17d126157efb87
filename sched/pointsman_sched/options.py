"""The command line by which the supervisor or systemd starts the manager and the console."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.paths import InstancePaths
from pointsman_shm.units.process_options import (
    add_descriptors,
    check_worker_count,
    configuration_of,
    process_parser,
)
from pointsman_shm.units.under_systemd import Unit, unit_of
from pointsman_wire.sockets.tcp import join_address


class ProcessOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the process was given; descriptors of -1 were not."""

    worker_count: int
    config: Config
    config_path: Path | None = None
    paths: InstancePaths
    address: str = ""
    tls_address: str = ""
    ready_fd: int = -1
    alive_fd: int = -1
    unit: Unit = Unit()


def parse_options(module: str, arguments: Sequence[str]) -> ProcessOptions:
    """Read the command line of `python -m module`, and the configuration file that it names.

    Raises SystemExit (2) for a wrong command line, ConfigError or PathError with words.
    """
    parser = process_parser(module)
    parser.add_argument("--host", default="", help="of the public port, for status answers")
    parser.add_argument("--port", type=int, default=0, help="the public port, for status answers")
    parser.add_argument("--tls-address", default="", help="of the TLS port, for those who enrol")
    add_descriptors(parser)
    given = parser.parse_args(arguments)
    check_worker_count(parser, given.workers)
    config, paths = configuration_of(given)
    return ProcessOptions(
        worker_count=given.workers,
        config=config,
        config_path=given.config.absolute() if given.config is not None else None,
        paths=paths,
        address=join_address(given.host, given.port) if given.host else "",
        tls_address=given.tls_address,
        ready_fd=given.ready_fd,
        alive_fd=given.alive_fd,
        unit=unit_of(os.environ, os.getpid()),
    )
