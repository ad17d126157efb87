"""`--exec`: what a program's output, exit code, silence and children mean for its job."""

import asyncio
import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman import Job, JobError
from pointsman.cli.endings import Trouble
from pointsman.cli.program_handler import NoSuchProgram, ProgramHandler, split_command
from pointsman.cli.running.program_user import ProgramUser, environment_for, find_user
from pointsman.engines import children


def shell(script: str, **options: int) -> ProgramHandler:
    return ProgramHandler(["sh", "-c", script], **options)  # type: ignore[arg-type]


async def failure_of(script: str, job: Job | None = None, **options: int) -> JobError:
    with pytest.raises(JobError) as error:
        await shell(script, **options)(job or Job())
    return error.value


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def until_dead(pid: int) -> None:
    until_s = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < until_s, f"process {pid} is still there"
        await asyncio.sleep(0.02)


async def until_written(path: Path) -> int:
    until_s = time.monotonic() + 10
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < until_s, f"{path} was not written"
        await asyncio.sleep(0.02)
    return int(path.read_text())


def stand_still_until_written(path: Path) -> int:
    """Wait while the loop does not turn: the program goes on, and who started it does not."""
    until_s = time.monotonic() + 10
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < until_s, f"{path} was not written"
        time.sleep(0.005)
    return int(path.read_text())


async def test_the_payload_goes_in_and_the_output_is_the_result() -> None:
    payload = bytes(range(256)) * 1000
    reply = await shell("cat")(Job(payload=payload))
    assert reply.payload == payload


async def test_a_wav_is_called_one() -> None:
    reply = await shell("printf 'RIFF\\0\\0\\0\\0WAVE'")(Job())
    assert reply.content_type == "audio/wav"
    assert (await shell("echo text")(Job())).content_type == ""


async def test_a_program_may_ignore_its_input() -> None:
    reply = await shell("exec <&-; echo done")(Job(payload=b"x" * 500_000))
    assert reply.payload == b"done\n"


async def test_the_program_is_told_what_the_job_is_about() -> None:
    job = Job(src_lang="en", tgt_lang="es", services=["nmt", "tts"], request_id="r-1")
    script = 'echo "$POINTSMAN_SRC $POINTSMAN_TGT $POINTSMAN_SERVICES $POINTSMAN_REQUEST_ID"'
    assert (await shell(script)(job)).payload == b"en es nmt,tts r-1\n"


async def test_an_exit_code_fails_the_job_with_the_last_line_of_its_complaints() -> None:
    error = await failure_of("echo one >&2; echo 'no such word' >&2; exit 3")
    assert (error.code, error.retryable) == ("INTERNAL_ERROR", False)
    assert error.message == "sh ended with exit code 3: no such word"


async def test_exit_code_75_lets_another_node_try() -> None:
    assert (await failure_of("exit 75")).retryable


async def test_a_death_by_signal_lets_another_node_try() -> None:
    error = await failure_of("kill -9 $$")
    assert error.retryable
    assert "killed by signal 9" in error.message


async def test_a_program_that_vanished_lets_another_node_try() -> None:
    with pytest.raises(JobError) as error:
        await ProgramHandler(["/no/such/program"])(Job())
    assert error.value.code == "MODEL_NOT_AVAILABLE"
    assert error.value.retryable


async def test_endless_output_is_cut_off_and_fails_the_job() -> None:
    error = await failure_of("exec yes", output_bytes_max=1_000_000)
    assert "more than 1000000 bytes" in error.message
    assert (error.code, error.retryable) == ("INVALID_MESSAGE", False)


async def test_endless_complaints_do_no_harm() -> None:
    error = await failure_of("yes nonsense | head -c 5000000 >&2; echo >&2; echo end >&2; exit 1")
    assert error.message.endswith(": end")


async def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    error = await failure_of(f"sleep 600 & echo $! > {note}; wait", Job(timeout_s=0.5))
    assert error.code == "JOB_TIMEOUT"
    await until_dead(int(note.read_text()))


async def test_cancelling_the_job_kills_the_program_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    running = asyncio.create_task(shell(f"sleep 600 & echo $! > {note}; wait")(Job()))
    pid = await until_written(note)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until_dead(pid)


# In the first turn of the loop nothing has been started; in the last ones it is all set up.
@pytest.mark.parametrize("turns", range(2, 10))
async def test_cancelling_while_it_starts_kills_its_children_as_well(
    tmp_path: Path, turns: int
) -> None:
    note = tmp_path / "pid"
    starting = asyncio.create_task(shell(f"sleep 600 & echo $! > {note}; wait")(Job()))
    for _ in range(turns):
        await asyncio.sleep(0)
    pid = stand_still_until_written(note)
    starting.cancel()
    await asyncio.wait([starting], timeout=10)
    assert starting.cancelled()
    await until_dead(pid)


async def test_cancelling_a_program_whose_output_nobody_reads_ends_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "KILLED_S", 600.0)
    note = tmp_path / "pid"
    # Else it may have written too much before it is cancelled, which ends it as well.
    handler = ProgramHandler(["sh", "-c", f"echo $$ > {note}; exec yes"], output_bytes_max=2**40)
    running = asyncio.ensure_future(handler(Job()))
    await until_written(note)
    running.cancel()
    await asyncio.wait([running], timeout=10)
    assert running.cancelled()


def test_a_command_line_is_split_as_a_shell_would() -> None:
    assert split_command("sh -c 'echo \"a b\"'") == ["sh", "-c", 'echo "a b"']
    for line in ("", "sh -c 'open", "/no/such/program"):
        with pytest.raises(NoSuchProgram):
            split_command(line)


async def test_a6_a_program_gets_no_secret_of_the_node_in_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POINTSMAN_TOKEN", "a-secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    reply = await shell("env")(Job(src_lang="en"))
    assert b"POINTSMAN_SRC=en" in reply.payload
    assert b"a-secret" not in reply.payload
    assert b"CREDENTIALS" not in reply.payload


def test_g1_another_user_is_given_nothing_of_the_environment_that_may_be_a_secret() -> None:
    """Root's own tokens, agents and proxies are not for whoever may submit."""
    found = {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "1"}
    secrets = {"HF_TOKEN": "a", "SSH_AUTH_SOCK": "b", "HTTPS_PROXY": "c", "NOTIFY_SOCKET": "d"}
    user = ProgramUser(65_534, 65_534, "nobody", "/nonexistent")
    given = environment_for(user, found | secrets, {"POINTSMAN_SRC": "en"})
    names = {"HOME": "/nonexistent", "USER": "nobody", "LOGNAME": "nobody"}
    assert given == found | names | {"POINTSMAN_SRC": "en"}
    assert "NOTIFY_SOCKET" not in environment_for(None, secrets, {}), "that is the node's alone"


@pytest.fixture
def one_more_group() -> Iterator[None]:
    """Root may be in groups besides its own, as on most machines it is."""
    before = os.getgroups()
    os.setgroups([*before, 4])
    yield
    os.setgroups(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")
@pytest.mark.usefixtures("one_more_group")
async def test_g1_a_program_runs_as_another_user_and_cannot_read_the_nodes_key(
    tmp_path: Path,
) -> None:
    key = tmp_path / "node.key"
    key.write_text("the node's key")
    key.chmod(0o600)
    nobody = find_user("nobody")
    script = f"id -u; id -G; cat {key}; cat /proc/{os.getpid()}/environ; echo $HOME"
    reply = await ProgramHandler(["sh", "-c", f"({script}) 2>&1"], user=nobody)(Job())
    assert isinstance(reply.payload, bytes)
    lines = reply.payload.decode().splitlines()
    assert lines[:2] == [str(nobody.uid), str(nobody.gid)], "nor is it in a group of the node's"
    assert b"the node's key" not in reply.payload
    assert reply.payload.count(b"Permission denied") == 2
    assert lines[-1] == nobody.home
    with pytest.raises(JobError, match="killed by signal 9"):
        await ProgramHandler(["sh", "-c", "kill -9 $$"], user=nobody)(Job())


def test_g1_a_user_that_is_not_there_or_is_the_nodes_own_is_refused() -> None:
    with pytest.raises(Trouble, match="no user 'nobody-such'"):
        find_user("nobody-such")
    own = pwd.getpwuid(os.geteuid()).pw_name
    with pytest.raises(Trouble, match=r"name another|only root"):
        find_user(own)
