"""A core with somebody beside it who writes down what it was told and what it wished."""

from collections.abc import Sequence
from typing import Any, Protocol

from pointsman.recording.facts import Fact
from pointsman.recording.history_file import HistoryFile


class Scribe(Protocol):
    """Tells facts from the turns of one core."""

    def turn(self, now_ns: int, events: Sequence[Any], commands: Sequence[Any]) -> list[Fact]:
        """Return what one turn adds to the history."""


class Decider(Protocol):
    """The core."""

    def step(self, now_ns: int, events: Any, /) -> list[Any]: ...

    def next_deadline_ns(self) -> int | None: ...


class RecordedCore:
    """Steps the core; what a turn says is in the file before any of its commands is executed."""

    def __init__(self, core: Decider, scribe: Scribe, file: HistoryFile) -> None:
        self._core = core
        self._scribe = scribe
        self._file = file
        self.next_deadline_ns = core.next_deadline_ns

    def step(self, now_ns: int, events: Sequence[Any], /) -> list[Any]:
        """Absorb what happened and return what shall be done, in order."""
        commands = self._core.step(now_ns, events)
        self._file.write(self._scribe.turn(now_ns, events, commands))
        return commands
