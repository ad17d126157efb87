"""`python -m pointsman_sched.ground`: the ground of a service whose processes are units of systemd.

    prepare   directories claimed -> clean -> state files -> identity -> journals divided
    clear     segments and sockets removed

What `pointsman serve` does in its supervisor.  The name of the instance is claimed by systemd as
long as pointsman.socket listens, so nothing else has it meanwhile; `prepare` comes before and
`clear` after every other unit of the service.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

from pointsman_sched.supervisor.grounds import GroundError, clean, predecessor, take_directories
from pointsman_sched.supervisor.options import ServiceOptions, UsageError, parse_options
from pointsman_sched.supervisor.resplitting import divide_journals
from pointsman_sched.supervisor.secure_port import prepare_tls
from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.saying import say as say_line
from pointsman_shm.memory.segment import SegmentForeign
from pointsman_shm.paths import PathError
from pointsman_shm.state_files import StateFileError, disk_hint
from pointsman_shm.state_identity import settle_identity
from pointsman_wire.places import PlaceError

ACTS = ("prepare", "clear")


def main(arguments: Sequence[str]) -> int:
    """Do one of ACTS: 0 done, 1 failed, 2 wrong usage or configuration."""
    act, *rest = arguments or [""]
    if act not in ACTS:
        say(f"{act!r} is none of {', '.join(ACTS)}")
        return 2
    try:
        options = parse_options(rest)
    except (ConfigError, PathError, PlaceError, UsageError) as error:
        say(str(error))
        return 2
    try:
        if act == "prepare":
            asyncio.run(prepare(options))
        else:
            clear(options)
    except (GroundError, OSError, PathError, SegmentForeign, StateFileError) as error:
        say(f"cannot {act}: {error}{disk_hint(error)}")
        return 1
    return 0


async def prepare(options: ServiceOptions) -> None:
    """Make everything ready for the processes.

    Raises GroundError, PathError, StateFileError, SegmentForeign, OSError.
    """
    refuse_if_in_use(options)
    with take_directories(options.paths):
        if news := settle_identity(options.paths, os.urandom):
            say(news)
        await divide_journals(options)
        prepare_tls(options)


def clear(options: ServiceOptions) -> None:
    """Remove segments and sockets.  Raises GroundError, SegmentForeign, OSError."""
    refuse_if_in_use(options)
    clean(options.paths)


def refuse_if_in_use(options: ServiceOptions) -> None:
    """Raise GroundError when a process of the service still runs."""
    if left := predecessor(options.paths):
        raise GroundError(f"a process of this service still runs ({left}): stop it first")


def say(text: str) -> None:
    """Tell the operator."""
    say_line("pointsman ground", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
