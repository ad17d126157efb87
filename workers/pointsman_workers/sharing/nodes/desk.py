"""Nodes over instances, as the rest of the core sees it: what others say, what leaves in a step."""

from collections.abc import Callable

from pointsman_wire.coordination.instance_messages import (
    WAITERS_MAX,
    ForNode,
    LinkOpen,
    LinkPing,
    OfferDeclined,
    Waits,
)
from pointsman_wire.messages import Message
from pointsman_workers.core.events import HearingChanged, InstanceMissed, InstanceSaid, WayChanged
from pointsman_workers.core.shard import Shard
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.sharing.nodes.demand import Demand
from pointsman_workers.sharing.nodes.links import LinkDesk
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
        return {
            LinkOpen: self._opened,
            ForNode: self._for_node,
            LinkPing: self._pinged,
            OfferDeclined: self._declined,
            Waits: self._waits,
            **dict.fromkeys(self.links.handlers, self._on_our_link),
        }

    def _opened(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, LinkOpen), message
        self.guests.opened(event.instance, event.shard, message)

    def _for_node(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, ForNode), message
        borrower = self.guests.borrowers.find(event.instance, event.shard, message.link)
        if borrower is not None:
            self.guests.said(borrower, message, event.payload)

    def _pinged(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, LinkPing), message
        borrower = self.guests.borrowers.find(event.instance, event.shard, message.link)
        if borrower is not None:
            self.guests.pinged(borrower, message)

    def _declined(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, OfferDeclined), message
        borrower = self.guests.borrowers.find(event.instance, event.shard, message.link)
        if borrower is not None:
            self.guests.wants.declined(borrower, message.node_id, message.tenant)

    def _waits(self, event: InstanceSaid) -> None:
        message = event.message
        assert isinstance(message, Waits), message
        borrower = self.guests.borrowers.find(event.instance, event.shard, message.link)
        lane = own_lane(self._shard, message.node_id)
        if borrower is not None and lane is not None:
            for waiter in message.waiters[:WAITERS_MAX]:
                self.guests.wants.note(borrower, lane, waiter)

    def _on_our_link(self, event: InstanceSaid) -> None:
        message: Message = event.message
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
