"""`python -m pointsman_sched.console`: the console process, started by the supervisor."""

import asyncio
import sys
from collections.abc import Sequence

from pointsman_sched.console.process import ConsoleProcess
from pointsman_sched.options import ProcessOptions, parse_options
from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.process_log import ProcessLog, process_log
from pointsman_shm.paths import PathError


def main(arguments: Sequence[str]) -> int:
    """Run the console: 0 stopped, 1 failed, 2 wrong usage or configuration."""
    try:
        options = parse_options("pointsman_sched.console", arguments)
    except (ConfigError, PathError) as error:
        print(f"pointsman console: {error}", file=sys.stderr)
        return 2
    instance = options.paths.instance
    with process_log(options.config.logs, process="console", instance=instance) as log:
        return asyncio.run(run(options, log))


async def run(options: ProcessOptions, log: ProcessLog) -> int:
    """Run inside the loop."""
    return await ConsoleProcess(options, log).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
