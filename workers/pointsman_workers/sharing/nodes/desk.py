"""Nodes over instances, as the rest of the core sees it: what others say, what leaves in a step."""

from collections.abc import Callable
from typing import Any

from pointsman_wire.coordination.instance_messages import (
    WAITERS_MAX,
    ForNode,
    LinkMessage,
    LinkOpen,
    LinkPing,
    OfferDeclined,
    Waits,
)
from pointsman_workers.core.events import HearingChanged, InstanceMissed, InstanceSaid, WayChanged
from pointsman_workers.core.shard import Shard
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.sharing.nodes.demand import Demand
from pointsman_workers.sharing.nodes.links import LinkDesk
from pointsman_workers.sharing.nodes.nouns import Borrower
from pointsman_workers.sharing.nodes.taking_in import own_lane


class NodesDesk:
    """Both roles of an instance: home of its own nodes, borrower of others'."""

    def __init__(self, shard: Shard, lanes: LaneDesk) -> None:
        self._shard = shard
        self.guests = lanes.guests
        self.links = LinkDesk(shard, lanes)
        self._demand = Demand(shard, lanes.watch)
        shard.wanted_by_others = self.guests.wants.offer
        shard.rows_wanted = self.guests.wants.rows_wanted
        self._version = 0  # of the snapshot that was followed last

    def handlers(self) -> dict[type, Callable[[InstanceSaid], None]]:
        """What is done about which message of another instance."""
        guests = self.guests
        return {
            LinkOpen: self._opened,
            ForNode: self._of_borrower(guests.said),
            LinkPing: self._of_borrower(lambda borrower, ping, _: guests.pinged(borrower, ping)),
            OfferDeclined: self._of_borrower(self._declined),
            Waits: self._of_borrower(self._waits),
            **dict.fromkeys(self.links.handlers, self._on_our_link),
        }

    def _opened(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, LinkOpen), message
        self.guests.opened(event.instance, event.shard, message)

    def _of_borrower(
        self, act: Callable[[Borrower, Any, bytes], None]
    ) -> Callable[[InstanceSaid], None]:
        """Find the borrower that says something on its link; what is of an older one is dropped."""

        def said(event: InstanceSaid) -> None:
            message = event.message
            assert isinstance(message, LinkMessage), message
            borrower = self.guests.borrowers.find(event.instance, event.shard, message.link)
            if borrower is not None:
                act(borrower, message, event.payload)

        return said

    def _declined(self, borrower: Borrower, message: OfferDeclined, _: bytes) -> None:
        self.guests.wants.declined(borrower, message.node_id, message.tenant)

    def _waits(self, borrower: Borrower, message: Waits, _: bytes) -> None:
        lane = own_lane(self._shard, message.node_id)
        if lane is not None:
            for waiter in message.waiters[:WAITERS_MAX]:
                self.guests.wants.note(borrower, lane, waiter)

    def _on_our_link(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, LinkMessage), message
        self.links.said(event.instance, event.shard, message, event.payload)

    def missed(self, event: InstanceMissed) -> None:
        """Assignments, acknowledgements or results may be lost: both begin anew, and compare."""
        self.guests.borrowers.missed(event.instance, event.shard)
        self.links.missed(event.instance, event.shard)

    def way_changed(self, event: WayChanged) -> None:
        """What we send to a worker of another instance leaves again, or does not."""
        if event.state == "lost":
            self.guests.borrowers.lost(event.instance, event.shard)
        self.links.way_changed(event.instance, event.shard, event.state)

    def hearing_changed(self, event: HearingChanged) -> None:
        """Our inbox can be read again, or cannot."""
        self.links.hearing_changed(can_hear=event.can_hear)
        self.guests.hearing_changed(can_hear=event.can_hear)

    def follow(self) -> None:
        """Act upon a newer snapshot, if one is pinned."""
        if self._shard.fleet.version != self._version:
            self._version = self._shard.fleet.version
            self.links.follow()

    def tick(self) -> None:
        """Ten times a second."""
        self._demand.look()  # before lanes that are full for a moment may be tried again
        self.links.look()
        self.guests.look()

    def leave(self) -> list[object]:
        """Return the commands of the step, as they leave."""
        self.guests.flush()
        commands = self._shard.outbox.flush(self._shard.now_ns)
        return self.links.translate(commands) if self.links.links else commands
