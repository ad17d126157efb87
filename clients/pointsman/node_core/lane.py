"""One lane: the connection to one worker, dialled again whenever it breaks.

       dial        Dialled, send lane_open       lane_accepted, store the epoch, report
    ------> DIALLING -------------> OPENING ------------------------------------------> UP
    ^                                  |                                                 |
    +-------- wait (full jitter) <-----+-------------------------------------------------+

Numbers of assignments and results count from 1 on each connection; what was not acknowledged
when a connection broke is reported on the next one, and held results are sent again.

A lane that is up outlives the registration: where the next one gives the node the same place, its
ticket is shown on the connection that stands, and jobs go on.  A worker that does not answer to
that is dialled again: the connection may be half open.
"""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from pointsman.backoff import DIAL_TIMEOUT_S, NS_PER_S, STOOD_S, Backoff, Entropy, Patience
from pointsman.node_core.job_table import HeldResult, listed
from pointsman_wire.control_messages import Registered
from pointsman_wire.lane_messages import AssignAck, JobFence, LaneGoingAway, LaneOpen, LaneReport
from pointsman_wire.link import Close, Connection, Dial, Send
from pointsman_wire.preamble import Preamble, Role

BACKOFF_FIRST_S = 0.1
BACKOFF_CAP_S = 30.0
# A worker may wait 5 s for the snapshot that shows this node.
ANSWER_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_MAX_S = 60.0
RENEWAL_TIMEOUT_S = 5.0
# Whatever a worker that goes asks for: no longer than this until its lane is dialled again.
AWAY_MAX_MS = 30_000
# More than this cannot wait on one lane: the job table holds no more results.
UNACKED_MAX = 8_192


class Lane:
    """One lane of one registration."""

    def __init__(
        self,
        shard: int,
        registered: Registered,
        entropy: Entropy,
        new_purpose: Callable[[], int],
        address: str = "",
    ) -> None:
        self.shard = shard
        self.connection: Connection | None = None
        self.purpose: int | None = None
        self.is_up = False
        # Set when the worker does not believe who this node is: only a new registration helps.
        self.is_refused = False
        # While UP: the place and epoch of the fences that this lane's assignments carry.
        self.place = -1
        self.epoch = -1
        self.last_read = 0
        # What a worker said that is stopping; None again once a worker is there.
        self.going: LaneGoingAway | None = None
        self._address = address
        # Set from its word that it is stopping until the lane ends.
        self._away_after_ms: int | None = None
        self._registered = registered
        self._backoff = Backoff(entropy, first_s=BACKOFF_FIRST_S, cap_s=BACKOFF_CAP_S)
        self._patience = Patience(first_s=ANSWER_TIMEOUT_S, cap_s=ANSWER_TIMEOUT_MAX_S)
        self._new_purpose = new_purpose
        self._dial_at_ns: int | None = 0
        self._answer_by_ns: int | None = None
        self._up_since_ns = 0
        self._last_acked = 0
        self._results_sent = 0
        # (number on this lane, run) of results that were sent and not acknowledged.
        self._unacked: deque[tuple[int, int]] = deque(maxlen=UNACKED_MAX)

    # ---- what happened

    def dialled(self, now_ns: int, connection: Connection) -> list[object]:
        """Say on the new connection who this node is."""
        self.purpose = None
        self.connection = connection
        self._answer_by_ns = now_ns + self._patience.limit_ns()
        return [Send(connection, self._opening())]

    def _opening(self) -> LaneOpen:
        registered = self._registered
        return LaneOpen(
            node_id=registered.node_id,
            row=registered.row,
            generation=registered.generation,
            epoch=registered.epoch,
            ticket=registered.lane_ticket,
        )

    def is_opening(self) -> bool:
        """Is lane_accepted what comes next?"""
        return self.connection is not None and not self.is_up

    @property
    def is_renewing(self) -> bool:
        """Is it up, and the worker has not yet said that it is of the newest registration?"""
        return self.is_up and self._answer_by_ns is not None

    @property
    def is_settled(self) -> bool:
        """Is it up, and of the newest registration?"""
        return self.is_up and self._answer_by_ns is None

    def may_stay(self, registered: Registered) -> bool:
        """Is this lane of the place that a new registration gives?"""
        is_same = _place(registered) == _place(self._registered)
        return self.is_up and registered.lanes_stay and is_same

    def follow(self, now_ns: int, registered: Registered) -> list[object]:
        """Show the new ticket on the connection that stands, or end it for a lane of another."""
        if not self.may_stay(registered):
            return self.end("registered anew")
        assert self.connection is not None
        self._registered = registered
        self._answer_by_ns = now_ns + int(RENEWAL_TIMEOUT_S * NS_PER_S)
        return [Send(self.connection, self._opening())]

    def renewed(self) -> None:
        """The worker has taken the new ticket."""
        self._answer_by_ns = None

    def raise_up(
        self, now_ns: int, fence: tuple[int, int], running: list[JobFence], held: list[HeldResult]
    ) -> list[object]:
        """Report what runs and what is held; from here on the lane carries jobs.

        `fence` is (place, epoch) of this worker.
        """
        assert self.connection is not None
        self.place, self.epoch = fence
        self.is_up = True
        self._up_since_ns = now_ns
        self._answer_by_ns = None
        self._patience.answered()
        self.going = None
        report = LaneReport(running=running, held=listed(held))
        out: list[object] = [Send(self.connection, report)]
        for result in held:
            out += self.send_result(result)
        return out

    def lost(self, now_ns: int, retry_after_ms: int | None = None) -> None:
        """Wait and dial again; numbers start anew."""
        if self.is_up and now_ns - self._up_since_ns >= STOOD_S * NS_PER_S:
            self._backoff.reset()
        if self._away_after_ms is not None:  # no failure: it said so, and when to come
            self._backoff.reset()
            retry_after_ms = max(retry_after_ms or 0, self._away_after_ms)
            self._away_after_ms = None
        self.purpose = self.connection = self._answer_by_ns = None
        self.is_up = False
        self.last_read = self._last_acked = self._results_sent = 0
        self._unacked.clear()
        self._dial_at_ns = now_ns + self._backoff.next_delay_ns(retry_after_ms)

    def going_away(self, message: LaneGoingAway) -> None:
        """The worker is stopping: what runs goes on, the lane is dialled again when it has ended.

        It stays up until then: what still runs there can deliver.
        """
        self._away_after_ms = min(message.reconnect_after_ms, AWAY_MAX_MS)
        self.going = message

    def drop(self, now_ns: int, reason: str, retry_after_ms: int | None = None) -> list[object]:
        """End the connection and dial again after a wait."""
        closing = self.end(reason)
        self.lost(now_ns, retry_after_ms)
        return closing

    def end(self, reason: str) -> list[object]:
        """End the connection for good."""
        connection, self.connection = self.connection, None
        self.purpose = self._dial_at_ns = self._answer_by_ns = None
        return [] if connection is None else [Close(connection, reason)]

    # ---- results and acknowledgements

    def send_result(self, held: HeldResult) -> list[object]:
        """Send a result under the lane's next number; nothing while the lane is not up."""
        if self.connection is None or not self.is_up:
            return []
        self._results_sent += 1
        self._unacked.append((self._results_sent, held.run.number))
        result = msgspec.structs.replace(held.result, number=self._results_sent)
        return [Send(self.connection, result, held.payload)]

    def acknowledged(self, number: int, withheld: Sequence[int]) -> list[int]:
        """Return the runs whose results are safe with the worker: up to a number, but for some."""
        runs, kept = [], []
        while self._unacked and self._unacked[0][0] <= number:
            result = self._unacked.popleft()
            if result[0] in withheld:
                kept.append(result)
            else:
                runs.append(result[1])
        self._unacked.extendleft(reversed(kept))
        return runs

    def acknowledge(self) -> list[object]:
        """Tell, once per step, up to where assignments were read."""
        if self.connection is None or self.last_read == self._last_acked:
            return []
        self._last_acked = self.last_read
        return [Send(self.connection, AssignAck(number=self.last_read))]

    # ---- time

    def tick(self, now_ns: int) -> list[object]:
        """Dial when it is due, give an unanswered try up."""
        if self._answer_by_ns is not None and now_ns >= self._answer_by_ns:
            if self.is_opening():
                self._patience.given_up()
            return self.drop(now_ns, "no answer")
        if self._dial_at_ns is not None and now_ns >= self._dial_at_ns:
            self._dial_at_ns = None
            self.purpose = self._new_purpose()
            self._answer_by_ns = now_ns + int(DIAL_TIMEOUT_S * NS_PER_S)
            return [Dial(self.purpose, Preamble(Role.LANE, self.shard), self._address)]
        return []

    def next_deadline_ns(self) -> int | None:
        """When tick() has something to do, or None."""
        if self._answer_by_ns is None:
            return self._dial_at_ns
        return self._answer_by_ns

    def shift(self, late_ns: int) -> None:
        """Move the deadline that judges the worker."""
        if self._answer_by_ns is not None:
            self._answer_by_ns += late_ns


def _place(registered: Registered) -> tuple[object, ...]:
    """Return what a worker knows a node by, and which worker that is."""
    return (
        registered.instance_uid,
        registered.worker_count,
        registered.node_id,
        registered.row,
        registered.generation,
    )
