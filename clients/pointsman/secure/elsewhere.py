"""Where to dial when the service that was told to us does not come back.

A worker that stops names other instances of its fleet.  It is only stopping to be restarted, most
often, so its own place is dialled first, and for a while nothing else:

    told, lost --> its own place, for 10 s --> the others and its own place in turn

How long its own place has to itself the worker says; a service that is drained for good says: not
at all.
Whoever lets us in is the place that is dialled from then on, and what was told is forgotten.  An
alternative is a host and a port: scheme, authorities and pins are those of the place it stands for,
so who must not be believed there is not believed here.
"""

import re
from collections.abc import Iterable

from pointsman.backoff import NS_PER_MS, NS_PER_S

# So long at most its own place alone is dialled, whatever the worker says.
ELSEWHERE_MAX_S = 60.0
ALTERNATIVES_MAX = 8
_PLACE = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_PORTS = range(1, 65_536)


def sound(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return what is HOST:PORT of these, each once and at most ALTERNATIVES_MAX."""
    found = {place: _PLACE.fullmatch(place) for place in addresses}
    kept = [place for place, match in found.items() if match and int(match[1]) in _PORTS]
    return tuple(kept[:ALTERNATIVES_MAX])


class Elsewhere:
    """The place that is dialled next; "" is the address that the user gave."""

    def __init__(self) -> None:
        self.dialled = ""
        # Is what was dialled last another place than its own?
        self.is_away = False
        self._others: tuple[str, ...] = ()
        self._after_ns = 0
        self._lost_at_ns: int | None = None
        self._turn = 0

    def tell(self, addresses: Iterable[str], after_ms: int) -> None:
        """The service named these other places, for when it has been away for so long."""
        self._others = sound(addresses)
        self._after_ns = min(after_ms * NS_PER_MS, int(ELSEWHERE_MAX_S * NS_PER_S))

    def lost(self, now_ns: int) -> None:
        """Nobody is there: the first such moment begins the wait."""
        if self._lost_at_ns is None:
            self._lost_at_ns = now_ns

    def choose(self, now_ns: int, own: str) -> str:
        """Return where to dial now."""
        self.dialled = own
        lost_at_ns = self._lost_at_ns
        if self._others and lost_at_ns is not None and now_ns >= lost_at_ns + self._after_ns:
            places = (*self._others, own)
            self.dialled = places[self._turn % len(places)]
            self._turn += 1
        self.is_away = self.dialled != own
        return self.dialled

    def arrived(self) -> str:
        """We were let in; return where."""
        self._others, self._lost_at_ns, self._turn = (), None, 0
        self.is_away = False
        return self.dialled
