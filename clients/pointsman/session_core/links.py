"""Links: dial, keep alive, notice silence, leave a worker that stops.

A link dials only while a session needs it.  Waits have full jitter: 0.5 s doubling to 30 s.
"""

from pointsman.backoff import DIAL_TIMEOUT_S, NS_PER_MS, NS_PER_S, STOOD_S, Backoff, even_share
from pointsman.session_core.events import Notice
from pointsman.session_core.records import Book, Link
from pointsman_wire.link import Close, Connection, Dial, Send
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import ClientHeartbeat, GoingAway

BACKOFF_FIRST_S = 0.5
BACKOFF_CAP_S = 30.0
INTERVAL_DEFAULT_S = 10.0
INTERVAL_MIN_S = 0.05
SILENT_INTERVALS = 3
# A stopping worker may finish what it runs: so long its connection is kept for the results.
LEAVE_S = 30.0
LEAVE_LOOK_S = 0.25
JUDGING = frozenset({"dial_end", "silent", "init_end", "open_end", "close_end"})


def new_link(book: Book, role: Role, key: int | None, address: str = "") -> Link:
    """Return a link that is not dialled yet."""
    backoff = Backoff(book.setup.entropy, first_s=BACKOFF_FIRST_S, cap_s=BACKOFF_CAP_S)
    return Link(role=role, key=key, backoff=backoff, address=address)


def dial(book: Book, link: Link) -> None:
    """Dial now, unless the link stands or is being dialled."""
    if link.connection is not None or link.purpose is not None:
        return
    book.timers.clear(link, "dial")
    link.purpose = book.new_purpose()
    book.by_purpose[link.purpose] = link
    book.timers.set(link, "dial_end", book.now_ns + int(DIAL_TIMEOUT_S * NS_PER_S))
    address = link.elsewhere.choose(book.now_ns, link.address)
    book.out.append(Dial(link.purpose, Preamble(link.role, link.key), address))


def stand(book: Book, link: Link, connection: Connection) -> None:
    """Take the connection that was dialled."""
    book.timers.clear(link, "dial_end")
    link.purpose = None
    link.connection = connection
    link.is_leaving = False
    link.error = None
    link.interval_ns = 0
    link.heard_at_ns = link.stood_since_ns = book.now_ns
    book.by_connection[connection] = link


def forget_connection(book: Book, link: Link) -> None:
    """Let go of connection or dial: it is lost, or shall be replaced."""
    if link.connection is not None:
        book.by_connection.pop(link.connection, None)
        if book.now_ns - link.stood_since_ns >= STOOD_S * NS_PER_S and link.interval_ns:
            link.backoff.reset()
    if link.purpose is not None:
        book.by_purpose.pop(link.purpose, None)
    link.connection = link.purpose = None
    link.by_number.clear()
    link.unsent.clear()
    link.unacknowledged.clear()
    link.window_count = link.window_bytes = 0
    book.timers.clear(link, "dial_end", "beat", "silent", "leave", "dial")


def wait_to_dial(book: Book, link: Link, retry_after_ms: int | None = None) -> None:
    """Dial again after a wait, if a session needs the link."""
    link.elsewhere.lost(book.now_ns)
    if link.sessions:
        delay_ns = link.backoff.next_delay_ns(retry_after_ms)
        book.timers.set(link, "dial", book.now_ns + delay_ns)


def hang_up(book: Book, link: Link, reason: str) -> None:
    """End the connection; its Closed is of no interest any more."""
    if link.connection is not None:
        book.out.append(Close(link.connection, reason))
    forget_connection(book, link)


def set_interval(book: Book, link: Link, interval_s: float) -> None:
    """Begin heartbeats with the first session that opens, or take a shorter interval."""
    interval_s = max(interval_s or INTERVAL_DEFAULT_S, INTERVAL_MIN_S)
    interval_ns = int(interval_s * NS_PER_S)
    if link.interval_ns and interval_ns >= link.interval_ns:
        return
    link.interval_ns = interval_ns
    book.timers.set(link, "beat", book.now_ns + int(interval_ns * even_share(book.setup.entropy)))
    book.timers.set(link, "silent", book.now_ns + SILENT_INTERVALS * interval_ns)


def beat(book: Book, link: Link) -> None:
    """Send a heartbeat: the link's sessions are alive."""
    assert link.connection is not None
    link.beats += 1
    book.out.append(Send(link.connection, ClientHeartbeat(number=link.beats)))
    book.timers.set(link, "beat", book.now_ns + link.interval_ns)


def is_silent(book: Book, link: Link) -> bool:
    """Has nothing at all come for three intervals?  If not, look again when that may be."""
    silent_at_ns = link.heard_at_ns + SILENT_INTERVALS * link.interval_ns
    if book.now_ns >= silent_at_ns:
        return True
    book.timers.set(link, "silent", silent_at_ns)
    return False


def going_away(book: Book, link: Link, message: GoingAway) -> None:
    """Take the worker's word that it is stopping, and where else there may be one."""
    link.elsewhere.tell(message.alternatives, message.elsewhere_after_ms)
    start_leaving(book, link, message.reconnect_after_ms)


def start_leaving(book: Book, link: Link, after_ms: int) -> None:
    """Submit nothing more here; leave once the delay is over and the results have come."""
    if link.is_leaving:
        return
    link.is_leaving = True
    book.out.append(Notice("the worker is stopping; connecting again in a moment"))
    jitter_ns = int(BACKOFF_FIRST_S * NS_PER_S * even_share(book.setup.entropy))
    leave_at_ns = book.now_ns + after_ms * NS_PER_MS + jitter_ns
    link.leave_by_ns = leave_at_ns + int(LEAVE_S * NS_PER_S)
    book.timers.set(link, "leave", leave_at_ns)


def may_leave(book: Book, link: Link) -> bool:
    """Is nothing awaited here any more?  If something is, look again in a moment."""
    sent = (r.is_sent for s in link.sessions.values() for r in s.requests.values())
    said = (t.sent_count for s in link.sessions.values() for t in s.turns.values())
    if book.now_ns >= link.leave_by_ns or not (any(sent) or any(said)):
        return True
    book.timers.set(link, "leave", book.now_ns + int(LEAVE_LOOK_S * NS_PER_S))
    return False
