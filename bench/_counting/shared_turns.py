"""The turns of a worker that shares a fleet through Redis, and no sockets: for callgrind.

    python -m _counting.shared_turns DEPTH=JOBS...

As `turns`, with the worker's own coordinator, backing and pipelines, all of which counts; Redis is
played outside of what is counted: every key is free, and every end is heard.
"""

import asyncio
import sys
from collections.abc import Sequence
from operator import call
from typing import Any, cast

import hiredis
from msgspec.structs import replace

from _counting.turns import Journalled, Turns, play
from pointsman_shm.memory.ledger import OwnLedger
from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.reach.pipelines import Pipelines
from pointsman_wire.coordination.reach.server import Server
from pointsman_wire.coordination.scripting.call import Site
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES
from pointsman_wire.coordination.scripting.packing import Packer
from pointsman_wire.coordination.settings import RedisSettings
from pointsman_workers.core.events import Coordinate
from pointsman_workers.core.setup import SharingSettings, WorkerSetup
from pointsman_workers.journal.store import JournalStore
from pointsman_workers.shell.sharing.coordinator import Coordinator

GENERATION = b"90ed07c62a375b7f:5f1c5f1c5f1c5f1c"
SCRIPT_OF = {file.sha: name for name, file in SCRIPT_FILES.items()}
SETTLE_TURNS = 20  # until the buckets are open and the sessions read


class Redis(asyncio.Transport):
    """Stands for a stream, its transport and the server behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.transport = self
        self._asked = hiredis.Reader()
        self._counter = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Whose replies come from here."""
        self.protocol = cast(Pipelines, protocol)

    def write(self, data: Any) -> None:
        """Take commands."""
        self._asked.feed(data)

    def replies(self) -> bytes:
        """Answer what was asked."""
        found = []
        while (words := self._asked.gets()) is not False:
            self._counter += 1
            found.append(self._reply(SCRIPT_OF[words[1]]))
        return b"".join(found)

    def _reply(self, script: str) -> bytes:
        if script == "session_read":
            return b"*1\r\n$7\r\nmissing\r\n"
        if script == "session_write":
            return b"*1\r\n$4\r\ndone\r\n"
        head = b"$33\r\n%b\r\n:%d\r\n" % (GENERATION, self._counter)
        if script == "bind":
            return b"*3\r\n$3\r\nwon\r\n" + head
        tail = {"touch": b"$4\r\nopen\r\n", "republish": b"$0\r\n\r\n", "renew": b"$0\r\n\r\n"}
        more = tail.get(script, b"")
        return b"*%d\r\n$4\r\ndone\r\n" % (3 + bool(more)) + head + more


class Shared(Journalled):
    """A worker of an instance that is not alone."""

    def _setup(self, worker_index: int, own_ledger: OwnLedger) -> WorkerSetup:
        setup = super()._setup(worker_index, own_ledger)
        return replace(setup, sharing=SharingSettings(lease_s=45.0, is_local=False))

    def _connect(self) -> None:
        core, self.asked = self.core, list[Coordinate]()
        step = core.step

        def heard(now_ns: int, events: Sequence[object]) -> list[object]:
            commands = step(now_ns, events)
            self.asked += [command for command in commands if type(command) is Coordinate]
            return commands

        core.__dict__["step"] = heard  # until there is a coordinator
        super()._connect()
        del core.__dict__["step"]


class SharedTurns(Turns):
    """The worker, its peers, Redis, and the jobs in flight."""

    def __init__(self, store: JournalStore) -> None:
        world = Shared(store)
        super().__init__(store, world)
        self._redis = Redis()
        stats = world.core.shard.setup.memory.stats
        self._coordinator = Coordinator(self._reached(), self.driver.post, stats, _broken)
        for command in world.asked:
            self._coordinator.ask(command)
        for _ in range(SETTLE_TURNS):
            self._hear_redis()

    def _reached(self) -> RedisBacking:
        """A backing that has met its server."""
        backing = RedisBacking(RedisSettings(url="redis://127.0.0.1:6379"))
        (address,) = backing._routes.addresses()
        server = backing._servers[address] = Server(backing.settings, address)
        server.line._pipelines = Pipelines(cast(Any, self._redis))
        server._site = Site(server._keys, server._terms, GENERATION.partition(b":")[0].decode())
        server._packer, server._met = Packer(server._site), True
        return backing

    def _execute(self, command: Any) -> None:
        if type(command) is not Coordinate:
            super()._execute(command)
        else:
            self._coordinator.ask(command)

    def _turn(self) -> None:
        super()._turn()
        self._hear_redis()

    def _hear_redis(self) -> None:
        replies = self._redis.replies()
        if replies:
            call(self._redis.protocol.data_received, replies)
        super()._turn()


def _broken(error: BaseException) -> None:
    raise SystemExit(str(error))


if __name__ == "__main__":
    pairs = [word.partition("=") for word in sys.argv[1:]]
    asyncio.run(play({int(depth): int(jobs) for depth, _, jobs in pairs}, SharedTurns))
