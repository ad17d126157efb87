"""Workers of gearmand that answer every job at once with its own payload.

    python -m _load.peers.gearman_nodes ADDRESS COUNT SLOTS

A worker asks for as many jobs at once as it has slots, which few Gearman libraries do: they would
cost the server more.
"""

import sys

import uvloop

from _load.orders import wait_for_end
from _load.peers.gearman_wire import (
    CAN_DO,
    FUNCTION,
    GRAB_JOB,
    JOB_ASSIGN,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    WORK_COMPLETE,
    pack,
    read,
)
from _load.peers.volley import Link, dial

GRABS = 8


class GearmanNode(Link):
    """One worker: sleeps when told that there is no job, grabs some when woken."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0
        self.out += pack(CAN_DO, FUNCTION) + pack(PRE_SLEEP)

    def absorb(self, data: bytes) -> int:
        """Do what came, then ask for more."""
        messages, size = read(data)
        must_sleep = False
        wanted = 0
        for kind, body in messages:
            if kind == NOOP:
                wanted = GRABS
            elif kind == NO_JOB:
                self._asked -= 1
                must_sleep = True
            elif kind == JOB_ASSIGN:
                self._asked -= 1
                handle, _, payload = body.split(b"\0", 2)
                self.out += pack(WORK_COMPLETE, handle + b"\0" + payload)
                wanted = GRABS
        if wanted and not must_sleep:
            self.out += pack(GRAB_JOB) * max(0, wanted - self._asked)
            self._asked = max(self._asked, wanted)
        elif must_sleep and not self._asked:
            self.out += pack(PRE_SLEEP)
        return size


async def main(address: str, count: int) -> None:
    """Join, then work until the bench is over."""
    await dial(address, [GearmanNode() for _ in range(count)])
    await wait_for_end()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
