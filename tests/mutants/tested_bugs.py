"""Bugs that a test by its name must find: the patch, applied in a process that runs that test."""

from typing import Any

import pytest

from pointsman.node_core.fences import EpochTable, Seen, SeenFences
from pointsman_shm import state_files
from pointsman_shm.memory import catalog_slots, catalog_writer
from pointsman_workers.desks import attempts
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
