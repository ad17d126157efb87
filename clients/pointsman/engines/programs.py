"""Outside programs, run to their end: bytes in, bytes out, bounded in time and size."""

import asyncio
import os
import shutil
import signal
import sys

RUN_TIMEOUT_S = 30.0
OUTPUT_BYTES_MAX = 16 * 1024 * 1024
_STDERR_SHOWN = 200


class ProgramMissing(RuntimeError):
    """The program is not installed here; the message says what to install."""


class ProgramFailed(RuntimeError):
    """The program ended with an error, took too long or wrote too much."""


def is_installed(program: str) -> bool:
    return shutil.which(program) is not None


async def run_program(*command: str, stdin: bytes = b"", timeout_s: float = RUN_TIMEOUT_S) -> bytes:
    """Return what a program writes to standard output, or raise ProgramMissing, ProgramFailed.

    Cancelling the awaiting task ends the program too.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ProgramMissing(f"{command[0]} is not installed") from None
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await process.communicate(stdin)
    except TimeoutError:
        raise ProgramFailed(f"{command[0]} took longer than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            _end_at_once(process)
            await process.wait()
    if process.returncode:
        words = complaint.decode(errors="replace").strip()[-_STDERR_SHOWN:]
        raise ProgramFailed(f"{command[0]} ended with {process.returncode}: {words}")
    if len(output) > OUTPUT_BYTES_MAX:
        raise ProgramFailed(f"{command[0]} wrote more than {OUTPUT_BYTES_MAX} bytes")
    return output


def _end_at_once(process: asyncio.subprocess.Process) -> None:
    """Kill a program with all that it started: a shell script's pipeline outlives the shell."""
    if sys.platform == "win32":
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself in this very moment
