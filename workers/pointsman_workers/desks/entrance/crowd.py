"""How many sessions a tenant and an address have, over all workers of the host."""

from pointsman_shm.config import LimitsConfig, SessionsConfig
from pointsman_shm.memory.named_counts import NamedCount
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.sockets.bounds import is_loopback, whence
from pointsman_workers.core.turns.names import NamedCounts

RETRY_AFTER_MS = 1_000
SESSIONS, ADDRESS = "sessions", "address"


class Crowd:
    """Counts; what is at 0 is forgotten, so it is as large as what it counts at most."""

    def __init__(self, sessions: SessionsConfig, limits: LimitsConfig, names: NamedCounts) -> None:
        self.configure(sessions, limits)
        self._names = names
        self._count = 0
        self._by_tenant: dict[str, int] = {}  # sessions, those that may be resumed included
        self._by_address: dict[str, int] = {}  # sessions that are on a connection

    def configure(self, sessions: SessionsConfig, limits: LimitsConfig) -> None:
        """Other bounds hold from now on; who is here stays."""
        self._sessions_max = sessions.sessions_max
        self._per_address_max = limits.sessions_per_address_max

    def opened(self, tenant: str) -> None:
        """A session of the tenant stands."""
        self._count += 1
        self._by_tenant[tenant] = self._by_tenant.get(tenant, 0) + 1
        self._names.add(NamedCount.HELD, SESSIONS, tenant, 1)

    def ended(self, tenant: str) -> None:
        """One has ended."""
        self._count -= 1
        _take_one(self._by_tenant, tenant)
        self._names.add(NamedCount.HELD, SESSIONS, tenant, -1)

    def came(self, address: str) -> None:
        """A session is on a connection from there."""
        place = whence(address)
        self._by_address[place] = self._by_address.get(place, 0) + 1
        self._names.add(NamedCount.HELD, ADDRESS, place, 1)

    def left(self, address: str) -> None:
        """It is on that connection no more."""
        place = whence(address)
        _take_one(self._by_address, place)
        self._names.add(NamedCount.HELD, ADDRESS, place, -1)

    def full(self, tenant: str, sessions_max: int | None) -> ErrorInfo | None:
        """Why the tenant gets no further session here; None if it does."""
        if self._count >= self._sessions_max:
            text = f"{self._count} sessions are open at this worker, none more may be"
            return error_info(Code.QUEUE_FULL, text, retry_after_ms=RETRY_AFTER_MS)
        if sessions_max is None:
            return None
        count = self._by_tenant.get(tenant, 0)
        count += self._names.elsewhere(NamedCount.HELD, SESSIONS, tenant)
        if count < sessions_max:
            return None
        return _refusal(f"tenant {tenant!r} has {count} sessions, at most {sessions_max} may be")

    def full_address(self, address: str) -> ErrorInfo | None:
        """Why no further session may come from there; from loopback any number may."""
        if is_loopback(address):
            return None
        place = whence(address)
        count = self._by_address.get(place, 0)
        count += self._names.elsewhere(NamedCount.HELD, ADDRESS, place)
        if count < self._per_address_max:
            return None
        text = f"{count} sessions come from {place}, at most {self._per_address_max} may"
        return _refusal(text)


def _take_one(counts: dict[str, int], name: str) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]


def _refusal(text: str) -> ErrorInfo:
    return error_info(Code.RATE_LIMITED, text, retry_after_ms=RETRY_AFTER_MS)
