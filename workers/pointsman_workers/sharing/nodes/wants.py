"""Wants: borrowers that were refused a slot, and the slots that are offered to them in their turn.

A refusal is a demand: the borrower's job waits at its own instance.  Who else waits there for the
node is told (demand.py), as only who stands first there asks.  When a slot is freed here, the
tenants of such jobs stand in the order of all that wait, by what they were served on this host;
whose turn it is gets the slot reserved and is told so.  It has had its turn with that, so what is
freed while the offer travels is the next one's.  It has OFFER_NS to use it, for whatever job of its
own is next there.  So a weight is a weight, wherever the jobs of a tenant come in.  The
other workers of this host are told as they are of jobs that wait here: who frees a slot that is a
borrower's turn rings the worker that the borrower has asked.

Offers and assignments cross on their way.  An assignment takes the offer that it meets, whether it
was sent for it or not, so an offer says what had been read when it was made: a borrower with later
ones under way knows that they take it, and neither sends another nor declines.

A job's age is its age, too: assignments say how long their jobs have waited, so those of one tenant
are served in the order in which they came, and the turn of the oldest (core/turns/waiting.py) is
that of the oldest of all instances.
"""

import msgspec

from pointsman_shm.memory.ledger import Reserve
from pointsman_wire.coordination.instance_messages import ForNode, Offer, Waiter
from pointsman_wire.lane_messages import Assign
from pointsman_workers.core.shard import MILLISECOND_NS, SECOND_NS, Shard
from pointsman_workers.core.state import Lane
from pointsman_workers.core.turns.waiting import Turn
from pointsman_workers.placement.kinds import PRIORITY_RANK
from pointsman_workers.sharing.nodes.borrowers import Borrowers
from pointsman_workers.sharing.nodes.nouns import Borrower
from pointsman_workers.sharing.nodes.taking_in import takes_jobs

OFFER_NS = 500 * MILLISECOND_NS
WANT_NS = 2 * SECOND_NS  # longer than a borrower waits before it asks again
WANTS_MAX = 10_000
RANK_USUAL = PRIORITY_RANK["default"]


class Want(msgspec.Struct, eq=False):
    """A borrower that has a job of this tenant and priority for a node."""

    borrower: Borrower
    node_id: str
    tenant: str
    rank: int
    since_ns: int
    until_ns: int


class Offered(msgspec.Struct, eq=False):
    """A slot of a row that is reserved for a borrower."""

    want: Want
    row: int
    until_ns: int


class Wants:
    """Who was refused, by row; and what is offered, by borrower and node."""

    def __init__(self, shard: Shard, borrowers: Borrowers) -> None:
        self._shard = shard
        self._borrowers = borrowers
        self._by_row: dict[int, dict[tuple[Borrower, str, int], Want]] = {}
        self._count = 0
        self._offers: dict[tuple[Borrower, str], list[Offered]] = {}
        self._left_free: frozenset[int] = frozenset()  # rows that nobody had taken at the last look

    def note(self, borrower: Borrower, lane: Lane, waiter: Waiter) -> None:
        """A job was refused for want of a slot, or waits where another was.

        While this worker stops none becomes free.
        """
        if self._shard.is_stopping:
            return
        tenant, row, now_ns = waiter.tenant, lane.row, self._shard.now_ns
        rank = PRIORITY_RANK.get(waiter.priority, RANK_USUAL)
        key = (borrower, tenant, rank)
        since_ns, until_ns = now_ns - waiter.waited_ms * MILLISECOND_NS, now_ns + WANT_NS
        wants = self._by_row.setdefault(row, {})
        want = wants.get(key)
        if want is not None:
            want.since_ns, want.until_ns = since_ns, until_ns
        elif self._count < WANTS_MAX:
            wants[key] = Want(borrower, lane.node_id, tenant, rank, since_ns, until_ns)
            self._count += 1
            self._shard.waiting.begin_elsewhere(tenant, rank)
        self._tell(row)
        if self._has_room(row):
            self._shard.freed_rows[row] = None  # refused for the sake of others: who is next?

    def _tell(self, row: int) -> None:
        wants = self._by_row.get(row, {}).values()
        self._shard.waiting.want_row(
            row,
            self._shard.fleet.class_number(row),
            ((w.tenant, w.rank, w.since_ns) for w in wants),
        )

    def _forget(self, row: int, key: tuple[Borrower, str, int]) -> None:
        wants = self._by_row[row]
        del wants[key]
        self._count -= 1
        if not wants:
            del self._by_row[row]
        self._tell(row)

    def rows_wanted(self, class_number: int) -> list[int]:
        """Rows of a class that have a free slot and are wanted."""
        fleet = self._shard.fleet
        return [row for row in self._free_rows() if fleet.class_number(row) == class_number]

    def _free_rows(self) -> list[int]:
        return [row for row in self._by_row if self._has_room(row)]

    def _has_room(self, row: int) -> bool:
        fleet = self._shard.fleet
        return fleet.own.has_room(row, fleet.standing[row])

    def offer(self, row: int, best: Turn | None, oldest_first: bool) -> bool:
        """A slot of this row is free, and here it would be the turn of `best`: is it theirs?"""
        wants = self._by_row.get(row)
        if not wants or self._shard.is_stopping:
            return False
        turn, want = min(
            ((self._turn(want, oldest_first), want) for want in wants.values()),
            key=lambda pair: pair[0],
        )
        if best is not None and best[:3] <= turn[:3]:
            return False
        fleet, now_ns = self._shard.fleet, self._shard.now_ns
        word = fleet.standing[row]
        if not takes_jobs(word) or fleet.own.reserve(row, fleet.standing, word) is not Reserve.OK:
            return False
        fleet.change_room(row, -1)
        borrower, node_id = want.borrower, want.node_id
        self._offers.setdefault((borrower, node_id), []).append(
            Offered(want, row, now_ns + OFFER_NS)
        )
        self._shard.waiting.serve_elsewhere(want.tenant, want.rank)
        self._tell(row)
        read = borrower.lanes[node_id].read if node_id in borrower.lanes else 0
        self._borrowers.send(
            borrower, Offer(link=borrower.link, node_id=node_id, tenant=want.tenant, read=read)
        )
        return True

    def _turn(self, want: Want, oldest_first: bool) -> Turn:
        if oldest_first:
            return Turn(0, 0, want.since_ns, 0)
        tag = self._shard.waiting.tag_of(want.tenant, want.rank)
        return Turn(want.rank, tag, want.since_ns, 0)

    def use(self, borrower: Borrower, message: ForNode, assign: Assign) -> bool:
        """Is a slot reserved for this assignment?  It is its own then, and its tenant's turn."""
        offered = self._take(borrower, message.node_id, assign.tenant)
        if offered is None:
            return False
        want = offered.want
        # The next one there came after this one, and hardly later where many wait.
        want.since_ns = self._shard.now_ns - message.waited_ms * MILLISECOND_NS
        want.until_ns = self._shard.now_ns + WANT_NS
        rank = PRIORITY_RANK.get(assign.priority, RANK_USUAL)
        if (want.tenant, want.rank) != (assign.tenant, rank):
            self._shard.waiting.unserve(want.tenant, want.rank)
            self._shard.waiting.serve_elsewhere(assign.tenant, rank)
        self._tell(offered.row)
        return True

    def _take(self, borrower: Borrower, node_id: str, tenant: str) -> Offered | None:
        """Return the oldest offer to that tenant, else the oldest; it is not on offer any more."""
        offers = self._offers.get((borrower, node_id))
        if not offers:
            return None
        offered = next((o for o in offers if o.want.tenant == tenant), offers[0])
        offers.remove(offered)
        if not offers:
            del self._offers[borrower, node_id]
        return offered

    def declined(self, borrower: Borrower, node_id: str, tenant: str) -> None:
        """It has nothing of this tenant for that node any more."""
        offered = self._take(borrower, node_id, tenant)
        if offered is not None:
            self._withdraw(offered)

    def closed(self, borrower: Borrower) -> None:
        """Its link is another one: what was offered on the one before was not heard of."""
        for place in [place for place in self._offers if place[0] is borrower]:
            self._keep(place, [])

    def _keep(self, place: tuple[Borrower, str], kept: list[Offered]) -> None:
        """Take back all other offers of a borrower and node."""
        offers = self._offers.pop(place)
        if kept:
            self._offers[place] = kept
        for offered in offers:
            if offered not in kept:
                self._withdraw(offered)

    def forget_row(self, row: int, *, is_released: bool) -> None:
        """Its node has begun anew, or is gone: nothing of it is on offer."""
        for place, offers in tuple(self._offers.items()):
            if offers[0].row == row:
                del self._offers[place]
                for _ in offers if is_released else ():
                    self._shard.fleet.release(row)

    def tidy(self) -> None:
        """Take back what was not used in time, and forget who did not ask again."""
        now_ns = self._shard.now_ns
        for place, offers in tuple(self._offers.items()):
            self._keep(place, [o for o in offers if o.until_ns > now_ns and place[0].is_open])
        for row, wants in tuple(self._by_row.items()):
            over = [
                key
                for key, want in wants.items()
                if want.until_ns <= now_ns or not want.borrower.is_open
            ]
            for key in over:
                self._forget(row, key)
        # A ring that was lost, or a slot that was freed before it was wanted here.
        free = self._free_rows()
        for row in free:
            if row in self._left_free:  # it was somebody's turn who has not taken it
                self.offer(row, None, oldest_first=False)
        self._left_free = frozenset(free)
        self._shard.freed_rows.update(dict.fromkeys(free))

    def _withdraw(self, offered: Offered) -> None:
        shard, want = self._shard, offered.want
        shard.waiting.unserve(want.tenant, want.rank)
        key = (want.borrower, want.tenant, want.rank)
        if key in self._by_row.get(offered.row, {}):
            self._forget(offered.row, key)
        if shard.fleet.release(offered.row):
            shard.freed_rows[offered.row] = None
