"""What every process of a service is told on its command line, and what follows from it.

The supervisor and the units of systemd start manager, workers, console and the division of
journals with these same words; each adds those of its own.
"""

import argparse
import os
from pathlib import Path

from msgspec.structs import replace

from pointsman_shm.config import Config
from pointsman_shm.config_load import configured_paths, load_config
from pointsman_shm.memory.header import HEADER_SIZE
from pointsman_shm.memory.rows import made_for
from pointsman_shm.memory.segment import peek_segment
from pointsman_shm.paths import WORKERS_MAX, InstancePaths


def process_parser(module: str) -> argparse.ArgumentParser:
    """Return a parser of the words by which a process finds its service."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", allow_abbrev=False)
    parser.add_argument("--workers", type=int, required=True, help="how many the service has")
    parser.add_argument("--instance", default=None)
    parser.add_argument("--state-dir", default=None)
    parser.add_argument("--runtime-dir", default=None)
    parser.add_argument("--config", type=Path, default=None)
    return parser


def add_descriptors(parser: argparse.ArgumentParser) -> None:
    """Add the descriptors between a supervisor and its child; -1: there is none."""
    parser.add_argument("--ready-fd", type=int, default=-1, help="gets 'ready' and a newline")
    parser.add_argument("--alive-fd", type=int, default=-1, help="its end means: stop")


def check_worker_count(parser: argparse.ArgumentParser, count: int) -> None:
    """End the process with status 2 when no service has so many workers."""
    if not 1 <= count <= WORKERS_MAX:
        parser.error(f"{count} workers: 1 to {WORKERS_MAX} are possible")


def configuration_of(given: argparse.Namespace) -> tuple[Config, InstancePaths]:
    """Read the configuration that is named, and find the places of the service.

    Raises ConfigError, PathError.
    """
    config = load_config(given.config)
    paths = configured_paths(
        config,
        instance=given.instance,
        state_dir=given.state_dir,
        runtime_dir=given.runtime_dir,
        environment=os.environ,
    )
    return _as_it_runs(config, paths), paths


def _as_it_runs(config: Config, paths: InstancePaths) -> Config:
    """Return the configuration with the size of the memory that the service began with.

    The file may say another one for the next start by now: a process that was restarted alone
    would find, or make, memory that does not fit that of the others.
    """
    max_nodes = made_for(peek_segment(paths.rows_segment, HEADER_SIZE))
    if max_nodes in (None, config.nodes.max_nodes):
        return config
    return replace(config, nodes=replace(config.nodes, max_nodes=max_nodes))
