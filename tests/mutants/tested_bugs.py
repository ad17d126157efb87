"""Bugs that a test by its name must find: the patch, applied in a process that runs that test."""

from typing import Any

import msgspec
import pytest

from pointsman.node_core.fences import EpochTable, Seen, SeenFences
from pointsman_shm import state_files
from pointsman_shm.memory import catalog_slots, catalog_writer
from pointsman_shm.memory.catalog_layout import VERSION
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_wire.lane_messages import LanePong
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_workers.core.state import Failure, Job, Lane
from pointsman_workers.desks import attempts
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.desks.lane_watch import LaneWatch
from pointsman_workers.journal import records, store

Patch = pytest.MonkeyPatch


def agents_that_forget_epochs(patch: Patch) -> None:
    see = EpochTable.see

    def forgetful(self: EpochTable, instance_uid: str, shard: int, epoch: int) -> Seen:
        seen = see(self, instance_uid, shard, epoch)
        return Seen.NEW if seen is Seen.STALE else seen

    patch.setattr(EpochTable, "see", forgetful)


def agents_without_dedup(patch: Patch) -> None:
    patch.setattr(SeenFences, "see", lambda self, now_ns, key, fence: Seen.NEW)


def exclusion_list_lost(patch: Patch) -> None:
    patch.setattr(attempts, "_add_node", lambda job, node_id: None)


def poison_never_ends(patch: Patch) -> None:
    patch.setattr(attempts.AttemptDesk, "_end_poison", lambda self, hold, job: None)


def epoch_not_counted_up(patch: Patch) -> None:
    patch.setattr(state_files, "last_epoch", lambda paths, worker_index: 0)


def torn_tail_kept(patch: Patch) -> None:
    patch.setattr(store, "cut_segment", lambda directory, number, size: None)


def no_sum(data: Any, value: int = 0) -> int:
    """Say the same of all bytes."""
    return 0


def journal_without_checksums(patch: Patch) -> None:
    patch.setattr(records, "crc32", no_sum)


def snapshot_without_checksums(patch: Patch) -> None:
    patch.setattr(catalog_slots, "crc32", no_sum)
    patch.setattr(catalog_writer, "crc32", no_sum)


def any_code_goes_elsewhere(patch: Patch) -> None:
    patch.setattr(attempts, "is_retryable", lambda message: True)


def send_queues_without_a_bound(patch: Patch) -> None:
    flush = FrameConnection.flush

    def patient(self: FrameConnection) -> None:
        limits = self._limits
        endless = {"queue_bytes_max": 1 << 60, "queue_frames_max": 1 << 60}
        self._limits = msgspec.structs.replace(limits, **endless)
        flush(self)
        self._limits = limits

    patch.setattr(FrameConnection, "flush", patient)


def ledger_without_a_fence(patch: Patch) -> None:
    """Nothing puts the own store before the second look."""
    make = OwnLedger.__init__

    def hasty(self: OwnLedger, ledger: Ledger, worker_index: int, fence: Any = None) -> None:
        make(self, ledger, worker_index, fence=lambda: None)

    patch.setattr(OwnLedger, "__init__", hasty)


def heartbeats_reset_what_is_held(patch: Patch) -> None:
    """A sign of life is taken for the news that nothing runs."""
    ponged = LaneWatch.ponged

    def forgetful(self: LaneWatch, lane: Lane, message: LanePong) -> None:
        ponged(self, lane, message)
        self._shard.fleet.own.rewrite(lane.row, 0)

    patch.setattr(LaneWatch, "ponged", forgetful)


def failovers_without_a_budget(patch: Patch) -> None:
    try_again = AttemptDesk._try_again

    def tireless(self: AttemptDesk, job: Job, failure: Failure) -> None:
        job.failovers = 0
        try_again(self, job, failure)

    patch.setattr(AttemptDesk, "_try_again", tireless)


class InBytes:
    """The words of a catalog; the version is stored as struct.pack_into does it, byte by byte."""

    def __init__(self, words: Any, view: Any) -> None:
        self._words = words
        self._view = view

    def __getitem__(self, index: int) -> int:
        word: int = self._words[index]
        return word

    def __setitem__(self, index: int, value: int) -> None:
        if index != VERSION:
            self._words[index] = value
            return
        for at, byte in enumerate(value.to_bytes(8, "little"), start=8 * index):
            self._view[at : at + 1] = bytes([byte])


def version_by_pack_into(patch: Patch) -> None:
    publish = CatalogWriter.publish

    def torn(self: CatalogWriter, *rest: Any) -> None:
        words = self._words
        self._words = InBytes(words, self._view)  # type: ignore[assignment]
        publish(self, *rest)
        self._words = words

    patch.setattr(CatalogWriter, "publish", torn)
