"""A client of a run: sessions that submit one job after the other, or a share of a trace."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import msgspec

from pointsman import PointsmanError, Session, Unreachable, connect
from pointsman.options import SubmitOptions

TASKS_PER_SESSION = 3
JOB_S_MAX = 0.06
PAUSE_S_MAX = 0.12
DEADLINE_S = 3.0
OPEN_S = 30.0
END_S = 30.0
OPEN_MAX = 500
TOLD_EVERY = 5  # of so many jobs of a trace one is told how it was placed


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


async def replay(
    sessions: list[Session], trace: list[tuple[float, float]], is_over: asyncio.Event
) -> None:
    """Submit what the trace says, again from its beginning at its end, until it is over."""
    open_jobs = set[asyncio.Task[None]]()
    loop = asyncio.get_running_loop()
    began_s, number = loop.time(), 0
    while not is_over.is_set():
        at_s, service_s = trace[number % len(trace)]
        lap_s = (number // len(trace)) * (trace[-1][0] + 1.0)
        number += 1
        await asyncio.sleep(began_s + lap_s + at_s - loop.time())
        if len(open_jobs) < OPEN_MAX:  # what comes while so much is open is left out
            session = sessions[number % len(sessions)]
            is_told = number % TOLD_EVERY == 0
            task = loop.create_task(one(session, f"{number}".encode(), service_s, explain=is_told))
            open_jobs.add(task)
            task.add_done_callback(open_jobs.discard)
    await asyncio.gather(*open_jobs)


async def one(session: Session, payload: bytes, service_s: float, *, explain: bool) -> None:
    """Submit one job of a trace; what is refused or fails is not asked again."""
    options: SubmitOptions = {
        "services": ["nmt"],
        "meta": {"sleep_s": service_s},
        "wait_busy_s": END_S / 2,
        "explain": explain,
    }
    try:
        result = await session.submit(payload, **options)
    except PointsmanError:
        return
    if result.payload != payload[::-1]:
        raise WrongResult(f"{result.request_id} of {session.session_id}: {result.payload!r}")


def share_of(path: str, share: str) -> list[tuple[float, float]]:
    """Return every n-th request of a trace, beginning with the k-th, for a share k/n."""
    first, of = (int(word) for word in share.split("/"))
    trace = msgspec.json.decode(Path(path).read_bytes(), type=list[tuple[float, float]])
    return trace[first::of]


async def work(
    address: str, history: str, sessions: int, seed: int, trace: list[tuple[float, float]]
) -> None:
    """Keep so many sessions at work until SIGTERM; then wait for what is still open."""
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    opened: list[Session] = []
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
            opened.append(session)
            for task in range(0 if trace else TASKS_PER_SESSION):
                dice = Random(f"{seed}/{number}/{task}")
                tasks.create_task(ask(session, dice, is_over))
        if trace:
            tasks.create_task(replay(opened, trace, is_over))


if __name__ == "__main__":
    try:
        chosen = share_of(sys.argv[5], sys.argv[6]) if len(sys.argv) > 5 else []
        asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), chosen))
    except Unreachable as error:
        sys.exit(f"client: {error}")
