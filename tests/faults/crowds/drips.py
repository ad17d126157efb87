"""A crowd that drips bytes into connections until the service hangs up; a program of its own.

    python -m faults.crowds.drips PORT COUNT EVERY_S

Prints how many were turned away at once.  In the process of who measures, or of a node, thousands
would hold up that one's loop, and not the service.
"""

import asyncio
import struct
import sys
from time import monotonic

from pointsman_wire.framing import encode_frame
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import SessionInit

PREAMBLE = encode_preamble(Role.SESSION)
INIT = encode_frame(SessionInit())


async def drip(port: int, number: int, every_s: float) -> bool:
    """Send a byte now and then until the service hangs up; True when it never let us begin."""
    kind = number % 3
    said = (b"", PREAMBLE, PREAMBLE + INIT)[kind]
    # Longer than any deadline at this pace.
    drops = (PREAMBLE, INIT * 20, struct.pack("<II", 5_000, 500) + bytes(4_996))[kind]
    began_s = monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    try:
        writer.write(said)
        ending = asyncio.create_task(reader.read(-1))
        for drop in drops:
            if ending.done():
                break
            writer.write(bytes([drop]))
            await asyncio.wait([ending], timeout=every_s)
        async with asyncio.timeout(20):
            await asyncio.gather(ending, return_exceptions=True)
    finally:
        writer.transport.abort()
    return monotonic() - began_s < 1.0


async def crowd(port: int, count: int, every_s: float) -> int:
    """Drip on so many connections; return how many never began."""
    return sum(await asyncio.gather(*(drip(port, number, every_s) for number in range(count))))


if __name__ == "__main__":
    print(asyncio.run(crowd(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
