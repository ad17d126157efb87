"""A client of a run: sessions that submit one job after the other until they are asked to end."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from random import Random

from pointsman import PointsmanError, Session, Unreachable, connect
from pointsman.options import SubmitOptions

TASKS_PER_SESSION = 3
JOB_S_MAX = 0.06
PAUSE_S_MAX = 0.12
DEADLINE_S = 3.0
OPEN_S = 30.0
END_S = 30.0


class WrongResult(AssertionError):
    """A job came back with what no node made of its payload."""


async def ask(session: Session, dice: Random, is_over: asyncio.Event) -> None:
    """Submit one job after the other; what is refused or fails is not asked again."""
    number = 0
    while not is_over.is_set():
        number += 1
        payload = f"{session.session_id} {number}".encode() * dice.randint(1, 40)
        options: SubmitOptions = {
            "services": ["nmt"],
            "meta": {"sleep_s": dice.random() * JOB_S_MAX},
            "wait_busy_s": END_S / 2,
            "wait_none_s": END_S / 2,
            "explain": dice.random() < 0.2,
        }
        if dice.random() < 0.05:
            options["deadline_s"] = DEADLINE_S
        try:
            result = await session.submit(payload, **options)
        except PointsmanError:
            await asyncio.sleep(dice.random() * PAUSE_S_MAX)
            continue
        if result.payload != payload[::-1]:
            raise WrongResult(f"{result.request_id} of {session.session_id}: {result.payload!r}")
        await asyncio.sleep(dice.random() * PAUSE_S_MAX)


async def work(address: str, history: str, sessions: int, seed: int) -> None:
    """Keep so many sessions at work until SIGTERM; then wait for what is still open."""
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            session = await stack.enter_async_context(
                connect(
                    address,
                    src="en",
                    tgt="es",
                    history=history,
                    connect_timeout_s=OPEN_S,
                    close_timeout_s=END_S,
                )
            )
            for task in range(TASKS_PER_SESSION):
                dice = Random(f"{seed}/{number}/{task}")
                tasks.create_task(ask(session, dice, is_over))


if __name__ == "__main__":
    try:
        asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    except Unreachable as error:
        sys.exit(f"client: {error}")
