"""Before any worker starts: are the journals divided among as many as there will be?"""

import asyncio
import subprocess
import sys

from pointsman_sched.supervisor.grounds import GroundError
from pointsman_sched.supervisor.options import ServiceOptions
from pointsman_shm.state_files import read_worker_count, write_worker_count

RESPLIT = "pointsman_workers.journal.resplit"


async def divide_journals(options: ServiceOptions) -> None:
    """Have the journals divided anew when the worker count is not what it was.

    The caller has claimed the instance.  Raises GroundError, StateFileError.
    """
    paths, count = options.paths, options.worker_count
    found = read_worker_count(paths)
    if found is None:
        write_worker_count(paths, count)
        return
    if found == count:
        return
    command = [sys.executable, "-P", "-m", RESPLIT, "--workers", str(count)]
    command += ["--instance", paths.instance, "--state-dir", str(paths.state_dir)]
    command += ["--runtime-dir", str(paths.runtime_dir)]
    if options.config_path is not None:
        command += ["--config", str(options.config_path)]
    if options.accept_loss:
        command.append("--accept-loss")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    status = await process.wait()
    if status != 0:
        raise GroundError(
            f"the journals of {found} workers could not be divided among {count} (above); start "
            f"with --workers {found} to go on as before"
        )
