"""`python -m pointsman_sched.console`: the console process, started by the supervisor."""

import asyncio
import sys
from collections.abc import Sequence

from pointsman_sched.console.options import ConsoleOptions, parse_options
from pointsman_sched.console.process import ConsoleProcess
from pointsman_shm.config_load import ConfigError
from pointsman_shm.paths import PathError


def main(arguments: Sequence[str]) -> int:
    """Run the console: 0 stopped, 1 failed, 2 wrong usage or configuration."""
    try:
        options = parse_options(arguments)
    except (ConfigError, PathError) as error:
        print(f"pointsman console: {error}", file=sys.stderr)
        return 2
    return asyncio.run(run(options))


async def run(options: ConsoleOptions) -> int:
    """Run inside the loop."""
    return await ConsoleProcess(options).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
