"""What is compiled with POINTSMAN_COMPILE=1 is such that mypyc makes the same of it."""

import ast
import tomllib
from pathlib import Path

from pointsman_workers.placement.fleet import FIELDS

ROOT = Path(__file__).parents[2]


def compiled_modules() -> dict[str, ast.Module]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    return {name: ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in names}


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
