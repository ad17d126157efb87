"""What is compiled with POINTSMAN_COMPILE=1 is such that mypyc makes the same of it."""

import ast
import re
import tomllib
from pathlib import Path

from pointsman_workers.placement.fleet import FIELDS

ROOT = Path(__file__).parents[2]


PARTS = ("sched", "workers", "shm", "wire", "clients", "tests", "bench")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAMES: list[str] = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"][
    "modules"
]


def compiled_modules() -> dict[str, ast.Module]:
    return {name: ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in NAMES}


def test_no_compiled_module_makes_a_class_whose_keywords_would_be_lost() -> None:
    """Such as msgspec's structs: frozen, kw_only and gc would be forgotten without a word."""
    modules = compiled_modules()
    assert "workers/pointsman_workers/core/core.py" in modules
    lost = [
        f"{name}: {node.name}"
        for name, module in modules.items()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        and (node.keywords or any("Struct" in ast.unparse(base) for base in node.bases))
    ]
    assert lost == []


def test_no_compiled_module_cuts_by_a_slice_object() -> None:
    """mypyc takes it for an index where it knows that bytes are cut."""
    cut = [
        f"{name}:{node.lineno}"
        for name, module in compiled_modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "slice"
    ]
    assert cut == []


def test_nothing_that_is_interpreted_inherits_from_what_is_compiled() -> None:
    """mypyc's classes refuse it; tests and benches may inject what they want to see instead."""
    modules = {name.partition("/")[2].removesuffix(".py").replace("/", ".") for name in NAMES}
    ours = {ROOT / name for name in NAMES}
    sources = {path for part in PARTS for path in (ROOT / part).rglob("*.py")}
    assert ours < sources
    heirs = []
    for path in sources - ours:
        text = path.read_text(encoding="utf-8")
        for heir, parent in re.findall(r"^class (\w+)\((?:\w+\.)*(\w+)", text, re.MULTILINE):
            taken = re.findall(
                rf"^from (\S+) import (?:\([^)]*|.*)\b{parent}\b", text, re.MULTILINE
            )
            if modules.intersection(taken):
                heirs.append(f"{path.relative_to(ROOT)}: {heir}")
    assert heirs == []


def test_the_fields_of_a_fleet_are_named_for_dry_runs() -> None:
    """A class that is compiled has no `__dict__` from which they could be taken."""
    module = compiled_modules()["workers/pointsman_workers/placement/fleet.py"]
    (fleet,) = [n for n in module.body if isinstance(n, ast.ClassDef) and n.name == "Fleet"]
    stored = {
        node.attr
        for node in ast.walk(fleet)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if ast.unparse(node.value) == "self"
    }
    assert stored == set(FIELDS)
