"""What came and was not read yet: the newest so many, and a count of those that were lost."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """For one reader, and a writer that does not wait for it; made inside a running loop."""

    def __init__(self, kept_max: int) -> None:
        # What came faster than it was read, and was dropped.
        self.missed_count = 0
        self._kept: deque[Item] = deque(maxlen=kept_max)
        self._news = asyncio.Event()
        self._is_over = False

    def put(self, item: Item) -> None:
        """Keep it for the reader, if need be instead of the oldest."""
        self.missed_count += len(self._kept) == self._kept.maxlen
        self._kept.append(item)
        self._news.set()

    def end(self) -> None:
        """Nothing more comes; what is kept is still read."""
        self._is_over = True
        self._news.set()

    async def next(self) -> Item | None:
        """Return the oldest, once there is one; None when nothing more comes."""
        while not self._kept:
            if self._is_over:
                return None
            self._news.clear()
            await self._news.wait()
        return self._kept.popleft()
