"""Control groups (version 1) that a test makes for its own processes and removes at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from supervised_service import wait_until

ROOT = Path("/sys/fs/cgroup")


class ControlGroup:
    """One group; files are its controller's, such as pids.max."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        self.write("cgroup.procs", str(pid))

    def write(self, file: str, text: str) -> None:
        (self.path / file).write_text(text)

    def read(self, file: str) -> str:
        return (self.path / file).read_text().strip()

    def command(self, command: list[str]) -> list[str]:
        """The words that start a command inside the group."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh", *command]


@contextmanager
def control_group(controller: str) -> Iterator[ControlGroup]:
    """A group of its own; skips where the controller cannot be used.  What is in it must end."""
    path = ROOT / controller / f"pointsman-{uuid4().hex[:8]}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"needs a writable {ROOT / controller} (version 1, root): {error.strerror}")
    group = ControlGroup(path)
    try:
        yield group
    finally:
        if controller == "freezer":
            group.write("freezer.state", "THAWED")
        wait_until(lambda: not group.read("cgroup.procs"), "nobody is left in the group")
        path.rmdir()
