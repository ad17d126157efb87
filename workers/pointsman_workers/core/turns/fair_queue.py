"""Whose turn it is: by priority, then fair between tenants by their weights, then by age.

Each place (a tenant, waiting_words) has a virtual time per priority: what it was served, divided
by its weight.  The place with the least is next; one that had nothing waiting begins at the clock,
so nobody saves up turns.  That is start-time fair queueing (Goyal, Vin, Cheng: Start-Time Fair
Queueing, SIGCOMM 1996), with a job as the unit and tags on the flow's head instead of on each
packet, as stride scheduling has it (Waldspurger, Weihl 1995).  Virtual times stand in the waiting
words: what another worker serves a tenant counts here as well.

A stale tag is too low, and put right when its turn seems to have come; it is too high only for a
turn that another worker gave and took back, until the place is served next.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from pointsman_shm.memory.waiting import RANK_COUNT, OwnWaiting, WaitingWords
from pointsman_workers.core.turns.tenants import JOB_COST, Rules
from pointsman_workers.placement.kinds import Kind

# Nobody is owed more turns than this, and nobody has to pay back more: the words of a worker that
# died amid a store, or two that put the same place right at once, must not matter for long.
LAG_MAX = 1_000 * JOB_COST


class Share(msgspec.Struct, eq=False, kw_only=True):
    """One place with waiting jobs."""

    place: int
    # By rank: the kinds that have jobs of this priority, with the arrival of the oldest, sorted.
    heads: tuple[list[tuple[int, Kind]], ...] = msgspec.field(
        default_factory=lambda: tuple([] for _ in range(RANK_COUNT))
    )
    # By rank: the virtual time under which it stands in the order.
    tags: list[int] = msgspec.field(default_factory=lambda: [0] * RANK_COUNT)


class FairQueue:
    """The order of all places that have something waiting, for each priority."""

    def __init__(self, words: WaitingWords, own: OwnWaiting) -> None:
        self._words = words
        self._own = own
        self._shares: dict[int, Share] = {}
        self._order: tuple[list[tuple[int, int, Share]], ...] = tuple([] for _ in range(RANK_COUNT))

    def enter(self, rules: Rules, rank: int, arrival: int, kind: Kind) -> None:
        """A kind's oldest job of a priority is now the one of this arrival."""
        share = self._shares.get(rules.place)
        if share is None:
            share = self._shares[rules.place] = Share(place=rules.place)
        heads = share.heads[rank]
        if not heads:
            self._begin(share, rules.cost, rank)
        insort(heads, (arrival, kind))

    def leave(self, place: int, rank: int, arrival: int) -> None:
        """The job of this arrival is its kind's oldest no more."""
        share = self._shares[place]
        heads = share.heads[rank]
        del heads[bisect_left(heads, (arrival,))]
        if not heads:
            self._stand_out(share, rank)
            if not any(share.heads):
                del self._shares[place]

    def serve(self, rules: Rules, rank: int) -> None:
        """A waiting job of this place, which still stands in the order, gets its slot."""
        place = rules.place
        share = self._shares[place]
        tag = self._words.served(place, rank)
        owed = self._words.clock(rank) - LAG_MAX - tag
        pay = rules.cost + max(0, owed)
        self._own.charge(place, rank, pay)
        self._own.move_clock(rank, tag)
        self._stand_out(share, rank)
        self._stand_in(share, rank, tag + pay)

    def tag(self, place: int, rank: int) -> int:
        """Return the virtual time of a place, waiting here or not."""
        return self._words.served(place, rank)

    def begin_elsewhere(self, rules: Rules, rank: int) -> None:
        """Jobs of a place begin to wait at another instance; here it may not stand at all."""
        share = self._shares.get(rules.place)
        if share is None or not share.heads[rank]:
            self._settle(rules.place, rules.cost, rank)

    def serve_elsewhere(self, rules: Rules, rank: int) -> None:
        """A job of a place that waited at another instance gets a slot of ours."""
        tag = self._words.served(rules.place, rank)
        self._own.charge(rules.place, rank, rules.cost)
        self._own.move_clock(rank, tag)

    def unserve(self, rules: Rules, rank: int) -> None:
        """A turn that a place was given, here or elsewhere, came to nothing."""
        self._own.charge(rules.place, rank, -rules.cost)
        share = self._shares.get(rules.place)
        if share is not None and share.heads[rank]:
            self._stand_out(share, rank)
            self._stand_in(share, rank, self._words.served(rules.place, rank))

    def in_turn(self, rank: int) -> Iterator[Share]:
        """The places of one priority, next first; nothing may change while this is walked."""
        order = self._order[rank]
        served = self._words.served
        at = 0
        while at < len(order):
            tag, place, share = order[at]
            now = served(place, rank)
            if now > tag:
                del order[at]
                self._stand_in(share, rank, now)
            else:
                yield share
                at += 1

    def _begin(self, share: Share, cost: int, rank: int) -> None:
        """It has nothing owed from before, nor much to pay back."""
        self._stand_in(share, rank, self._settle(share.place, cost, rank))

    def _settle(self, place: int, cost: int, rank: int) -> int:
        """Bring the virtual time of a place that begins to wait near the clock; return it."""
        tag, clock = self._words.served(place, rank), self._words.clock(rank)
        if tag < clock or tag > clock + LAG_MAX + cost:
            self._own.charge(place, rank, clock - tag)
            tag = clock
        return tag

    def _stand_in(self, share: Share, rank: int, tag: int) -> None:
        share.tags[rank] = tag
        insort(self._order[rank], (tag, share.place, share))

    def _stand_out(self, share: Share, rank: int) -> None:
        order = self._order[rank]
        del order[bisect_left(order, (share.tags[rank], share.place))]
