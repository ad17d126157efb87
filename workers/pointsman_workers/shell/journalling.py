"""Opens the journal of this worker's shard, as soon as the disk has room for it."""

import asyncio
import gc
from collections.abc import Callable

from pointsman_shm.memory.ownership import boot_hash
from pointsman_shm.state_identity import read_identity
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.journal.judging import JournalOwner
from pointsman_workers.journal.segment_files import JournalNoRoom, JournalPlace
from pointsman_workers.journal.store import JournalStore
from pointsman_workers.shell.options import WorkerOptions

RETRY_S = 1.0


async def open_journal(
    options: WorkerOptions,
    epoch: int,
    *,
    crash: Callable[[str], None],
    say: Callable[[str], None],
) -> tuple[JournalStore, Recovered]:
    """Return the journal and what a predecessor left in it; waits while the disk is full.

    Raises JournalDamaged, JournalForeign, JournalFailed or OSError.
    """
    place = JournalPlace(
        directory=options.paths.journal(options.index, options.worker_count),
        owner=JournalOwner(
            instance_uids=read_identity(options.paths).uids,
            shard=options.index,
            worker_count=options.worker_count,
            boot=boot_hash(),
        ),
        epoch=epoch,
        config=options.config.journal,
        ended_max=options.config.jobs.window_jobs_max,
        accept_loss=options.accept_loss,
        crash=crash,
    )
    told = ""
    while True:
        try:
            # A full window is no garbage, and walking it again and again would take longest.
            gc.disable()
            store, recovered = JournalStore.open(place)
        except JournalNoRoom as error:
            if str(error) != told:
                told = str(error)
                say(f"waits: {told}")
            await asyncio.sleep(RETRY_S)
            continue
        finally:
            gc.enable()
        if recovered.lost_records:
            say(f"goes on without {recovered.lost_records} damaged places of its journal")
        return store, recovered
