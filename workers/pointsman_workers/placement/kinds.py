"""Kinds: jobs that ask for the same are placed alike, wait together and share every cache.

A kind is one interned Requirement with what the worker knows about it: which classes can do it,
which pools in which order, how far the walk for a free slot has come, and who waits.
"""

from array import array
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
from msgspec.structs import replace

from pointsman_shm.memory.waiting import BUCKET_COUNT
from pointsman_shm.rules.languages import normalise, normalise_all
from pointsman_shm.rules.modules import UnknownName, required_types, wants_semantic
from pointsman_shm.rules.session_pool import PoolDecision
from pointsman_shm.snapshot.records import ConfigPage, Requirement
from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import Submit
from pointsman_workers.fields import plainly_set
from pointsman_workers.placement.checks import Judgement
from pointsman_workers.placement.paces import Pace

if TYPE_CHECKING:
    from pointsman_workers.core.state import Job, Session

KINDS_MAX = 4096
FAVOURED_MAX = 4  # preferred labels that are looked for one by one
PRIORITIES = ("system", "interactive", "default", "bulk")
PRIORITY_RANK = {name: rank for rank, name in enumerate(PRIORITIES)}


@plainly_set
class Kind(msgspec.Struct, eq=False, kw_only=True):
    """One requirement and everything remembered about it."""

    requirement: Requirement
    services: list[str]  # its types, as they stand in every assignment
    bucket: int  # of the waiting words
    encoded: msgspec.Raw = msgspec.Raw()  # the requirement, as it stands in records
    # What follows belongs to one version of the snapshot; Fleet.prepare keeps it current.
    version: int = -1
    codes: bytearray = msgspec.field(default_factory=bytearray)  # by class: 0 = can do it
    judgement: Judgement = Judgement()  # the codes, and what marks say
    uses_semantic: dict[int, bool] = {}  # by class: would it use the node's semantic repair?
    pace: Pace | None = None  # once a node was seen to do it
    slowness: "array[float]" = msgspec.field(default_factory=lambda: array("f"))  # by row
    lists: "dict[int | None, array[int]]" = {}  # candidates by pool
    full_pools_known: "dict[int | None, FullPool]" = {}  # those that a walk has just gone over
    orders: dict[int, PoolDecision] = {}  # by bound pool: what a session decision repeats
    class_mask: int = 0  # for the waiting words: bit = number modulo 64 of every class that can
    # Waiting jobs by priority rank, oldest first; jobs that ended meanwhile are skipped.
    queues: "tuple[deque[Job], ...]" = msgspec.field(
        default_factory=lambda: tuple(deque(maxlen=1_000_000) for _ in PRIORITIES)
    )
    waiting_count: int = 0
    # The walk over all candidates for a free slot: where it stands, what it has met.
    walk: "Walk | None" = None
    full_until_ns: int = 0  # a whole round found nothing: not looked again before this (0: news),
    full_at_release: int = -1  # unless this worker has released a slot since,
    full_pools: tuple[int | None, ...] | None = None  # or other pools are asked
    is_busy: bool = False  # what the last whole round concluded: capable nodes exist, all busy
    # While jobs wait: looks in vain since there was news, and when the next one is.
    look_count: int = 0
    look_at_ns: int = 0

    def look_anew(self) -> None:
        """There is news of nodes: what was found full may not be any more."""
        self.full_until_ns = 0
        self.full_pools_known.clear()


class FullPool(msgspec.Struct, gc=False):
    """A pool in which a whole walk has found nobody: until when only what is freed is looked at."""

    until_ns: int
    at_release: int  # what this worker has released up to then was looked at, too
    is_busy: bool  # capable nodes exist there


class Walk(msgspec.Struct, eq=False):
    """One round over all candidates of a kind, at most some hundred a turn."""

    pools: tuple[int | None, ...]
    candidates: "array[int]"
    pool_at: int = 0
    is_sampled: bool = False  # has a sample of this pool been tried, before the walk over it?
    position: int = 0
    has_seen_busy: bool = False  # in this pool
    was_busy_before: bool = False  # in an earlier one
    at_release: int = -1  # how much this worker had released when the walk over this pool began


class Round(msgspec.Struct, eq=False):
    """What a job with rows of its own to avoid remembers of its search, as kinds do for others."""

    walk: Walk | None = None
    full_until_ns: int = 0
    full_at_release: int = -1
    full_pools: tuple[int | None, ...] | None = None
    is_busy: bool = False
    version: int = -1  # of the snapshot that the walk goes over


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What was found of a session's last request; it holds for all that wish for the same."""

    wish: tuple[object, ...]  # fields of the request, those that say which one it is left out
    reading: int  # of Kinds: how often it has begun to read requests anew
    kind: Kind
    favoured: tuple[Kind, ...]  # as a job has them
    durability: str
    timeout_ns: int
    is_plain: bool  # there is nothing to ask, or to change, for each of them
    is_choosy: bool  # not every node of the kind is as good for them
    usual: Assign  # what their assignments have in common


class Kinds:
    """Interns requirements; bounded: kinds that nobody waits for are dropped, oldest first."""

    def __init__(self, config: ConfigPage) -> None:
        self.config = config
        self.is_semantic_present = self._is_paused = False
        self.reading = 0  # how often what was made of requests has begun to hold no more
        self._by_request: dict[tuple[object, ...], Kind | UnknownName] = {}
        self._by_requirement: dict[Requirement, Kind] = {}

    def configure(self, config: ConfigPage, *, is_semantic_present: bool, is_paused: bool) -> None:
        """Take over what a new snapshot says; requests are read anew if it matters to them."""
        said = (is_semantic_present, is_paused)
        if config is self.config and said == (self.is_semantic_present, self._is_paused):
            return
        self.config = config
        self.is_semantic_present, self._is_paused = said
        self.read_anew()

    def find(self, submit: Submit, session: "Session") -> Kind | UnknownName:
        """Return the kind of a request, or the name in it that nobody knows."""
        asked = (
            tuple(submit.services),
            submit.src_lang,
            submit.tgt_lang,
            tuple(submit.features),
            tuple(submit.auto_langs),
            tuple(submit.labels_required.items()) if submit.labels_required else (),
            submit.accept_public,
            session.tenant,
            session.src_lang,
            session.tgt_lang,
            session.features,
            session.auto_langs,
        )
        kind = self._by_request.get(asked)
        if kind is None:
            kind = self._read(submit, session)
            if len(self._by_request) >= KINDS_MAX:
                self.read_anew()
            self._by_request[asked] = kind
        return kind

    def _read(self, submit: Submit, session: "Session") -> Kind | UnknownName:
        features = tuple(sorted({*submit.features, *session.features}))
        catalogue = self.config.catalogue
        types = required_types(
            catalogue,
            services=submit.services,
            features=features,
            add_semantic=wants_semantic(
                has_services=bool(submit.services),
                is_two_level=self.config.pools.enabled and self.config.pools.mode == "two_level",
                is_semantic_present=self.is_semantic_present,
            ),
        )
        if isinstance(types, UnknownName):
            return types
        requirement = Requirement(
            types=types,
            src=normalise(submit.src_lang or session.src_lang),
            tgt=normalise(submit.tgt_lang or session.tgt_lang),
            auto_langs=normalise_all(submit.auto_langs or session.auto_langs),
            features=features,
            labels=tuple(sorted(submit.labels_required.items())),
            tenant=session.tenant,
            accept_public=submit.accept_public,
        )
        return self.of(requirement)

    def of(self, requirement: Requirement) -> Kind:
        """Return the one kind of a requirement."""
        kind = self._by_requirement.get(requirement)
        if kind is None:
            if len(self._by_requirement) >= KINDS_MAX:
                self._drop_idle()
            encoded = msgspec.msgpack.encode(requirement)
            bucket = crc32(encoded) % BUCKET_COUNT
            kind = Kind(
                requirement=requirement,
                services=[*requirement.types],
                bucket=bucket,
                encoded=msgspec.Raw(encoded),
            )
            self._by_requirement[requirement] = kind
        return kind

    def favoured(self, kind: Kind, labels: Mapping[str, str]) -> tuple[Kind, ...]:
        """Kinds that ask for preferred labels as well: for all of them, then for each alone."""
        pairs = sorted(labels.items())
        wishes = [pairs, *([pair] for pair in pairs[:FAVOURED_MAX])] if len(pairs) > 1 else [pairs]
        requirement = kind.requirement
        return tuple(
            self.of(replace(requirement, labels=tuple(sorted({*requirement.labels, *wished}))))
            for wished in wishes
        )

    def _drop_idle(self) -> None:
        """Forget the older half of what nobody waits for; open jobs keep their own reference."""
        idle = [r for r, kind in self._by_requirement.items() if not kind.waiting_count]
        for requirement in idle[: KINDS_MAX // 2]:
            del self._by_requirement[requirement]
        self.read_anew()

    def read_anew(self) -> None:
        """What was made of requests holds no more, or whether they are taken."""
        self.reading += 1
        self._by_request.clear()
