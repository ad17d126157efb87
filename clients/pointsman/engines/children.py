"""Talking with a program that was started in a process group of its own, and ending it."""

import asyncio
import os
import signal
import sys

READ_BYTES = 64 * 1024
COMPLAINT_BYTES_MAX = 4096
KILLED_S = 5.0


async def feed(stdin: asyncio.StreamWriter, payload: bytes) -> None:
    """Write all of its input, as far as it reads it."""
    try:
        stdin.write(payload)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        return  # it does not care for its input: its exit code tells whether that was right


async def read_end(stream: asyncio.StreamReader) -> bytes:
    """Read to the end; return the last of it, COMPLAINT_BYTES_MAX at most."""
    end = b""
    while chunk := await stream.read(READ_BYTES):
        end = (end + chunk)[-COMPLAINT_BYTES_MAX:]
    return end


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the program with all that it started, and wait a bounded time until it is over.

    Its end is only heard of when its pipes are read empty, and closed: a child that has left its
    group may keep them open for as long as it likes.
    """
    assert process.stdout
    assert process.stderr
    kill_group(process)
    rest = (read_end(process.stdout), read_end(process.stderr), process.wait())
    waits = [asyncio.ensure_future(each) for each in rest]
    try:
        await asyncio.wait(waits, timeout=KILLED_S)
    finally:
        for wait in waits:
            wait.cancel()


def kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill the program with all that it started; what has ended is not there to be killed.

    Safe after its own end too: its number stays taken while its group has a member.
    """
    try:
        if sys.platform == "win32":
            if process.returncode is None:
                process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
