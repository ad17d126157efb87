"""The command line of a service, and what it makes of the configuration."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pointsman_shm.auditing.operators import named_groups
from pointsman_shm.config import Config
from pointsman_shm.config_load import load_config
from pointsman_shm.paths import WORKERS_MAX, InstancePaths, resolve_paths
from pointsman_shm.tls.exposure import exposure_fault
from pointsman_wire.places import check_instance, default_runtime_dir
from pointsman_wire.sockets.bounds import is_own_host


class UsageError(Exception):
    """The options ask for what cannot be; the text says what to do."""


class ServiceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Effective settings: the command line wins over the file, the file over the defaults."""

    host: str
    port: int
    worker_count: int
    config: Config
    config_path: Path | None
    paths: InstancePaths
    is_open_beyond_loopback: bool
    accept_loss: bool = False  # go on without what is damaged of a journal
    has_console: bool = True


def parse_options(arguments: Sequence[str]) -> ServiceOptions:
    """Read the command line and the configuration.

    Raises SystemExit (2) for a wrong command line; ConfigError, PathError, PlaceError or
    UsageError with words.
    """
    given = _parser().parse_args(arguments)
    config = load_config(given.config)
    named_groups(config.admin)
    server = config.server
    directories = config.directories
    instance = given.instance or server.instance
    check_instance(instance)
    # The command line client finds the sockets by the same rule.
    runtime_dir = given.runtime_dir or directories.runtime_dir or default_runtime_dir(instance)
    paths = resolve_paths(
        instance,
        state_dir=_absolute(given.state_dir or directories.state_dir),
        runtime_dir=_absolute(runtime_dir),
        environment=os.environ,
        user_id=os.geteuid(),
    )
    host = given.host or server.host
    is_open = not is_own_host(host)
    fault = exposure_fault(
        host=host, is_loopback=not is_open, is_insecure_wished=given.insecure_plaintext
    )
    if fault:
        raise UsageError(fault)
    return ServiceOptions(
        host=host,
        port=server.port if given.port is None else given.port,
        worker_count=given.workers or server.workers,
        config=config,
        config_path=given.config,
        paths=paths,
        is_open_beyond_loopback=is_open,
        accept_loss=given.accept_loss,
        has_console=config.console.enabled and not given.no_console,
    )


def _absolute(directory: str | Path | None) -> str | None:
    return None if directory is None else str(Path(directory).absolute())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pointsman serve", allow_abbrev=False)
    parser.add_argument("--workers", type=_workers, default=None)
    parser.add_argument("--host", default=None)
    parser.add_argument("--port", type=_port, default=None)
    parser.add_argument("--instance", default=None)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--state-dir", default=None)
    parser.add_argument("--runtime-dir", default=None)
    parser.add_argument(
        "--insecure-plaintext",
        action="store_true",
        help="listen beyond this machine without TLS and tokens",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on without what is damaged of a journal",
    )
    parser.add_argument("--no-console", action="store_true", help="show no pages")
    return parser


def _workers(text: str) -> int:
    count = int(text)
    if not 1 <= count <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"{count} workers: 1 to {WORKERS_MAX} are possible")
    return count


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"port {port}: 1 to 65535, or 0 for any free one")
    return port
