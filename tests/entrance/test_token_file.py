"""The file of tokens and the commands that write it: hashes at rest, printed once, never argued."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman_shm.state_files import StateFileError
from pointsman_shm.tokens.judging import KnownToken, Scope, Tokens, digest_of
from pointsman_shm.tokens.token_file import TokenRecord, read_tokens, write_tokens
from pointsman_workers.shell.entrance.token_watch import TokenWatch


def pointsman(state_dir: Path, *words: str, status: int = 0) -> str:
    """Run the program that `pointsman tokens` becomes; return what it prints."""
    command = [sys.executable, "-m", "pointsman_sched.client_tokens", *words]
    done = subprocess.run(
        [*command, "--state-dir", str(state_dir)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def record(token: str, **fields: object) -> TokenRecord:
    token_id = token.split("_")[1]
    hashed = digest_of(token).hex()
    given = {"id": token_id, "sha256": hashed, "tenant": "t", "scopes": ("read",), **fields}
    return TokenRecord(**given)  # type: ignore[arg-type]


def test_a1_a_token_is_printed_once_and_its_hash_alone_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "s"
    made = json.loads(
        pointsman(state, "add", "--tenant=acme", "--scopes=submit", "--expires=1d", "--json")
    )
    path = state / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert made["token"] not in text
    assert made["token"].split("_", 2)[2] not in text  # the secret, which may have a _ as well
    (found,) = read_tokens(path)
    assert found.sha256 == digest_of(made["token"]).hex()
    assert (found.tenant, found.scopes) == ("acme", ("submit",))
    listed = pointsman(state, "list", "--json")
    assert json.loads(listed)["tokens"][0]["expires_in_s"] > 86_000
    assert found.sha256 not in listed
    pointsman(state, "revoke", made["id"])
    assert read_tokens(path) == ()
    assert "there is no token" in pointsman(state, "revoke", made["id"], status=2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--tenant="], "name it with --tenant"),
        (["--tenant=t", "--scopes=all"], "there is no 'all'; take some of submit, read, cancel"),
        (["--tenant=t", "--expires=soon"], "like 90d"),
        ([f"--tenant={'t' * 129}"], "length <= 128"),
    ],
)
def test_a_token_that_cannot_be_is_wrong_usage_and_told_what_would_be_right(
    tmp_path: Path, wrong: list[str], words: str
) -> None:
    told = pointsman(tmp_path / "s", "add", *wrong, status=2)
    assert "cannot add tokens" in told
    assert words in told


def test_the_list_tells_when_a_token_ends_in_a_unit_of_its_size(tmp_path: Path) -> None:
    state = tmp_path / "s"
    for expires in ("90d", "36h", "90m", "45s"):
        pointsman(state, "add", "--tenant=t", f"--expires={expires}")
    lines = pointsman(state, "list").splitlines()
    ends = [line.split("expires in ")[1].split()[1] for line in lines]
    assert ends == ["days", "hours", "minutes", "seconds"]
    assert "expires in 90 days" in lines[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_writes_the_file_as_the_owner_of_the_directory(tmp_path: Path) -> None:
    state = tmp_path / "s"
    state.mkdir(mode=0o700)
    os.chown(state, 65_534, 65_534)
    pointsman(state, "add", "--tenant=acme")
    owners = {path.name: path.stat().st_uid for path in state.iterdir() if path.name != "format"}
    assert owners == {"tokens.json": 65_534, "tokens.lock": 65_534}


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"{", 0o600, "is damaged"),
        (b'{"format":2}', 0o600, "has format 2"),
        (b'{"tokens":[{"id":"x"}]}', 0o600, "is damaged"),
        (b'{"tokens":[{"id":"\xff"}]}', 0o600, "is damaged"),
        (b"{}", 0o644, "chmod 0600"),
        (b"{}", 0o620, "chmod 0600"),
    ],
)
def test_a_file_that_is_damaged_or_open_to_others_lets_nobody_in(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    path = tmp_path / "tokens.json"
    good = "pmt_00000001_secret"
    write_tokens(path, (record(good),))
    told: list[tuple[KnownToken, ...]] = []
    said: list[str] = []
    watch = TokenWatch(path, lambda: 0.0, said.append)
    assert Tokens(watch.first()).find(good)
    watch.tell = told.append
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(StateFileError, match=words):
        read_tokens(path)
    watch.look()
    watch.look()
    assert told == [()]
    assert len(said) == 1
    assert words in said[0]


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    write_tokens(tmp_path / "elsewhere", (record("pmt_00000001_secret"),))
    path = tmp_path / "tokens.json"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateFileError, match="cannot be read"):
        read_tokens(path)


def test_a1_a_token_ends_at_its_second_without_a_change_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    clock = [99.0]
    told: list[tuple[KnownToken, ...]] = []
    watch = TokenWatch(path, lambda: clock[0], lambda text: None)
    assert watch.first() == ()
    watch.tell = told.append
    write_tokens(path, (record("pmt_00000001_secret", expires_at_s=100),))
    watch.look()
    watch.look()
    assert [token.is_expired for token in told[-1]] == [False]
    assert told[-1][0].scopes == Scope.READ
    clock[0] = 100.0
    watch.look()
    assert [token.is_expired for token in told[-1]] == [True]
    assert len(told) == 2


def test_a_directory_that_cannot_be_looked_into_lets_nobody_in_until_it_can(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(0o700)
    path = state / "tokens.json"
    write_tokens(path, (record("pmt_0000000a_secret"),))
    told: list[tuple[KnownToken, ...]] = []
    said: list[str] = []
    watch = TokenWatch(path, lambda: 0.0, said.append)
    assert len(watch.first()) == 1
    watch.tell = told.append
    state.rename(tmp_path / "away")
    state.write_text("no directory")
    for _ in range(3):
        watch.look()
    assert told == [()]
    assert len(said) == 1
    state.unlink()
    (tmp_path / "away").rename(state)
    watch.look()
    assert len(told[-1]) == 1
