"""Looks at the file of client tokens, and tells the core when there are others or one has ended."""

from collections.abc import Callable
from pathlib import Path

from pointsman_shm.state_files import StateFileError
from pointsman_shm.tokens.judging import KnownToken
from pointsman_shm.tokens.token_file import Mark, TokenRecord, mark_of, read_tokens

Known = tuple[KnownToken, ...]


class TokenWatch:
    """`look` is called once a second; `tell` gets all tokens whenever they are not as before."""

    def __init__(
        self, path: Path, clock_s: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._path = path
        self._clock_s = clock_s
        self._say = say
        self._mark: Mark | None = None
        self._records: tuple[TokenRecord, ...] = ()
        self._known: Known = ()
        self.tell: Callable[[Known], None] = lambda known: None

    def first(self) -> Known:
        """Read the file as it is at the start.  Raises StateFileError for one that is damaged."""
        self._mark = mark_of(self._path)
        self._records = read_tokens(self._path)
        return self._now()

    def look(self) -> None:
        """Read the file again if it was replaced; one that cannot be read lets nobody in."""
        mark = mark_of(self._path)
        if mark != self._mark:
            self._mark = mark
            try:
                self._records = read_tokens(self._path)
            except StateFileError as error:
                self._records = ()
                self._say(f"no token of a client counts: {error}")
        before = self._known
        if self._now() != before:
            self.tell(self._known)

    def _now(self) -> Known:
        now_s = self._clock_s()
        self._known = tuple(record.known(now_s) for record in self._records)
        return self._known
