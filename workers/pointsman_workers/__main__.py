"""`python -m pointsman_workers`: one dispatcher worker, started by the supervisor."""

import asyncio
import sys
from collections.abc import Sequence

import uvloop

from pointsman_shm.config_load import ConfigError
from pointsman_shm.paths import PathError
from pointsman_workers.shell.options import WorkerOptions, parse_options
from pointsman_workers.shell.process import WorkerProcess, raise_oom_score


def main(arguments: Sequence[str]) -> int:
    """Run a worker; returns the exit status: 0 stopped, 1 failed, 2 wrong usage or config."""
    try:
        options = parse_options(arguments)
    except (ConfigError, PathError) as error:
        print(f"pointsman worker: {error}", file=sys.stderr)
        return 2
    raise_oom_score()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(options))


async def run(options: WorkerOptions) -> int:
    """Run inside the loop."""
    return await WorkerProcess(options).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
