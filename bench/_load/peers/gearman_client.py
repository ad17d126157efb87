"""A client of gearmand that keeps a number of jobs in flight.

python -m _load.peers.gearman_client ADDRESS CONNECTIONS NAME=PID...
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence

import uvloop

from _load.orders import obey, read_watched
from _load.peers.gearman_wire import FUNCTION, JOB_CREATED, SUBMIT_JOB, WORK_COMPLETE, pack, read
from _load.peers.volley import PAYLOAD, RequestLink, Volley, dial

IN_FLIGHT_MAX = 100_000


class GearmanLink(RequestLink):
    """Jobs are acknowledged in the order of their submits, and end by their handle."""

    def __init__(self, ended: Callable[[RequestLink, Sequence[int]], None]) -> None:
        super().__init__(ended)
        self._submitted: deque[int] = deque(maxlen=IN_FLIGHT_MAX)
        self._by_handle: dict[bytes, int] = {}

    def request(self, number: int) -> None:
        """Queue a submit; its unique id is left to the server."""
        self._submitted.append(number)
        self.out += pack(SUBMIT_JOB, FUNCTION + b"\0\0" + PAYLOAD)

    def absorb(self, data: bytes) -> int:
        """Learn handles, and end what has ended."""
        messages, size = read(data)
        ended = []
        for kind, body in messages:
            if kind == JOB_CREATED:
                self._by_handle[body] = self._submitted.popleft()
            elif kind == WORK_COMPLETE:
                ended.append(self._by_handle.pop(body.partition(b"\0")[0]))
            else:
                raise RuntimeError(f"gearmand answered {kind}: {body!r}")
        self.ended(self, ended)
        return size


async def main(address: str, count: int, watched: dict[str, int]) -> None:
    """Open the connections, then obey."""
    volley = Volley({**watched, "client": os.getpid()}, GearmanLink, count)
    await dial(address, volley.links)
    await obey(volley.run)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), read_watched(sys.argv[3:])))
