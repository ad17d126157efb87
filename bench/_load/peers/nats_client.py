"""A client of nats-server that keeps a number of requests in flight.

python -m _load.peers.nats_client ADDRESS CONNECTIONS NAME=PID...
"""

import os
import sys
from collections.abc import Callable, Sequence

import uvloop

from _load.orders import obey, read_watched
from _load.peers.nats_nodes import HELLO, SUBJECT, NatsLink
from _load.peers.volley import PAYLOAD, RequestLink, Volley, dial


class NatsRequests(NatsLink, RequestLink):
    """Requests whose replies come to an inbox of this link, the number as its last word."""

    def __init__(self, ended: Callable[[RequestLink, Sequence[int]], None]) -> None:
        self._inbox = b"inbox.%d." % id(self)
        RequestLink.__init__(self, ended)  # a NatsLink's own knows of no `ended`
        self.out += HELLO + b"SUB " + self._inbox + b"* 1\r\n"
        self._ended: list[int] = []

    def request(self, number: int) -> None:
        """Queue one request."""
        self.out += b"PUB %b %b%d %d\r\n%b\r\n" % (
            SUBJECT,
            self._inbox,
            number,
            len(PAYLOAD),
            PAYLOAD,
        )

    def took(self, words: list[bytes], body: bytes) -> None:
        """A reply: MSG inbox.ID.NUMBER sid size."""
        self._ended.append(int(words[1].rpartition(b".")[2]))

    def read_all(self) -> None:
        """Tell of all that one read brought."""
        if self._ended:
            ended, self._ended = self._ended, []
            self.ended(self, ended)


async def main(address: str, count: int, watched: dict[str, int]) -> None:
    """Open the connections, then obey."""
    volley = Volley({**watched, "client": os.getpid()}, NatsRequests, count)
    await dial(address, volley.links)
    await obey(volley.run)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), read_watched(sys.argv[3:])))
