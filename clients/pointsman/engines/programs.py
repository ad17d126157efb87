"""Outside programs, run to their end: bytes in, bytes out, bounded in time and size."""

import asyncio
import shutil

from pointsman.engines.children import READ_BYTES, end, feed, read_end

RUN_TIMEOUT_S = 30.0
OUTPUT_BYTES_MAX = 16 * 1024 * 1024
_STDERR_SHOWN = 200


class ProgramMissing(RuntimeError):
    """The program is not installed here; the message says what to install."""


class ProgramFailed(RuntimeError):
    """The program ended with an error, took too long or wrote too much."""


class _WroteTooMuch(Exception):
    """More than anybody wants to hold."""


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
            output, complaint = await _converse(process, stdin)
    except TimeoutError:
        raise ProgramFailed(f"{command[0]} took longer than {timeout_s:g} s") from None
    except _WroteTooMuch:
        raise ProgramFailed(f"{command[0]} wrote more than {OUTPUT_BYTES_MAX} bytes") from None
    finally:
        if process.returncode is None:
            await end(process)
    if process.returncode:
        words = complaint.decode(errors="replace").strip()[-_STDERR_SHOWN:]
        raise ProgramFailed(f"{command[0]} ended with {process.returncode}: {words}")
    return output


async def _converse(process: asyncio.subprocess.Process, stdin: bytes) -> tuple[bytes, bytes]:
    """Return (output, end of the complaints) of a program that has ended by itself."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    talking = (
        asyncio.ensure_future(_read(process.stdout)),
        asyncio.ensure_future(read_end(process.stderr)),
        asyncio.ensure_future(feed(process.stdin, stdin)),
        asyncio.ensure_future(process.wait()),
    )
    try:
        output, complaint, *_ = await asyncio.gather(*talking)
    finally:
        for each in talking:
            each.cancel()
    return output, complaint


async def _read(stdout: asyncio.StreamReader) -> bytes:
    output = bytearray()
    while chunk := await stdout.read(READ_BYTES):
        output += chunk
        if len(output) > OUTPUT_BYTES_MAX:
            raise _WroteTooMuch
    return bytes(output)
