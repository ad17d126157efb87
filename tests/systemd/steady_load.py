"""Sessions that submit one job after another until a file says stop; then one line of counts.

    python steady_load.py ADDRESS SESSIONS FILE

After each result FILE holds how many every session has had at least; FILE.stop ends it.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from pointsman import Node, PointsmanError, connect


class Load:
    """What was answered, by session."""

    def __init__(self, address: str, file: Path) -> None:
        self.address = address
        self.file = file
        self.stop = file.with_suffix(".stop")
        self.done: Counter[int] = Counter()
        self.failed: list[str] = []

    async def submit_on(self, number: int) -> None:
        self.done[number] = 0
        async with connect(self.address, src="en", tgt="es") as session:
            while not self.stop.exists():
                try:
                    result = await session.submit(b"abc", services=["nmt"])
                    assert result.payload == b"cba"
                    self.done[number] += 1
                except PointsmanError as error:
                    self.failed.append(repr(error))
                self.tell()
                await asyncio.sleep(0.01)

    def tell(self) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{min(self.done.values())}\n")
        beside.replace(self.file)


async def main(address: str, sessions: int, file: Path) -> None:
    load = Load(address, file)
    node = Node(
        address,
        node_id="desk",
        services=["nmt"],
        nmt=[("en", "es")],
        max_concurrency=64,
        report_load=False,  # how busy this machine is shall not matter
    )

    @node.handler
    async def turn_round(job: object) -> bytes:
        return b"cba"

    serving = asyncio.create_task(node.run())
    await node.wait_ready()
    await asyncio.gather(*(load.submit_on(number) for number in range(sessions)))
    serving.cancel()
    await asyncio.wait([serving])  # it leaves, and its id is free for the next load
    print(f"failed {len(load.failed)}: {load.failed[:3]}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
