"""`python -m pointsman_sched.manager`: the management process, started by the supervisor."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

import uvloop

from pointsman_sched.manager.process import ManagerProcess
from pointsman_sched.options import ProcessOptions, parse_options
from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.process_log import ProcessLog, process_log
from pointsman_shm.paths import PathError
from pointsman_wire.sockets.crash_points import CrashPointError, read_crash_point


def main(arguments: Sequence[str]) -> int:
    """Run the manager: 0 stopped, 1 failed, 2 wrong usage or config, 75 no room for segments."""
    try:
        options = parse_options("pointsman_sched.manager", arguments)
        crash = read_crash_point(os.environ)
    except (ConfigError, CrashPointError, PathError) as error:
        print(f"pointsman manager: {error}", file=sys.stderr)
        return 2
    instance = options.paths.instance
    with (
        process_log(options.config.logs, process="manager", instance=instance) as log,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(run(options, log, crash))


async def run(options: ProcessOptions, log: ProcessLog, crash: Callable[[str], None]) -> int:
    """Run inside the loop."""
    return await ManagerProcess(options, log, crash).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
