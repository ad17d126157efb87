"""The level of the log that a reload asks for, brought to every process of the service.

Each process has its own log and obeys `log_level_order` at its admin socket, as it does when an
operator sends one.  Who starts later reads the file.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pointsman_shm.logs.config_logs import LevelName
from pointsman_wire.order_messages import LogLevel, LogLevelOrder
from pointsman_wire.sockets.admin import AdminError, give_order

BY = "reload"


class LogLevels:
    """Follows the configuration in force; `places` are the admin sockets of the others."""

    def __init__(
        self,
        level: LevelName,
        *,
        places: Callable[[], list[Path]],
        own: Callable[[str], object],
        say: Callable[[str], None],
    ) -> None:
        self._level = level
        self._places = places
        self._own = own
        self._say = say
        self._telling: asyncio.Task[None] | None = None

    def follow(self, level: LevelName) -> None:
        """This level is configured from now on; one that is not new stays as operators set it."""
        if level == self._level:
            return
        self._level = level
        self._own(level)
        if self._telling is not None:
            self._telling.cancel()
        self._telling = asyncio.get_running_loop().create_task(self._tell_all(level))

    def close(self) -> None:
        """Tell nobody else."""
        if self._telling is not None:
            self._telling.cancel()

    async def _tell_all(self, level: LevelName) -> None:
        order = LogLevelOrder(level, by=BY)
        await asyncio.gather(*(self._tell(place, order) for place in self._places()))

    async def _tell(self, place: Path, order: LogLevelOrder) -> None:
        try:
            answer = await give_order(place, order)
            is_done, why = isinstance(answer, LogLevel), str(answer)
        except AdminError as error:
            is_done, why = False, str(error)
        if not is_done:
            self._say(f"{place.stem} logs as before, until `pointsman log-level`: {why}")
