"""`python -m pointsman_sched.supervisor`: a whole service; what `pointsman serve` becomes."""

import asyncio
import sys
from collections.abc import Sequence

from pointsman_sched.supervisor.grounds import GroundError
from pointsman_sched.supervisor.options import ServiceOptions, UsageError, parse_options
from pointsman_sched.supervisor.process import Supervisor
from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.events import Event
from pointsman_shm.logs.process_log import ProcessLog, process_log
from pointsman_shm.logs.saying import say
from pointsman_shm.memory.segment import SegmentForeign
from pointsman_shm.paths import PathError
from pointsman_shm.secret_files import write_no_cores
from pointsman_shm.state_files import StateFileError, disk_hint
from pointsman_wire.places import PlaceError


def main(arguments: Sequence[str]) -> int:
    """Run a service: 0 stopped, 1 failed, 2 wrong usage or config, 75 shared memory is full."""
    try:
        options = parse_options(arguments)
    except (ConfigError, PathError, PlaceError, UsageError) as error:
        say("pointsman", str(error))
        return 2
    write_no_cores()
    instance = options.paths.instance
    with process_log(options.config.logs, process="supervisor", instance=instance) as log:
        try:
            return asyncio.run(run(options, log))
        except (GroundError, OSError, PathError, SegmentForeign, StateFileError) as error:
            log.tell(Event.PROCESS_FAILED, f"cannot start: {error}{disk_hint(error)}")
            return 1


async def run(options: ServiceOptions, log: ProcessLog) -> int:
    """Run inside the loop."""
    return await Supervisor(options, log).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
