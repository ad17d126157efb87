"""A client of tests as a program: submits jobs under ids that it is told, and says what came.

    python -m live.client_program ADDRESS SESSION_ID TGT COUNT

The requests are r0, r1, ... of the session; a second run asks again under the same ids.  For each
that ends it prints "done REQUEST_ID JOB_ID".
"""

import asyncio
import sys

from pointsman import connect


async def ask(address: str, session_id: str, tgt: str, count: int) -> None:
    """Submit all at once and wait for every result."""
    async with connect(address, session_id=session_id, src="en", tgt=tgt) as session:
        jobs = [
            session.submit(
                "payload",
                services=["nmt"],
                request_id=f"{session_id}/r{number}",
                meta={"sleep_s": 0.1},
                wait_busy_s=20,
                wait_none_s=20,
            )
            for number in range(count)
        ]
        for result in await asyncio.gather(*jobs):
            assert result.payload == b"daolyap", result
            print("done", result.request_id, result.job_id, flush=True)


def main() -> None:
    address, session_id, tgt, count = sys.argv[1:]
    asyncio.run(ask(address, session_id, tgt, int(count)))


if __name__ == "__main__":
    main()
