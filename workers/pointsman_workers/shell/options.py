"""The command line by which the supervisor or systemd starts a worker."""

import argparse
import os
from collections.abc import Sequence

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.paths import WORKERS_MAX, InstancePaths
from pointsman_shm.units.process_options import (
    add_descriptors,
    configuration_of,
    process_parser,
)
from pointsman_shm.units.under_systemd import Listeners, Unit, handed_listeners, unit_of
from pointsman_workers.shell.settling_in import settle_garbage_collector


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who this worker is and what it was given; descriptors of -1 were not given."""

    index: int
    worker_count: int
    config: Config
    paths: InstancePaths
    listen_fd: int
    tls_fd: int = -1  # the TLS port, where there is one
    ready_fd: int = -1
    alive_fd: int = -1
    accept_loss: bool = False
    unit: Unit = Unit()
    has_console: bool = False  # a process that takes requests of HTTP


def parse_options(arguments: Sequence[str]) -> WorkerOptions:
    """Read the command line and the configuration file that it names.

    Raises SystemExit (2) for a wrong command line; ConfigError, PathError, UnitError with words.
    """
    parser = process_parser("pointsman_workers")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--index", type=int, help="0 .. workers - 1")
    which.add_argument("--spare-fd", type=int, help="wait there to be told the index")
    parser.add_argument("--host", default=None, help="taken from the listening socket")
    parser.add_argument("--port", type=int, default=None, help="taken from the listening socket")
    parser.add_argument("--listen-fd", type=int, default=-1, help="not given: that of systemd")
    parser.add_argument("--tls-fd", type=int, default=-1, help="the TLS port, where there is one")
    add_descriptors(parser)
    parser.add_argument("--accept-loss", action="store_true", help="of a damaged journal")
    parser.add_argument("--console", action="store_true", help="one runs: hand it what is HTTP")
    given = parser.parse_args(arguments)
    index = read_index(given) if given.index is None else given.index
    if not 0 <= index < given.workers <= WORKERS_MAX:
        parser.error(f"worker {index} of {given.workers}: at most {WORKERS_MAX}, counted from 0")
    ports = Listeners(public=given.listen_fd, tls=given.tls_fd)
    if ports.public < 0:
        ports = handed_listeners(os.environ, os.getpid())
    config, paths = configuration_of(given)
    return WorkerOptions(
        index=index,
        worker_count=given.workers,
        config=config,
        paths=paths,
        listen_fd=ports.public,
        tls_fd=ports.tls if config.tls.enabled else -1,
        ready_fd=given.ready_fd,
        alive_fd=given.alive_fd,
        accept_loss=given.accept_loss,
        has_console=given.console,
        unit=unit_of(os.environ, os.getpid()),
    )


def read_index(given: argparse.Namespace) -> int:
    """Wait until the supervisor says which worker this is.  Raises SystemExit (0) when it leaves.

    Everything that changes while the service runs is read after that; the program has been read.
    """
    settle_garbage_collector()
    if given.ready_fd >= 0:
        os.write(given.ready_fd, b"at hand\n")
    with open(given.spare_fd, encoding="ascii") as orders:
        said = orders.readline()
    if not said:
        raise SystemExit(0)
    return int(said)
