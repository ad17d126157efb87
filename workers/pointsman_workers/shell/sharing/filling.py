"""Inboxes that fill up: said once when one is nearly full, and once when it has room again.

Ours is looked at when we remove what we have absorbed, another's when we have sent to it: so the
inbox of a worker that reads nothing any more is told of by those who still write to it.
"""

from collections.abc import Callable

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Gauge
from pointsman_wire.coordination.inbox_requests import Place

ALARM_PERCENT = 80
CALM_PERCENT = 50
PLACES_MAX = 4_096


class FillingWatch:
    """Knows which inboxes are nearly full; `say` tells the log."""

    def __init__(self, length_max: int, stats: StatsPage, say: Callable[[str], None]) -> None:
        self._length_max = length_max
        self._stats = stats
        self._say = say
        self._filling: dict[Place, None] = {}

    def look(self, place: Place, length: int) -> None:
        """An inbox holds so many entries."""
        percent = 100 * length // self._length_max
        if place in self._filling:
            if percent < CALM_PERCENT:
                del self._filling[place]
                self._tell(place, f"has room again: {length} entries")
        elif percent >= ALARM_PERCENT and len(self._filling) < PLACES_MAX:
            self._filling[place] = None
            self._tell(
                place,
                f"holds {length} of at most {self._length_max} entries (redis.inbox_max): it is "
                "read more slowly than it is written to; when it is full, jobs for the nodes of "
                "that instance are refused with QUEUE_FULL",
            )

    def _tell(self, place: Place, words: str) -> None:
        self._stats.gauge(Gauge.INBOXES_FILLING, len(self._filling))
        self._say(f"the inbox of worker {place.shard} of instance {place.instance} {words}")
