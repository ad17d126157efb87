"""`python -m pointsman_workers.journal.resplit`: divides the journals among another worker count.

    locks of all shards, old and new -> read the old journals -> write the new ones beside them
      -> epochs above all old ones -> a new name for the instance -> `workers` is replaced
      -> the old ones are removed

The file `workers` says which journals count, and it is replaced by one rename: killed at any
point, this leaves the old ones or the new ones, and can be run again.  The supervisor runs it
before it starts any worker; under systemd a unit of its own does.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

from pointsman_shm.config_load import ConfigError
from pointsman_shm.logs.saying import say
from pointsman_shm.memory.ownership import LockHeld, acquire_lock, boot_hash
from pointsman_shm.paths import InstancePaths, PathError
from pointsman_shm.state_files import (
    StateFileError,
    disk_hint,
    last_epoch,
    raise_epoch,
    read_worker_count,
    write_worker_count,
)
from pointsman_shm.state_identity import read_identity, renew_identity
from pointsman_shm.units.process_options import (
    check_worker_count,
    configuration_of,
    process_parser,
)
from pointsman_wire.sockets.crash_points import CrashPointError, read_crash_point
from pointsman_workers.journal.division import Share, divide, turns_of
from pointsman_workers.journal.entries import Recovered
from pointsman_workers.journal.judging import JournalDamaged, JournalForeign, JournalOwner
from pointsman_workers.journal.records import (
    HEADER_BYTES,
    RECORD_BYTES_MIN,
    SegmentHeader,
    encode_header,
    frame_record,
    new_marker,
)
from pointsman_workers.journal.replay import replay
from pointsman_workers.journal.segment_files import (
    find_segments,
    make_directory,
    segment_path,
    sync_directory,
    write_segment,
)

RETRY_S = 0.1
_encode = msgspec.msgpack.Encoder().encode


class Division(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    paths: InstancePaths
    worker_count: int
    segment_bytes: int
    ended_max: int
    accept_loss: bool
    at_point: Callable[[str], None]


def main(arguments: Sequence[str]) -> int:
    """Divide: 0 done or nothing to do, 1 failed (nothing was changed), 2 wrong usage or config."""
    try:
        asked = _parse(arguments)
    except (ConfigError, CrashPointError, PathError) as error:
        _say(str(error))
        return 2
    try:
        resplit(asked)
    except (JournalDamaged, JournalForeign, OSError, StateFileError) as error:
        words = f"cannot divide the journals among {asked.worker_count} workers: {error}"
        _say(words + disk_hint(error))
        return 1
    return 0


def resplit(asked: Division) -> None:
    """Divide the journals, unless they are divided already.

    Raises JournalDamaged, JournalForeign, StateFileError, OSError.
    """
    paths, count = asked.paths, asked.worker_count
    with ExitStack() as locks:
        shard_count = max(count, read_worker_count(paths) or 0)
        for shard in range(shard_count):
            locks.enter_context(_wait_for_lock(paths, shard))
        old_count = read_worker_count(paths)
        if old_count is None:
            write_worker_count(paths, count)
        elif old_count != count:
            _remove_others(paths, old_count)
            _divide(asked, old_count)
        _remove_others(paths, count)


def _divide(asked: Division, old_count: int) -> None:
    paths, count = asked.paths, asked.worker_count
    found = [_read(asked, shard, old_count) for shard in range(old_count)]
    shares = divide(found, count)
    boot = boot_hash() if all(recovered.is_same_boot for recovered in found) else 0
    epoch = max(last_epoch(paths, shard) for shard in range(max(old_count, count)))
    identity = renew_identity(paths, os.urandom)
    asked.at_point("resplit-after-name")
    for shard, share in enumerate(shares):
        header = SegmentHeader(
            instance_uid=identity.uid,
            shard=shard,
            worker_count=count,
            epoch=epoch,
            segment=1,
            previous_bytes=0,
            boot=boot,
            marker=new_marker(os.urandom),
        )
        _write(asked, header, share)
        raise_epoch(paths, shard, epoch)
        asked.at_point("resplit-after-shard")
    sync_directory(paths.journals)
    asked.at_point("resplit-before-switch")
    write_worker_count(paths, count)
    asked.at_point("resplit-after-switch")
    sessions = sum(len(share.sessions) for share in shares)
    jobs = sum(len(share.jobs) for share in shares)
    _say(
        f"divided the journals of {old_count} workers among {count}: {sessions} sessions, "
        f"{jobs} open jobs; nodes drop what they run for them and get it anew"
    )


def _read(asked: Division, shard: int, worker_count: int) -> Recovered:
    directory = asked.paths.journal(shard, worker_count)
    owner = JournalOwner(read_identity(asked.paths).uids, shard, worker_count, boot_hash())
    files = find_segments(directory)
    return replay(files, owner, ended_max=asked.ended_max, accept_loss=asked.accept_loss).recovered


def _write(asked: Division, header: SegmentHeader, share: Share) -> None:
    """Write a shard's journal, every segment of it synced."""
    directory = asked.paths.journal(header.shard, header.worker_count)
    make_directory(directory)
    data = bytearray(encode_header(header))
    for turn in turns_of(share):
        body = _encode(turn)
        end = len(data) + RECORD_BYTES_MIN + len(body)
        if end > asked.segment_bytes and len(data) > HEADER_BYTES:
            write_segment(segment_path(directory, header.segment), data)
            header = msgspec.structs.replace(
                header, segment=header.segment + 1, previous_bytes=len(data)
            )
            data = bytearray(encode_header(header))
        # All of it is synced before it counts, so each record may say so of what is before it.
        data += frame_record(body, header.marker, 0, len(data))
    write_segment(segment_path(directory, header.segment), data)
    sync_directory(directory)


def _remove_others(paths: InstancePaths, worker_count: int) -> None:
    """Remove the journals of every other division: the ones that do not count."""
    if not paths.journals.is_dir():
        return
    counting = {paths.journal(shard, worker_count) for shard in range(worker_count)}
    for directory in sorted(paths.journals.glob("shard-*-of-*")):
        if directory not in counting:
            shutil.rmtree(directory)


def _wait_for_lock(paths: InstancePaths, shard: int) -> ExitStack:
    stack = ExitStack()
    told = ""
    while True:
        try:
            stack.enter_context(acquire_lock(paths.shard_lock(shard)))
            return stack
        except LockHeld as held:
            if str(held) != told:
                told = str(held)
                _say(f"waits: {told}")
        time.sleep(RETRY_S)


def _say(text: str) -> None:
    say("pointsman resplit", text)


def _parse(arguments: Sequence[str]) -> Division:
    parser = process_parser("pointsman_workers.journal.resplit")
    parser.add_argument("--accept-loss", action="store_true", help="of a damaged journal")
    given = parser.parse_args(arguments)
    check_worker_count(parser, given.workers)
    config, paths = configuration_of(given)
    return Division(
        paths=paths,
        worker_count=given.workers,
        segment_bytes=config.journal.segment_bytes,
        ended_max=config.jobs.window_jobs_max,
        accept_loss=given.accept_loss,
        at_point=read_crash_point(os.environ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
