"""`python -m pointsman_workers`: one dispatcher worker, started by the supervisor or systemd."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

import uvloop

from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.process_log import ProcessLog, process_log
from pointsman_shm.paths import PathError, worker_process
from pointsman_shm.units.under_systemd import UnitError
from pointsman_wire.sockets.crash_points import CrashPointError, read_crash_point
from pointsman_workers.shell.options import WorkerOptions, parse_options
from pointsman_workers.shell.process import WorkerProcess
from pointsman_workers.shell.settling_in import raise_oom_score


def main(arguments: Sequence[str]) -> int:
    """Run a worker; returns the exit status: 0 stopped, 1 failed, 2 wrong usage or config."""
    try:
        options = parse_options(arguments)
        crash = read_crash_point(os.environ)
    except (ConfigError, CrashPointError, PathError, UnitError) as error:
        print(f"pointsman worker: {error}", file=sys.stderr)
        return 2
    raise_oom_score()
    process, instance = worker_process(options.index), options.paths.instance
    with (
        process_log(options.config.logs, process=process, instance=instance) as log,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(run(options, log, crash))


async def run(options: WorkerOptions, log: ProcessLog, crash: Callable[[str], None]) -> int:
    """Run inside the loop."""
    return await WorkerProcess(options, log, crash).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
