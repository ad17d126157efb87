"""Every crash point there is, found in the source, so that none is forgotten."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "sched/pointsman_sched",
    "workers/pointsman_workers",
    "shm/pointsman_shm",
    "clients/pointsman",
)
# The first word of a point's name says which program dies there.
PROGRAMS = ("manager", "catalog", "worker", "journal", "node", "client")


def crash_points() -> dict[str, str]:
    """Name of each point -> file that passes it."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in _names_in(ast.parse(path.read_text(encoding="utf-8"))):
                assert name not in found, f"{name} is in {path} and in {found[name]}"
                found[name] = str(path.relative_to(ROOT))
    return found


def points_of(*programs: str) -> list[str]:
    """The points of some programs, in order of their names."""
    return sorted(name for name in crash_points() if name.partition("-")[0] in programs)


def _names_in(tree: ast.AST) -> list[str]:
    """First arguments of calls of something that ends in `crash`, and of CrashSpot."""
    names = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        function = call.func
        called = function.attr if isinstance(function, ast.Attribute) else ""
        called = function.id if isinstance(function, ast.Name) else called
        first = call.args[0]
        if called.lstrip("_") in ("crash", "CrashSpot") and isinstance(first, ast.Constant):
            names.append(str(first.value))
    return names
