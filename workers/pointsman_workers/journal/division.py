"""Dividing what some shards' journals hold among another number of shards.

A session belongs to shard crc32(session id) % workers, and its jobs and results go with it.

Numbers.  Sessions and jobs are numbered anew in each new shard, ended jobs first, so that numbers
of two old shards cannot meet.  Jobs of one session keep their order: they come from one old shard.

Fences.  A dispatch was made under (instance, old shard, epoch, number), and a node reports what it
runs to the lane of that shard, which may own it no longer; the owner's lane would hear nothing,
dispatch the job anew, and both would run, for a serial session at the same time.  So a re-split
gives the instance a new name.  A node that registers under it first stops whatever it runs for a
name that is none of this service's, and only then opens lanes: what was dispatched before is over
on that node before anything is dispatched anew, and results of before are dropped.  The node that
had a job last is kept with it, under a fence that no node has ever seen (epoch 0), so that the job
waits for that node's word, as after any restart, before it goes elsewhere.  The new shards' epochs
are above all old ones as well, so that even a node that remembers an old epoch of the same shard
takes no old dispatch for a newer one.
"""

from collections.abc import Iterator, Sequence

import msgspec

from pointsman_wire.shards import shard_of
from pointsman_workers.journal.entries import (
    AnyEntry,
    JobAccepted,
    JobDispatched,
    JobKept,
    Recovered,
    RecoveredJob,
    SessionOpened,
)

OLD_EPOCH = 0  # of dispatches that were made before the division; epochs begin with 1
TURN_ENTRIES_MAX = 64


class Share(msgspec.Struct):
    """What one new shard gets, in the order in which it is written."""

    sessions: list[SessionOpened]
    ended: list[JobKept]
    jobs: list[tuple[JobAccepted, JobDispatched | None]]


def divide(found: Sequence[Recovered], worker_count: int) -> list[Share]:
    """Divide what the old shards hold; shard k's is found[k]."""
    shares = [Share([], [], []) for _ in range(worker_count)]
    numbers: dict[tuple[int, int], int] = {}  # old shard, session -> its new number
    for old, recovered in enumerate(found):
        for session in recovered.sessions:
            share = shares[shard_of(session.opened.session_id, worker_count)]
            number = numbers[old, session.opened.session] = len(share.sessions) + 1
            share.sessions.append(msgspec.structs.replace(session.opened, session=number))
    for old, kept in _by_age(found):
        share = shares[shard_of(kept.key[1], worker_count)]
        number, session_number = len(share.ended) + 1, numbers.get((old, kept.session), 0)
        share.ended.append(msgspec.structs.replace(kept, job=number, session=session_number))
    for old, job in _in_order(found):
        share = shares[shard_of(job.accepted.key[1], worker_count)]
        number = len(share.ended) + len(share.jobs) + 1
        session_number = numbers.get((old, job.accepted.session), 0)
        accepted = msgspec.structs.replace(job.accepted, job=number, session=session_number)
        share.jobs.append((accepted, _as_unseen(job.dispatched, number)))
    return shares


def _by_age(found: Sequence[Recovered]) -> list[tuple[int, JobKept]]:
    """Return the ended jobs of all shards, oldest first as far as it is known.

    Ends have no instants.  But all windows reach back about as far, and sessions are spread evenly:
    what has the same part of its shard's window before it is about as old.  The new window, where
    it is too small for all, drops the first; those must not be one shard's.
    """
    ended = [
        ((place + 1) / len(recovered.ended), old, result.kept)
        for old, recovered in enumerate(found)
        for place, result in enumerate(recovered.ended)
    ]
    ended.sort(key=lambda told: told[0])  # stable: those of one shard keep their order
    return [(old, kept) for _, old, kept in ended]


def _in_order(found: Sequence[Recovered]) -> list[tuple[int, RecoveredJob]]:
    """Return the open jobs of all shards, in the order of acceptance as far as it is known."""
    jobs = [(old, job) for old, recovered in enumerate(found) for job in recovered.jobs]
    return sorted(jobs, key=lambda pair: (pair[1].accepted.accepted_at_ns, pair[1].accepted.job))


def _as_unseen(dispatched: JobDispatched | None, number: int) -> JobDispatched | None:
    if dispatched is None:
        return None
    return msgspec.structs.replace(dispatched, job=number, epoch=OLD_EPOCH, dispatch=number)


def turns_of(share: Share) -> Iterator[list[AnyEntry]]:
    """Return what a new shard's journal begins with, a bearable number of entries at a time."""
    entries: list[AnyEntry] = [*share.sessions, *share.ended]
    for accepted, dispatched in share.jobs:
        entries.append(accepted)
        if dispatched is not None:
            entries.append(dispatched)
    for begin in range(0, len(entries), TURN_ENTRIES_MAX):
        yield entries[begin : begin + TURN_ENTRIES_MAX]
