"""A node's handler that is any program: payload on standard input, result from standard output.

The program is started for each job, in a process group of its own, without a shell.  It finds what
the job is about in its environment: POINTSMAN_SRC, _TGT, _SERVICES, _CONTENT_TYPE, _JOB_ID,
_REQUEST_ID and _ATTEMPT, and no other variable of ours, which may be a secret.  Exit code 0 makes
its output the result.  Any other fails the job, with the last line of its standard error as the
reason: for good, but for 75 ("try again later", as in sysexits.h) and a death by signal, after
which another node may try.  When the job is cancelled or its time is over, the whole group is
killed.
"""

import asyncio
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence

from pointsman.cli.running.program_user import ProgramUser, environment_for
from pointsman.engines.children import READ_BYTES, end, feed, kill_group, read_end
from pointsman.jobs import Job, JobError, Reply
from pointsman_wire.errors import Code
from pointsman_wire.limits import PAYLOAD_BYTES_MAX

TRY_AGAIN_LATER = 75
TIMEOUT_S = 30.0
COMPLAINT_SHOWN = 300


class NoSuchProgram(Exception):
    """The command line names nothing that can be run here."""


class ProgramHandler:
    """Runs one command line for each job; `await handler(job)` is its result."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        output_bytes_max: int = PAYLOAD_BYTES_MAX,
        user: ProgramUser | None = None,
    ) -> None:
        self.command = list(command)
        self._user = user
        self._output_bytes_max = output_bytes_max

    async def __call__(self, job: Job) -> Reply:
        """Run the program on the job's payload.  Raises JobError when it fails."""
        process = await self._started(job)
        limit_s = job.timeout_s or TIMEOUT_S
        try:
            async with asyncio.timeout(limit_s):
                output, complaint = await self._converse(process, job.payload)
        except TimeoutError:
            words = f"{self.command[0]} took longer than {limit_s:g} s"
            raise JobError(Code.JOB_TIMEOUT, words) from None
        if len(output) > self._output_bytes_max:
            words = f"{self.command[0]} wrote more than {self._output_bytes_max} bytes"
            raise JobError(Code.INVALID_MESSAGE, f"{words}, the most that a result holds")
        if process.returncode:
            raise failure(self.command[0], process.returncode, complaint)
        return Reply(payload=output, content_type=content_type_of(output))

    async def _started(self, job: Job) -> asyncio.subprocess.Process:
        """Start the program.  Raises JobError when it cannot be started.

        asyncio ends a start that is cancelled by killing the program alone, and waits for its
        pipes, which children of the program hold open; so a start is completed, then given up.
        """
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment_for(self._user, os.environ, environment_of(job)),
                start_new_session=True,
                **(self._user.options() if self._user is not None else {}),
            )
        )
        try:
            return await asyncio.shield(starting)
        except OSError as error:
            raise JobError(Code.MODEL_NOT_AVAILABLE, f"{self.command[0]}: {error}") from error
        except asyncio.CancelledError:
            starting.add_done_callback(_kill_started)  # whoever gives up twice kills as well
            await asyncio.wait([starting])
            if starting.exception() is None:
                await end(starting.result())
            raise

    async def _converse(
        self, process: asyncio.subprocess.Process, payload: bytes
    ) -> tuple[bytes, bytes]:
        """Return (output, end of the complaints) once the program has ended.

        Nothing of it is left when this is cancelled.
        """
        assert process.stdin
        assert process.stderr
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed(process.stdin, payload))
                output = group.create_task(self._read_output(process))
                complaint = group.create_task(read_end(process.stderr))
                group.create_task(process.wait())
        except BaseException:
            await end(process)
            raise
        return output.result(), complaint.result()

    async def _read_output(self, process: asyncio.subprocess.Process) -> bytes:
        """Return what it writes; killed for writing too much, a little more than the bound."""
        assert process.stdout
        output = bytearray()
        while chunk := await process.stdout.read(READ_BYTES):
            output += chunk
            if len(output) > self._output_bytes_max:
                kill_group(process)
                await read_end(process.stdout)
                break
        return bytes(output)


def _kill_started(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        kill_group(starting.result())


def failure(program: str, code: int, complaint: bytes) -> JobError:
    """Return what a program's exit code and complaints mean for its job."""
    lines = complaint.decode(errors="replace").strip().splitlines()
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    words = f"{program} {how}" + (f": {lines[-1].strip()[:COMPLAINT_SHOWN]}" if lines else "")
    is_retryable = code < 0 or code == TRY_AGAIN_LATER
    return JobError(Code.INTERNAL_ERROR, words, retryable=is_retryable)


def environment_of(job: Job) -> Mapping[str, str]:
    """Return what the program is told of the job, as environment variables."""
    told = {
        "SRC": job.src_lang,
        "TGT": job.tgt_lang,
        "SERVICES": ",".join(job.services),
        "CONTENT_TYPE": job.content_type,
        "JOB_ID": job.job_id,
        "REQUEST_ID": job.request_id,
        "ATTEMPT": str(job.attempt),
    }
    # A zero byte ends an environment string; no honest value has one.
    return {f"POINTSMAN_{name}": value.replace("\0", "") for name, value in told.items()}


def content_type_of(output: bytes) -> str:
    """Return audio/wav for a WAV file; of anything else nothing is known."""
    return "audio/wav" if output[:4] == b"RIFF" and output[8:12] == b"WAVE" else ""


def split_command(line: str) -> list[str]:
    """Return a command line as words, its program found on PATH.  Raises NoSuchProgram."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise NoSuchProgram(f"{line!r} cannot be read: {error}") from None
    if not words:
        raise NoSuchProgram("the command line is empty")
    if shutil.which(words[0]) is None:
        raise NoSuchProgram(f"{words[0]} is not installed, or not executable")
    return words
