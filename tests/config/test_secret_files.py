"""Secrets come from a file of the owner's alone, or from the environment."""

from pathlib import Path

import pytest

from pointsman_sched.supervisor.grounds import GroundError
from pointsman_sched.supervisor.secure_port import check_key
from pointsman_shm.config_load import ConfigError
from pointsman_shm.secret_files import SECRET_BYTES_MAX, read_secret

ENVIRONMENT = {"SECRET": "from the environment"}


def read(path: Path | None) -> str:
    text = None if path is None else str(path)
    return read_secret(text, "SECRET", what="redis.password_file", environment=ENVIRONMENT)


def written(path: Path, content: bytes, mode: int = 0o400) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_file_goes_before_the_environment_and_loses_its_newline(tmp_path: Path) -> None:
    assert read(None) == "from the environment"
    assert read(written(tmp_path / "secret", b" s3cret \n")) == " s3cret "
    assert read_secret(None, "OTHER", what="x", environment=ENVIRONMENT) == ""


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"x", 0o444, "others may read or write .*: chmod 0400"),
        (b"x", 0o420, "others may read or write .*: chmod 0400"),
        (b"\n", 0o400, "is empty"),
        (b"\xff", 0o400, "is not UTF-8"),
        (b"x" * (SECRET_BYTES_MAX + 1), 0o400, "is larger than"),
    ],
)
def test_a_file_that_is_no_secret_is_refused_and_not_shown(
    tmp_path: Path, content: bytes, mode: int, message: str
) -> None:
    """A6, U6: what is refused says why, and nothing of what is in it."""
    with pytest.raises(ConfigError, match=f"redis.password_file: .*{message}") as caught:
        read(written(tmp_path / "secret", content, mode))
    assert "xxx" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing cannot be read: No such file"):
        read(tmp_path / "nothing")


def test_u6_a_private_key_of_the_tls_port_that_others_may_read_is_refused(tmp_path: Path) -> None:
    check_key(written(tmp_path / "kept.key", b"x", 0o440))
    for mode in (0o444, 0o420, 0o404):
        with pytest.raises(GroundError, match=r"others may read or write it .*: chmod 0400"):
            check_key(written(tmp_path / f"{mode:o}.key", b"x", mode))
    with pytest.raises(GroundError, match="cannot be found: No such file"):
        check_key(tmp_path / "nothing")
