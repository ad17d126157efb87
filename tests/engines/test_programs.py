"""Outside programs: their output, their failures, and that none is left running."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import pytest

from pointsman.engines.programs import ProgramFailed, ProgramMissing, run_program

# A shell that starts another one; both say their process id in a file and stay.
STAYS = """
sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0.child"; sleep 60; :' "$0" &
echo $$ >"$0"
wait
"""


async def test_a_program_gets_its_input_and_gives_its_output() -> None:
    program = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert await run_program(sys.executable, "-c", program, stdin=b"hola") == b"HOLA"


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program"):
        await run_program("no-such-program")


async def test_a_failing_program_is_quoted() -> None:
    with pytest.raises(ProgramFailed, match=r"ended with 1: .*no voice"):
        await run_program(sys.executable, "-c", "raise SystemExit('no voice')")


async def test_a_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="longer than 1 s"):
        await run_program("sh", "-c", STAYS, str(tmp_path / "pid"), timeout_s=1.0)
    await wait_until_gone(tmp_path)


async def test_a_cancelled_task_ends_its_program_with_what_it_started(tmp_path: Path) -> None:
    task = asyncio.create_task(run_program("sh", "-c", STAYS, str(tmp_path / "pid")))
    await wait_until(lambda: (tmp_path / "pid.child").exists())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_gone(tmp_path)


async def test_a_program_that_writes_without_end_is_ended_while_it_writes() -> None:
    """It would fill the memory before it was found to have written too much."""
    before = getrusage(RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(20):
        with pytest.raises(ProgramFailed, match="wrote more than 16777216 bytes"):
            await run_program("yes", timeout_s=10.0)
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 100 * 1024


async def test_of_endless_complaints_the_end_is_quoted() -> None:
    script = "yes nonsense | head -c 40000000 >&2; echo the end >&2; exit 1"
    with pytest.raises(ProgramFailed, match=r"(?s)ended with 1: nonsense.*the end$"):
        await run_program("sh", "-c", script)


async def test_a_program_need_not_read_what_it_is_given() -> None:
    assert await run_program("echo", "done", stdin=bytes(4_000_000)) == b"done\n"


async def wait_until_gone(folder: Path) -> None:
    pids = [int((folder / name).read_text()) for name in ("pid", "pid.child")]
    await wait_until(lambda: not any(is_running(pid) for pid in pids))


async def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited 10 s in vain")


def is_running(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
