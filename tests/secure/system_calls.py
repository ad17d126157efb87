"""The filter of system calls that the units have, put around a service that no systemd started.

The unit names groups; systemd-analyze knows what is in them, libseccomp makes the filter, and an
interpreter that begins with it hands it down to everything that it becomes and starts.
"""

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "pointsman-worker@.service"
LIBRARY = ctypes.util.find_library("seccomp")
IS_POSSIBLE = LIBRARY is not None and shutil.which("systemd-analyze") is not None
_SCRIPT = """#!{python} -IS
import ctypes, os, sys
library = ctypes.CDLL({library!r})
library.seccomp_init.restype = ctypes.c_void_p
made = ctypes.c_void_p(library.seccomp_init(0x00050001))  # whatever is not named: EPERM
for name in {names!r}:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number != -1:
        library.seccomp_rule_add_array(made, 0x7FFF0000, number, 0, None)
if library.seccomp_load(made):
    sys.exit("the filter of system calls cannot be loaded")
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def filtered_python(folder: Path) -> str:
    """Write an interpreter that may do what the unit may do, and nothing else."""
    script = folder / "python"
    names = sorted(allowed(UNIT.read_text()))
    script.write_text(_SCRIPT.format(python=sys.executable, library=LIBRARY, names=names))
    script.chmod(0o700)
    return str(script)


def allowed(unit: str) -> set[str]:
    """Return the system calls that a unit is left with: the first filter allows, ~ takes away."""
    found: set[str] = set()
    for line in unit.splitlines():
        if not line.startswith("SystemCallFilter="):
            continue
        words = line.partition("=")[2]
        calls = {call for group in words.removeprefix("~").split() for call in _members(group)}
        found = found - calls if words.startswith("~") else found | calls
    return found | _members("@default")


def _members(group: str) -> set[str]:
    if not group.startswith("@"):
        return {group}
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    words = [line.strip() for line in told.splitlines()[1:]]
    named = {word for word in words if word and not word.startswith("#")}
    return {call for word in named for call in _members(word)}
