"""The control connection: how a node joins, stays known, and judges whether the server is there.

       dial        Dialled, send register       registered
    ------> DIALLING -----------> REGISTERING -----------> STANDING
    ^                                   |                     |
    +------ wait (full jitter) <--------+---------------------+
            lost, refused for now, silent, no answer in time

What it hears and does not hear keeps or ends the node's lease (lease.py).
"""

from collections.abc import Callable

import msgspec

from pointsman.backoff import (
    DIAL_TIMEOUT_S,
    NS_PER_S,
    STOOD_S,
    Backoff,
    Entropy,
    Patience,
    even_share,
)
from pointsman.node_core.events import Notice, PauseWished, ResourcesMeasured, StateChanged
from pointsman.node_core.lease import Lease
from pointsman.secure.elsewhere import Elsewhere
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    Register,
    Registered,
    Renew,
    Service,
)
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import LaneGoingAway
from pointsman_wire.link import Close, Connection, Dial, Send
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.preamble import Preamble, Role

BACKOFF_FIRST_S = 0.5
BACKOFF_CAP_S = 30.0
ANSWER_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_MAX_S = 60.0
# A known node is sent away for these: its id is somebody else's, or its key was revoked.
FATAL_LATER = frozenset({Code.NODE_ID_CONFLICT.value, Code.UNAUTHORIZED.value})
INTERVAL_MIN_S = 0.05
INTERVAL_MAX_S = 60.0


class ControlLink:
    """One control connection at a time, dialled again whenever it is lost."""

    def __init__(
        self,
        register: Register,
        entropy: Entropy,
        new_purpose: Callable[[], int],
        running_count: Callable[[], int],
        going_away: Callable[[], LaneGoingAway | None] = lambda: None,
    ) -> None:
        self.register = register
        self.connection: Connection | None = None
        self.purpose: int | None = None
        # Set exactly while STANDING: what the server answered.
        self.registered: Registered | None = None
        self.figures = ResourcesMeasured()
        self.lease = Lease()
        self.paused = False
        self.pause_reason = ""
        self._backoff = Backoff(entropy, first_s=BACKOFF_FIRST_S, cap_s=BACKOFF_CAP_S)
        self._patience = Patience(first_s=ANSWER_TIMEOUT_S, cap_s=ANSWER_TIMEOUT_MAX_S)
        self._entropy = entropy
        self._new_purpose = new_purpose
        self._running_count = running_count
        # What the workers say that are stopping, and where the service is that this node is at.
        self._going_away = going_away
        self._elsewhere = Elsewhere()
        self.address = ""
        self._interval_ns = NS_PER_S
        # After so many without an answer the server must think this node dead.
        self._offline_intervals = Registered().offline_intervals
        self._dial_at_ns: int | None = 0
        # While DIALLING and REGISTERING: when to give this try up.
        self._answer_by_ns: int | None = None
        self._heartbeat_at_ns: int | None = None
        self._number = 0
        self._services_changed: list[Service] | None = None
        self._stood_since_ns = 0
        self._silent_by_ns: int | None = None

    # ---- what happened

    def dialled(self, now_ns: int, connection: Connection) -> list[object]:
        """Register on the new connection."""
        self.purpose = None
        self.connection = connection
        self.lease.host_answers(now_ns)
        self._answer_by_ns = now_ns + self._patience.limit_ns()
        # What changes from here on is not in this registration: a heartbeat tells it.
        self._services_changed = None
        return [Send(connection, self.register)]

    def dial_failed(self, now_ns: int, reason: str) -> list[object]:
        """Wait and dial again."""
        self.purpose = None
        self.lease.host_is_silent()
        return self._wait(now_ns, f"cannot reach the server: {reason}")

    def closed(self, now_ns: int, reason: str) -> list[object]:
        """Wait and dial again; what runs goes on running."""
        if self.registered and now_ns - self._stood_since_ns >= STOOD_S * NS_PER_S:
            self._backoff.reset()
        self.connection = None
        return self._wait(now_ns, f"the control connection was lost: {reason or 'closed'}")

    def stand(self, now_ns: int, registered: Registered) -> list[object]:
        """Take the registration's answer: from now on heartbeats are due."""
        self.registered = registered
        self.address = self._elsewhere.arrived()
        self._patience.answered()
        self.register = msgspec.structs.replace(
            self.register, node_id=registered.node_id, key=registered.key or self.register.key
        )
        self._answer_by_ns = None
        self._stood_since_ns = now_ns
        self._offline_intervals = max(2, registered.offline_intervals)
        self._set_interval(registered.heartbeat_interval_s)
        self.lease.stand(now_ns, self._offline_intervals * self._interval_ns)
        # Spread over the interval, so that a restarted server is not met by all in one instant.
        share = even_share(self._entropy)
        self._heartbeat_at_ns = now_ns + int(self._interval_ns * share)
        self._expect_answer(now_ns)
        return [StateChanged("registered")]

    def heard(self, now_ns: int, ack: HeartbeatAck) -> None:
        """Take a heartbeat's answer: the server hears us, and may set another interval."""
        self.lease.answered(ack.number)
        if ack.heartbeat_interval_s:
            self._set_interval(ack.heartbeat_interval_s)
            self.lease.set_span(self._offline_intervals * self._interval_ns)
        self._expect_answer(now_ns)

    def is_fatal(self, error: ErrorInfo) -> bool:
        """Does this error say that the node shall not come back?"""
        if self.registered:
            # Other errors answer single messages, such as one that this server does not know.
            return error.code in FATAL_LATER and not error.retryable
        # What another instance refuses says nothing of the node's own.
        return not error.retryable and not self._elsewhere.is_away

    def refused(self, now_ns: int, error: ErrorInfo) -> list[object]:
        """Take an error that is not fatal: the registration waits, anything else is only told."""
        notice = Notice(f"the server says {error.code}: {error.message}")
        if self.registered:
            return [notice]
        self._patience.answered()
        return [notice, *self.restart(now_ns, error.message, error.retry_after_ms)]

    def restart(self, now_ns: int, reason: str, retry_after_ms: int | None = None) -> list[object]:
        """Give this registration up and try anew after a wait."""
        return [*self.close(reason), *self._wait(now_ns, reason, retry_after_ms)]

    def close(self, reason: str) -> list[object]:
        """End the connection, if there is one; its Closed is of no interest any more."""
        connection, self.connection = self.connection, None
        self.registered = None
        self.lease.fall()
        self._answer_by_ns = self._heartbeat_at_ns = self._silent_by_ns = self._dial_at_ns = None
        return [] if connection is None else [Close(connection, reason)]

    # ---- wishes

    def change_services(self, services: list[Service]) -> None:
        """Tell the next heartbeat, or the next registration, the services as they are now."""
        if services != self.register.services:
            self.register = msgspec.structs.replace(self.register, services=services)
            self._services_changed = services

    def beat(self, now_ns: int) -> list[object]:
        """Send a heartbeat now; the next one is due an interval later."""
        if self.connection is None or self.registered is None:
            return []
        self._number += 1
        self._heartbeat_at_ns = now_ns + self._interval_ns
        self.lease.sent(now_ns, self._number)
        services, self._services_changed = self._services_changed, None
        heartbeat = Heartbeat(
            number=self._number,
            cpu_percent=self.figures.cpu_percent,
            gpu_percent=self.figures.gpu_percent,
            gpu_memory_percent=self.figures.gpu_memory_percent,
            memory_percent=self.figures.memory_percent,
            running=self._running_count() + self.figures.foreign_jobs,
            services=services,
            pause=self.paused,
            pause_reason=self.pause_reason,
        )
        return [Send(self.connection, heartbeat)]

    def pause(self, now_ns: int, wish: PauseWished) -> list[object]:
        """Take the owner's wish; if it is news, tell it at once."""
        is_news = wish.paused != self.paused
        self.paused = wish.paused
        self.pause_reason = wish.reason if wish.paused else ""
        return self.beat(now_ns) if is_news else []

    def renew(self, request: bytes) -> list[object]:
        """Ask for a newer certificate; while there is no server the wish is dropped."""
        if self.connection is None or self.registered is None:
            return []
        return [Send(self.connection, Renew(request=request))]

    # ---- time

    def tick(self, now_ns: int) -> tuple[list[object], bool]:
        """Do what is due; the second value says that a heartbeat was sent."""
        if self._answer_by_ns is not None and now_ns >= self._answer_by_ns:
            # A dial without an end is answered late or never; a late connection is closed then.
            if self.connection is None:
                self.lease.host_is_silent()
            else:
                self._patience.given_up()
            self.purpose = None
            return self.restart(now_ns, "the server does not answer"), False
        if self._silent_by_ns is not None and now_ns >= self._silent_by_ns:
            self.lease.host_is_silent()
            return self.restart(now_ns, "the server has gone silent"), False
        if self._heartbeat_at_ns is not None and now_ns >= self._heartbeat_at_ns:
            return self.beat(now_ns), True
        if self._dial_at_ns is not None and now_ns >= self._dial_at_ns:
            self._dial_at_ns = None
            self.purpose = self._new_purpose()
            self._answer_by_ns = now_ns + int(DIAL_TIMEOUT_S * NS_PER_S)
            going = self._going_away() or LaneGoingAway()
            self._elsewhere.tell(going.alternatives, going.elsewhere_after_ms)
            address = self._elsewhere.choose(now_ns, self.address)
            return [Dial(self.purpose, Preamble(Role.CONTROL, None), address)], False
        return [], False

    def next_deadline_ns(self) -> int | None:
        """When tick() has something to do, or None."""
        times = (
            self._answer_by_ns,
            self._silent_by_ns,
            self._heartbeat_at_ns,
            self._dial_at_ns,
            self.lease.deadline_ns(),
        )
        return min((time for time in times if time is not None), default=None)

    def shift(self, late_ns: int) -> None:
        """Move the deadlines that judge the server; the node's own lease is not extended."""
        if self._answer_by_ns is not None:
            self._answer_by_ns += late_ns
        if self._silent_by_ns is not None:
            self._silent_by_ns += late_ns

    def _expect_answer(self, now_ns: int) -> None:
        """Leave a silent server one interval before it must think that we are dead."""
        self._silent_by_ns = now_ns + (self._offline_intervals - 1) * self._interval_ns

    def _wait(self, now_ns: int, reason: str, retry_after_ms: int | None = None) -> list[object]:
        self.registered = None
        self.lease.fall()
        self._elsewhere.lost(now_ns)
        self._answer_by_ns = self._heartbeat_at_ns = self._silent_by_ns = None
        self._dial_at_ns = now_ns + self._backoff.next_delay_ns(retry_after_ms)
        return [StateChanged("connecting", reason)]

    def _set_interval(self, interval_s: float) -> None:
        interval_s = min(max(interval_s, INTERVAL_MIN_S), INTERVAL_MAX_S)
        self._interval_ns = int(interval_s * NS_PER_S)
