"""What a worker does as soon as it is to stop: it sets aside what can wait, and tells everybody.

Sessions and nodes are told before anything breaks, so that none of them takes the end of its
connection for a failure: sessions submit no more here, nodes go on with what runs.  Both dial this
shard again; the other instances are only for when the whole service is not there for a while.
"""

from collections.abc import Container

from pointsman_shm.uplink import Alternatives
from pointsman_wire.lane_messages import LaneGoingAway
from pointsman_wire.link import Connection
from pointsman_wire.session_messages import GoingAway
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job

# A successor needs about so long until it can be dialled.
RECONNECT_AFTER_MS = 500


class PartingDesk:
    """Knows where else the fleet lets clients and nodes in."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.alternatives = Alternatives()

    def shelve(self) -> list[Job]:
        """Leave waiting jobs that the journal has to the next life of this shard."""
        waiting = self._shard.waiting
        queued = [job for kind in waiting.kinds for job in waiting.jobs(kind)]
        shelved = [job for job in queued if job.segment]
        for job in shelved:
            waiting.remove(job)
        # Asked to stop once more, those of before are no longer queued.
        self._shard.shelved += shelved
        return shelved

    def tell(self, tls_lanes: Container[Connection]) -> None:
        """Tell sessions and nodes to come again; each is named places that speak as it does."""
        shard, after_ms = self._shard, RECONNECT_AFTER_MS
        for connection, peer in shard.peers.items():
            others = self._others(is_tls=peer.is_tls)
            going = GoingAway(reconnect_after_ms=after_ms, alternatives=others)
            shard.outbox.send(connection, going)
        for connection, lane in shard.lanes_by_connection.items():
            if lane is not None and lane.connection == connection:
                others = self._others(is_tls=connection in tls_lanes)
                leaving = LaneGoingAway(reconnect_after_ms=after_ms, alternatives=others)
                shard.outbox.send(connection, leaving)

    def _others(self, *, is_tls: bool) -> list[str]:
        return [*(self.alternatives.tls if is_tls else self.alternatives.plain)]
