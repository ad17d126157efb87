"""Members of a NATS queue group that answer every request at once with its own payload.

python -m _load.peers.nats_nodes ADDRESS COUNT SLOTS
"""

import sys

import uvloop

from _load.orders import wait_for_end
from _load.peers.volley import Link, dial

HELLO = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
SUBJECT = b"bench.jobs"


class NatsLink(Link):
    """Reads the text protocol of NATS: `took` is told reply subject, last word of it and body.

    Source: the client protocol page of the NATS documentation.
    """

    def __init__(self, hello: bytes) -> None:
        super().__init__()
        self.out += HELLO + hello

    def absorb(self, data: bytes) -> int:
        """Take whole lines, and with a MSG its body."""
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            line = data[at:end]
            if line.startswith(b"MSG "):
                words = line.split(b" ")
                size = int(words[-1])
                if len(data) < end + 4 + size:
                    break
                self.took(words, data[end + 2 : end + 2 + size])
                end += size + 2
            elif line == b"PING":
                self.out += b"PONG\r\n"
            elif line.startswith(b"-ERR"):
                raise RuntimeError(f"nats-server answered {line!r}")
            at = end + 2
        self.read_all()
        return at

    def took(self, words: list[bytes], body: bytes) -> None:
        """One message, by the words of its line."""
        raise NotImplementedError

    def read_all(self) -> None:
        """Nothing more is there for now."""


class NatsNode(NatsLink):
    """One member of the queue group."""

    def __init__(self) -> None:
        super().__init__(b"SUB " + SUBJECT + b" workers 1\r\n")

    def took(self, words: list[bytes], body: bytes) -> None:
        """Answer: MSG subject sid reply size."""
        self.out += b"PUB %b %d\r\n%b\r\n" % (words[3], len(body), body)


async def main(address: str, count: int) -> None:
    """Join, then work until the bench is over."""
    await dial(address, [NatsNode() for _ in range(count)])
    await wait_for_end()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
