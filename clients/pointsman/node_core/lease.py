"""The node's lease: for how long it may believe that the server still counts on it.

The server declares a node dead when it heard nothing for so many heartbeat intervals, and gives
its jobs to others.  The node must come to the same conclusion, and not later, though it hears of
nothing: so an answer renews the lease from the moment at which the heartbeat *was sent* that it
answers.  A server that hears us while we do not hear it is gone for us as well.

    HELD ---- no answer for offline_intervals ----> LAPSED ---- registered, or a lane opened anew
      ^                                                |
      +------------------------------------------------+

A manager that died is no reason to stop, while its host is there: while no registration stands,
a control connection that could be opened, or a frame of a worker, keeps the lease as well.  When it
lapses, every lane is dropped, and what lies unread in them with it; what runs goes on.  Lanes that
are opened after that begin with a report, so worker and node agree again on what runs here.
"""

from collections import deque

# Heartbeats that were sent and not answered; older ones are of no use.
UNANSWERED_MAX = 32


class Lease:
    """Instants are the node's own, and its own sleep counts: while it slept it was not heard."""

    def __init__(self) -> None:
        self._span_ns = 0
        # When the heartbeat was sent that was answered last; None before the first registration.
        self._renewed_at_ns: int | None = None
        self._is_registered = False
        # While not registered: does the server's host answer, and when did it prove so last?
        self._does_host_answer = False
        self._host_at_ns = 0
        self._unanswered: deque[tuple[int, int]] = deque(maxlen=UNANSWERED_MAX)

    def stand(self, now_ns: int, span_ns: int) -> None:
        """A registration stands."""
        self._is_registered = self._does_host_answer = True
        self._renewed_at_ns = self._host_at_ns = now_ns
        self._span_ns = span_ns
        self._unanswered.clear()

    def set_span(self, span_ns: int) -> None:
        """The server has set another interval."""
        self._span_ns = span_ns

    def fall(self) -> None:
        """The registration is lost; whether the server is there is to be seen."""
        self._is_registered = False

    def sent(self, now_ns: int, number: int) -> None:
        """A heartbeat left."""
        self._unanswered.append((number, now_ns))

    def answered(self, number: int) -> None:
        """The server has heard this heartbeat."""
        while self._unanswered and self._unanswered[0][0] <= number:
            self._renewed_at_ns = self._unanswered.popleft()[1]

    def host_answers(self, now_ns: int) -> None:
        """A connection could be opened, or a worker said something."""
        self._does_host_answer = True
        self._host_at_ns = max(self._host_at_ns, now_ns)

    def host_is_silent(self) -> None:
        """A dial came to nothing, or a connection was given up for its silence."""
        self._does_host_answer = False

    def is_over(self, now_ns: int) -> bool:
        """Must the server think that this node is dead?"""
        deadline_ns = self.deadline_ns()
        return deadline_ns is not None and now_ns >= deadline_ns

    def deadline_ns(self) -> int | None:
        """Until when it is held if nothing more is heard; None: nothing speaks against it."""
        if self._renewed_at_ns is None:
            return None
        if self._is_registered:
            return self._renewed_at_ns + self._span_ns
        if self._does_host_answer:
            return None
        return max(self._renewed_at_ns, self._host_at_ns) + self._span_ns

    def lapse(self) -> None:
        """It is over, and what follows from that was done: nothing more until it is renewed."""
        self._renewed_at_ns = None
        self._is_registered = False
