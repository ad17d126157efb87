"""What the core asks of the coordination backing in a step, and who waits for which answer.

All requests of one step travel in one command.  Every request is answered, by the backing or, when
it takes too long, by the shell in its place; so nothing here has a timer.
"""

from collections.abc import Callable
from typing import Any

from pointsman_wire.coordination.requests import NOTHING_SEEN, Answer, Owner, Request, Seen
from pointsman_workers.core.events import Coordinate, Coordinated

NO_BUCKET = -1
REQUESTS_A_COMMAND_MAX = 1_000  # what is more goes into another one


class CoordinationBook:
    """Numbers requests, and gives each answer to whom it concerns."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.is_up = False  # did the last answer come from the backing itself?
        # Told of each generation that an answer names, with the bucket; "": it is missing.
        self.met: Callable[[int, str], None] = lambda bucket, generation: None
        self._number = 0
        self._requests: list[Request] = []
        self._asked: dict[int, tuple[int, Callable[[Any], None]]] = {}
        self._seen: dict[int, Seen] = {}

    def next_number(self) -> int:
        """The number of the next request."""
        self._number += 1
        return self._number

    def seen(self, bucket: int) -> Seen:
        """What was last heard of a bucket; by it the backing finds out what it has forgotten."""
        return self._seen.get(bucket, NOTHING_SEEN)

    def ask(self, request: Request, act: Callable[[Any], None], bucket: int = NO_BUCKET) -> None:
        """Send a request with this step; `act` is given its answer."""
        self._requests.append(request)
        self._asked[request.number] = bucket, act

    def answered(self, event: Coordinated) -> None:
        """Take the answers to one command."""
        for answer in event.answers:
            asked = self._asked.pop(answer.number, None)
            if asked is not None:
                bucket, act = asked
                self._note(bucket, answer)
                act(answer)

    def _note(self, bucket: int, answer: Answer) -> None:
        self.is_up = answer.outcome not in ("down", "unknown")
        if bucket < 0 or not self.is_up:
            return
        seen, generation = self._seen.get(bucket), answer.generation
        if seen is not None and seen.generation == generation:  # nearly always
            if seen.counter < answer.counter:
                self._seen[bucket] = Seen(generation, answer.counter)
        elif generation:  # else the bucket is missing
            self._seen[bucket] = Seen(generation, answer.counter)
        self.met(bucket, generation)

    @property
    def waiting_count(self) -> int:
        """Requests without an answer."""
        return len(self._asked)

    def flush(self) -> list[Coordinate]:
        """Return what this step asks."""
        if not self._requests:
            return []
        requests, self._requests = self._requests, []
        starts = range(0, len(requests), REQUESTS_A_COMMAND_MAX)
        return [Coordinate(requests[at : at + REQUESTS_A_COMMAND_MAX]) for at in starts]
