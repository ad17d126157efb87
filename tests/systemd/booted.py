"""A real systemd for tests, as process 1 of its own: the script beside it boots one in a second.

Inside are the files of this machine, but an empty /opt and /var/lib, an /etc of its own, and its
own network, /run, /dev/shm and processes.  So tests install the service as an operator would, and
nothing of it is left outside.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from supervised_service import wait_until

SCRIPT = Path(__file__).parents[1] / "boot_systemd.sh"
ENVIRONMENT = "/opt/pointsman"
COMMAND_S = 120
# What is installed inside is to be used there, not this tree.
OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
WORKERS = 2
EVERYBODY = ("manager", "console", *(f"worker@{index}" for index in range(WORKERS)))
REPOSITORY = Path(__file__).parents[2]
SHIM = """#!/opt/pointsman/bin/python
import sys
from pointsman.cli.main import main
sys.exit(main())
"""


def why_not() -> str:
    """Why no systemd can be booted here with this Python in it, or ""."""
    asked = subprocess.run([SCRIPT, "can"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return asked.stdout.strip() or "cannot boot systemd here"
    return "" if readable_python() else "no Python of this version that other users may run"


def readable_python() -> str:
    """Return an interpreter of this version that a system user may run, or ""."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (os.path.realpath(sys.executable), shutil.which(name, path="/usr/bin") or ""):
        if found and all(folder.stat().st_mode & 1 for folder in Path(found).parents):
            return found
    return ""


def install_packages(folder: Path) -> None:
    """Unpack a wheel of this tree into a folder, and copy beside it whatever it requires.

    Compiled, as pip leaves it: else every process that may not write there compiles at each start.
    """
    made = ("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheels"))
    subprocess.run([sys.executable, *made], cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = (folder / "wheels").glob("*.whl")
    shutil.unpack_archive(wheel, folder, "zip")
    shutil.rmtree(folder / "wheels")
    compiling = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder))
    subprocess.run([sys.executable, *compiling], check=True, capture_output=True)
    (ours,) = distributions(path=[str(folder)])
    for found in required(ours, {"server"}):
        for file in found.files or ():
            if ".." not in file.parts and Path(str(file.locate())).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(file.locate()), folder / file)


def required(ours: Distribution, extras: set[str]) -> list[Distribution]:
    """Return what a distribution requires with these extras, and whatever that requires."""
    found: dict[str, Distribution] = {}
    todo = [(ours, extras)]
    while todo:
        of, extras = todo.pop()
        for wanted in map(Requirement, of.requires or ()):
            cases = [{"extra": extra} for extra in extras or {""}]
            is_asked = not wanted.marker or any(map(wanted.marker.evaluate, cases))
            if is_asked and wanted.name not in found:
                found[wanted.name] = distribution(wanted.name)
                todo.append((found[wanted.name], wanted.extras))
    return list(found.values())


class Booted:
    """A systemd that runs."""

    def __init__(self, directory: Path) -> None:
        self._state = directory
        self._left: list[subprocess.Popen[str]] = []

    def up(self) -> None:
        """Boot, and make an environment with a wheel of this tree installed."""
        environment = {
            **os.environ,
            "PM_FRESH": "/opt /var/lib",
            "PM_OWN_ETC": "1",
            "PM_NETNS": "1",
        }
        command = [str(SCRIPT), "up", str(self._state), "/etc/systemd/system"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=COMMAND_S)
        self.run(readable_python(), "-m", "venv", "--without-pip", ENVIRONMENT)
        copied = self._state / "packages"
        install_packages(copied)
        self.shell(
            f"cp -a {copied}/. {ENVIRONMENT}/lib/python3.*/site-packages/\n"
            f"cat > {ENVIRONMENT}/bin/pointsman <<'EOF'\n{SHIM}EOF\n"
            f"chmod +x {ENVIRONMENT}/bin/pointsman"
        )

    def command(self, *words: str) -> list[str]:
        return [str(SCRIPT), "run", str(self._state), *words]

    def run(self, *words: str, may_fail: bool = False, with_errors: bool = False) -> str:
        """Run a program inside to its end; return what it said."""
        done = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            env=OUTSIDE,
        )
        assert may_fail or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return (done.stdout + done.stderr * with_errors).strip()

    def shell(self, script: str) -> str:
        return self.run("bash", "-ec", script)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a program inside; it ends with the systemd at the latest."""
        made = subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=OUTSIDE,
        )
        self._left.append(made)
        return made

    def pointsman(self, *words: str) -> str:
        """Run the command line as root, in the environment of the service."""
        return self.run(f"{ENVIRONMENT}/bin/pointsman", *words)

    def property(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", "-p", name, f"pointsman-{unit}")

    def properties(self, name: str) -> dict[str, str]:
        """One property of each process's unit."""
        units = [f"pointsman-{unit}.service" for unit in EVERYBODY]
        said = self.run("systemctl", "show", "--value", "-p", name, *units)
        return dict(zip(EVERYBODY, said.split(), strict=True))

    def pids(self) -> dict[str, int]:
        """The main processes as they are numbered inside; 0 for who does not run."""
        return {unit: int(pid) for unit, pid in self.properties("MainPID").items()}

    def is_ready(self, unit: str) -> bool:
        return self.properties("ActiveState")[unit] == "active"

    def wait_ready(self) -> None:
        wait_until(
            lambda: set(self.properties("ActiveState").values()) == {"active"},
            "all units are active",
        )

    def wait_for_another(self, unit: str, pid: int) -> None:
        """Wait until another process serves in this one's place."""
        wait_until(lambda: self.pids()[unit] not in (0, pid), f"a successor of {unit}")
        wait_until(lambda: self.is_ready(unit), f"{unit} is ready")

    def segments(self) -> list[str]:
        return self.run("ls", "/dev/shm").split()

    def down(self) -> None:
        for made in self._left:
            made.kill()
            made.wait()
            assert made.stdout is not None
            made.stdout.close()
        subprocess.run(
            [SCRIPT, "down", self._state], check=True, capture_output=True, timeout=COMMAND_S
        )


@contextmanager
def booted() -> Iterator[Booted]:
    """A systemd, and nothing of it afterwards."""
    with TemporaryDirectory(prefix="pm-systemd-") as directory:
        made = Booted(Path(directory))
        try:
            made.up()
            yield made
        finally:
            made.down()


@contextmanager
def installed() -> Iterator[Booted]:
    """One in which the service was installed, and is ready."""
    with booted() as system:
        system.pointsman("systemd", "install", "--workers", str(WORKERS))
        yield system
