"""The public face: what can be imported, where, and what the pure cores may know."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pointsman

BLOCKED = ("uvloop", "posix_ipc", "psutil", "redis", "pytest")
WITHOUT_SERVER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
from pointsman import Node, Reply, Trunk, blocking, connect
node = Node("127.0.0.1:7400", services=["nmt"])
from pointsman.resources import ResourceProbe
ResourceProbe().measure()
assert not set(BLOCKED) & set(sys.modules)
"""
IMPURE = {"asyncio", "os", "random", "socket", "time", "logging", "threading", "signal", "secrets"}


def test_nodes_and_clients_import_and_are_made_without_the_servers_libraries() -> None:
    program = f"BLOCKED = {BLOCKED!r}\n{WITHOUT_SERVER}"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_package_is_typed_and_knows_its_version() -> None:
    package = Path(pointsman.__file__).parent
    assert (package / "py.typed").exists()
    assert pointsman.__version__ == version("pointsman")


def test_every_public_name_is_there() -> None:
    assert [name for name in pointsman.__all__ if not hasattr(pointsman, name)] == []


def test_the_pure_cores_import_nothing_impure() -> None:
    package = Path(pointsman.__file__).parent
    shared = ("backoff", "secure.elsewhere")
    paths = (package / f"{name.replace('.', '/')}.py" for name in shared)
    cores = [*package.glob("*_core/*.py"), *paths]
    assert len(cores) > 14
    for path in cores:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        imported = {w[1].partition(".")[0] for w in lines if w[:1] in (["import"], ["from"])}
        assert not imported & IMPURE, path.name
        ours = {w[1] for w in lines if w[:1] == ["from"] and w[1].startswith("pointsman.")}
        allowed = {f"pointsman.{name}" for name in shared}
        assert all("_core" in name or name in allowed for name in ours), path.name
