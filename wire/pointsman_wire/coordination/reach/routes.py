"""Which server answers for a key: the url's, the one the Sentinels name, or by a Cluster's map."""

from typing import Any

from pointsman_wire.coordination.connection import (
    Line,
    NotReached,
    Unanswered,
    main_address,
    sentinel_addresses,
    slot_of,
)
from pointsman_wire.coordination.errors import Refusal
from pointsman_wire.coordination.reach.greeting import Address
from pointsman_wire.coordination.scripting.resp import pack
from pointsman_wire.coordination.settings import RedisSettings

SERVERS_MAX = 1_000


class Routes:
    """Finds the server for a key, and finds out again when it is told to be `stale`."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._asked = sentinel_addresses(settings)
        self._main = main_address(settings) if settings.url or not self._asked else None
        self._slots: list[tuple[int, int, Address]] = []  # a Cluster's map: first, last, primary
        self.may_change = bool(self._asked) or settings.cluster
        self.stale = self.may_change
        self.are_told = bool(self._asked)  # the Sentinels may change their mind unasked
        if self._asked:
            self._main = None

    @property
    def first_asked(self) -> list[Address]:
        """Whom the settings name."""
        return self._asked or ([self._main] if self._main else [])

    def addresses(self) -> set[Address]:
        """All servers that answer for some key, as far as is known."""
        return (
            {a for _, _, a in self._slots}
            if self._settings.cluster
            else {a for a in (self._main,) if a}
        )

    def address_for(self, key: str) -> Address | None:
        """The server for a key, as far as is known."""
        if not self._settings.cluster:
            return self._main
        slot = slot_of(key)
        return next((a for low, high, a in self._slots if low <= slot <= high), None)

    async def find(self) -> None:
        """Find out anew, where that can change.  Raises NotReached."""
        if not self.may_change:
            self.stale = False
            return
        troubles = []
        for address in self._whom():
            line = Line(self._settings, address, sentinel=bool(self._asked))
            try:
                await line.open()
                await self._learn(line)
            except (NotReached, Unanswered) as error:
                troubles.append(str(error))
            else:
                self.stale = False
                return
            finally:
                line.close()
        raise NotReached("; ".join(troubles)[:1_000])

    def _whom(self) -> list[Address]:
        if self._asked:
            return self._asked
        known = {a: None for _, _, a in self._slots}
        return [*known, *([self._main] if self._main and self._main not in known else [])]

    async def _learn(self, line: Line) -> None:
        if self._asked:
            service = self._settings.service
            words = pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service))
            (reply,) = await line.exchange([words])
            if isinstance(reply, Refusal):
                raise NotReached(f"the Sentinel at {line.address}: {reply}")
            if not isinstance(reply, list):
                raise NotReached(f"the Sentinel at {line.address} knows no service {service!r}")
            self._main = Address(reply[0].decode(), int(reply[1]))
            return
        (reply,) = await line.exchange([pack(("CLUSTER", "SLOTS"))])
        if isinstance(reply, Refusal) or not isinstance(reply, list) or not reply:
            raise NotReached(f"{line.address} has no map of a Cluster: {reply}")
        self._slots = [_range(row, line.address) for row in reply[:SERVERS_MAX]]


def _range(row: Any, asked: Address) -> tuple[int, int, Address]:
    low, high, primary = row[0], row[1], row[2]
    # A server that does not know its own name has an empty one: it is the one that was asked.
    host = primary[0].decode() if primary[0] else asked.host
    return int(low), int(high), Address(host, int(primary[1]))
