"""Borrowers: the workers of other instances that use our nodes, and their links as seen from here.

A link is open from its link_open until a newer one, or until its borrower was not heard for
SILENT_NS while guests of it are here (it sends a ping each second then), or for IDLE_NS while none
are.  What comes on a link that is not open is answered with link_closed, and not acted upon.
"""

from collections.abc import Iterator, Mapping

from pointsman_wire.coordination.instance_messages import (
    FENCES_MAX,
    GuestFence,
    LinkAccepted,
    LinkClosed,
    LinkOpen,
    LinkReport,
)
from pointsman_wire.messages import Message
from pointsman_workers.core.events import SendInstance
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.sharing.nodes.nouns import Borrower, Guest

SILENT_NS = 3 * SECOND_NS
IDLE_NS = 12 * SECOND_NS
FORGET_NS = 60 * SECOND_NS
BORROWERS_MAX = 4_096
LEFT_MAX = 256  # nodes that are no more, whose numbers are kept for a borrower


class Borrowers:
    """All of them, by instance and worker."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._table: dict[tuple[str, int], Borrower] = {}

    def all(self) -> tuple[Borrower, ...]:
        """Every borrower that is known."""
        return tuple(self._table.values())

    def of(self, instance: str, shard_index: int, uid: str) -> Borrower:
        """The worker of that instance, known or new; it has its lease from now on at the least."""
        borrower = self._table.get((instance, shard_index))
        if borrower is None:
            if len(self._table) >= BORROWERS_MAX:
                self._forget_one()
            now_ns = self._shard.now_ns
            borrower = Borrower(instance=instance, shard=shard_index, uid=uid, heard_at_ns=now_ns)
            self._table[instance, shard_index] = borrower
        return borrower

    def are_awaiting(self) -> bool:
        """Does a job of any of them run here, or its result wait to be taken?"""
        return any(
            guest.hold is not None or borrower.is_open
            for borrower in self._table.values()
            for guest in borrower.guests.values()
        )

    def _forget_one(self) -> None:
        idle = (key for key, borrower in self._table.items() if not borrower.guests)
        del self._table[next(idle, next(iter(self._table)))]

    def find(self, instance: str, shard_index: int, link: int) -> Borrower | None:
        """Whose open link that is; None when it is not open, and then it is told so."""
        borrower = self._table.get((instance, shard_index))
        if borrower is not None and borrower.is_open and borrower.link == link:
            if self._silent_ns(borrower) < self._silent_max_ns(borrower):
                borrower.heard_at_ns = self._shard.now_ns
                return borrower
            borrower.is_open = False
        closed = LinkClosed(link=link, reason="it is not open here")
        self._shard.outbox.commands.append(SendInstance(instance, shard_index, closed))
        return None

    def lost(self, instance: str, shard_index: int) -> None:
        """What we told it is lost: it has to ask anew."""
        borrower = self._table.get((instance, shard_index))
        if borrower is not None:
            borrower.is_open = False

    def missed(self, instance: str, shard_index: int) -> None:
        """Something that it told us is lost: it has to ask anew, and is told so at once."""
        borrower = self._table.get((instance, shard_index))
        if borrower is not None and borrower.is_open:
            self.send(borrower, LinkClosed(link=borrower.link, reason="something was lost"))
            borrower.is_open = False

    def _silent_ns(self, borrower: Borrower) -> int:
        return self._shard.now_ns - borrower.heard_at_ns

    @staticmethod
    def _silent_max_ns(borrower: Borrower) -> int:
        return SILENT_NS if len(borrower.guests) > borrower.result_count else IDLE_NS

    def send(self, borrower: Borrower, message: Message, payload: bytes = b"") -> None:
        """Tell a borrower; nothing while its link is not open, it asks when it opens a new one."""
        if borrower.is_open:
            command = SendInstance(borrower.instance, borrower.shard, message, payload)
            self._shard.outbox.commands.append(command)

    # -- opening -------------------------------------------------------------------------------

    def open(self, borrower: Borrower, message: LinkOpen) -> None:
        """Begin a link, and report what runs and is held for it."""
        setup = self._shard.setup
        borrower.link, borrower.epoch = message.link, message.epoch
        borrower.is_open = True
        borrower.heard_at_ns = self._shard.now_ns
        borrower.lanes.clear()
        borrower.pending.clear()
        nodes = dict.fromkeys(message.expected)
        for guest in borrower.guests.values():
            guest.number = guest.result_number = 0
            nodes[guest.node_id] = None
        for node_id in nodes:
            if self._may_report_yet(node_id):
                borrower.pending[node_id] = None
        accepted = LinkAccepted(link=borrower.link, uid=setup.instance_uid, epoch=setup.epoch)
        self.send(borrower, accepted)
        told = [g for g in borrower.guests.values() if g.node_id not in borrower.pending]
        self._report(borrower, told, nodes=None)

    def _may_report_yet(self, node_id: str) -> bool:
        """Is the lane of this node down, and may come up again and tell what it runs?"""
        shard = self._shard
        row = shard.rows_by_node.get(node_id)
        lane = shard.lanes.get(row) if row is not None else None
        if lane is None or lane.link is not None:
            return not shard.is_settled
        return not lane.is_up

    def _report(self, borrower: Borrower, guests: list[Guest], *, nodes: list[str] | None) -> None:
        pending = [*borrower.pending] if nodes is None else []
        for start in range(0, max(1, len(guests)), FENCES_MAX):
            part = guests[start : start + FENCES_MAX]
            report = LinkReport(
                link=borrower.link,
                running=_fences(part, is_running=True),
                held=_fences(part, is_running=False),
                nodes=nodes,
                pending=pending,
                more=start + FENCES_MAX < len(guests),
            )
            self.send(borrower, report)

    def report_node(self, node_id: str) -> Iterator[Borrower]:
        """A node's lane is up: tell those who have waited for its report, and yield them."""
        for borrower in self.all():
            if node_id in borrower.pending:
                del borrower.pending[node_id]
                guests = [g for g in borrower.guests.values() if g.node_id == node_id]
                self._report(borrower, guests, nodes=[node_id])
                yield borrower

    def overdue(self) -> list[tuple[Borrower, str]]:
        """Nodes that are awaited and did not come back."""
        return [
            (borrower, node_id)
            for borrower in self.all()
            for node_id in tuple(borrower.pending)
            if not self._may_report_yet(node_id)
        ]

    # -- what is kept --------------------------------------------------------------------------

    def result_bytes(self) -> int:
        """How much is kept for all of them."""
        return sum(borrower.result_bytes for borrower in self._table.values())

    def heaviest(self) -> Borrower:
        """For whom the most is kept; there must be one."""
        return max(self._table.values(), key=lambda borrower: borrower.result_bytes)

    def tidy(self) -> None:
        """Forget those of whom nothing is left."""
        rows = self._shard.rows_by_node
        for key, borrower in tuple(self._table.items()):
            if len(borrower.lanes) > len(rows) + LEFT_MAX:
                _forget_left(borrower, rows)
            if not borrower.guests and self._silent_ns(borrower) >= FORGET_NS:
                del self._table[key]


def _forget_left(borrower: Borrower, rows: Mapping[str, int]) -> None:
    """Forget nodes that have gone; whoever assigns to them again counts on from there."""
    lanes = borrower.lanes
    for node_id in [n for n, lane in lanes.items() if n not in rows and not lane.results]:
        del lanes[node_id]


def _fences(guests: list[Guest], *, is_running: bool) -> list[GuestFence]:
    return [guest.fence for guest in guests if _runs(guest) is is_running]


def _runs(guest: Guest) -> bool:
    return guest.result is None and guest.hold is not None and guest.hold.has_slot
