"""What a worker does as soon as it is to stop, or is drained: it tells everybody who is there.

A worker that stops is most often being restarted.  Sessions and nodes are told before anything
breaks, so that none of them takes the end of its connection for a failure: sessions submit no more
here, nodes go on with what runs.  Both dial this shard again; the other instances are only for when
the whole service is not there for a while.

A worker that an operator drains goes on serving what runs, and has nothing for newcomers.  Where
the fleet has other instances its sessions are sent there at once, some after others so that these
are not met by all in one instant; when it stops after that, so are its nodes.
"""

from collections.abc import Container

from pointsman_shm.uplink import Alternatives
from pointsman_wire.lane_messages import LaneGoingAway
from pointsman_wire.link import Connection
from pointsman_wire.session_messages import GoingAway
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Line, Peer, Session
from pointsman_workers.placement.kinds import Kind

# A successor needs about so long until it can be dialled.
RECONNECT_AFTER_MS = 500
# So long a service may be away before others are dialled: a restart takes less.
ELSEWHERE_AFTER_MS = 10_000
# Connections that a drained worker sends away each second.
LEAVERS_PER_S = 500


class PartingDesk:
    """Knows where else the fleet lets clients and nodes in."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.alternatives = Alternatives()
        self._turn = 0  # whom the next one is sent to first

    def shelve(self) -> list[Job]:
        """Leave waiting jobs that the journal has to the next life of this shard.

        But none that stands before what only memory holds, which is still to have its turn.
        """
        waiting = self._shard.waiting
        shelved: list[Job] = []
        before: set[tuple[Session, Kind, str]] = set()  # whose jobs keep their order
        for job in reversed(waiting.all_jobs()):
            whose = (job.session, job.kind, job.submit.priority)
            if not job.segment:
                before.add(whose)
            elif whose not in before and not _holds_up_memory(job.line):
                waiting.remove(job)
                shelved.append(job)
        shelved.reverse()
        # Asked to stop once more, those of before are no longer queued.
        self._shard.shelved += shelved
        return shelved

    def tell(self, tls_lanes: Container[Connection]) -> None:
        """Tell sessions and nodes to come again; each is named places that speak as it does."""
        shard = self._shard
        for peer in shard.peers.values():
            self._tell_session(peer, RECONNECT_AFTER_MS)
        for connection, lane in shard.lanes_by_connection.items():
            if lane is not None and lane.connection == connection:
                leaving = LaneGoingAway(
                    reconnect_after_ms=RECONNECT_AFTER_MS,
                    alternatives=self._others(is_tls=connection in tls_lanes),
                    elsewhere_after_ms=self._elsewhere_after_ms(),
                )
                shard.outbox.send(connection, leaving)

    def send_away(self) -> int:
        """Send the sessions of a drained worker to other instances; return how many can go."""
        going = [peer for peer in self._shard.peers.values() if self._has_others(peer)]
        for number, peer in enumerate(going):
            self._tell_session(peer, RECONNECT_AFTER_MS + number * 1_000 // LEAVERS_PER_S)
        return sum(len(peer.sessions) for peer in going)

    def meet(self, peer: Peer) -> None:
        """Somebody came to a drained worker: say where else to go."""
        if self._has_others(peer):
            self._tell_session(peer, RECONNECT_AFTER_MS)

    def _tell_session(self, peer: Peer, after_ms: int) -> None:
        going = GoingAway(
            reconnect_after_ms=after_ms,
            alternatives=self._others(is_tls=peer.is_tls),
            elsewhere_after_ms=self._elsewhere_after_ms(),
        )
        self._shard.outbox.send(peer.connection, going)

    def _elsewhere_after_ms(self) -> int:
        return 0 if self._shard.is_drained else ELSEWHERE_AFTER_MS

    def _has_others(self, peer: Peer) -> bool:
        return bool(self.alternatives.tls if peer.is_tls else self.alternatives.plain)

    def _others(self, *, is_tls: bool) -> list[str]:
        """Return the places, another one first each time, so that all have their share."""
        others = self.alternatives.tls if is_tls else self.alternatives.plain
        if not others:
            return []
        self._turn = (self._turn + 1) % len(others)
        return [*others[self._turn :], *others[: self._turn]]


def _holds_up_memory(line: Line | None) -> bool:
    """Does anything stand in line behind the job whose turn it is that only memory holds?"""
    return line is not None and any(
        job.is_open and not job.segment and not job.is_followed for job in line.jobs
    )
