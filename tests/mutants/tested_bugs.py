"""Bugs that a test by its name must find: the patch, applied in a process that runs that test."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from pointsman.node_core.fences import EpochTable, Seen, SeenFences
from pointsman_sched.core.fleet.row_allocator import RowAllocator
from pointsman_sched.core.joining.identities import Identities
from pointsman_shm import state_files
from pointsman_shm.memory import catalog_slots, catalog_writer
from pointsman_shm.memory.catalog_layout import VERSION
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_wire.lane_messages import LanePong
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Failure, Job, Lane, Session
from pointsman_workers.desks import attempts
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.desks.lane_watch import LaneWatch
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.journal import records, store
from pointsman_workers.journal.store import JournalStore
from pointsman_workers.journal.syncing import SyncWork
from pointsman_workers.ordering.delivering import DeliveryDesk
from pointsman_workers.placement import ranking, selection
from pointsman_workers.placement.checks import Judgement, Reading
from pointsman_workers.placement.ranking import CANNOT

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


def slots_of_lost_nodes_kept(patch: Patch) -> None:
    """Who loses a node gives its jobs to others, and counts their slots there for ever."""
    lose = LaneDesk.lose

    def forgetful(self: LaneDesk, lane: Lane, reason: str) -> None:
        with pytest.MonkeyPatch.context() as amid:
            amid.setattr(Shard, "free", lambda shard, hold: None)
            lose(self, lane, reason)

    patch.setattr(LaneDesk, "lose", forgetful)


def nodes_chosen_by_their_size(patch: Patch) -> None:
    """The largest with a slot free is taken first, however little of it is free."""

    def by_size(readings: Sequence[Reading], judgement: Judgement) -> list[float]:
        return [
            -float(slots) if reading[3] < (slots := judgement.slots_of(*reading[:2])) else CANNOT
            for reading in readings
        ]

    for module in (ranking, selection):
        patch.setattr(module, "scores_of", by_size)


def nodes_with_a_short_memory(patch: Patch) -> None:
    """A node forgets the older half of what it has seen as soon as the younger half is full."""
    turn = SeenFences._turn

    def short(self: SeenFences, now_ns: int) -> None:
        young = self._young
        turn(self, now_ns)
        if self._young is not young:
            self._old = {}

    patch.setattr(SeenFences, "_turn", short)


def syncs_of_the_last_segment_alone(patch: Patch) -> None:
    """What filled up since the last sync is left to whenever the system writes it."""
    begin_sync = JournalStore._begin_sync

    def hasty(self: JournalStore) -> SyncWork:
        self._retired = []
        return begin_sync(self)

    patch.setattr(JournalStore, "_begin_sync", hasty)


def syncs_that_tell_of_later_turns(patch: Patch) -> None:
    """What was written while the disk was at work counts as if it had been there before."""
    synced = JournalStore._synced
    patch.setattr(JournalStore, "_synced", lambda self, number: synced(self, self._number))


def rows_given_away_at_once(patch: Patch) -> None:
    """Nobody asks whether a worker still counts a slot of who had the row before."""
    take = RowAllocator.take

    def hasty(self: RowAllocator, applied_version: Any, **more: Any) -> Any:
        self._held = lambda row: 0
        return take(self, applied_version, **more)

    patch.setattr(RowAllocator, "take", hasty)


def old_revocations_taken(patch: Patch) -> None:
    """Whatever another instance says of a name counts, also when something newer is known."""
    patch.setattr(Identities, "epoch_of", lambda self, node_id: -1)


def acknowledgements_of_everything(patch: Patch) -> None:
    """Whatever number a client has read up to, all that it has not read is let go."""
    read = DeliveryDesk.read

    def careless(self: DeliveryDesk, session: Session, last_number: int) -> None:
        read(self, session, max([last_number, *session.unread]))

    patch.setattr(DeliveryDesk, "read", careless)


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
