"""The project's own source as the tidy test sees it: parsed files, and questions about them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_PATHS = {
    "pointsman_sched": "sched/pointsman_sched",
    "pointsman_workers": "workers/pointsman_workers",
    "pointsman_shm": "shm/pointsman_shm",
    "pointsman_wire": "wire/pointsman_wire",
    "pointsman": "clients/pointsman",
    "pointsman_sim": "tests/pointsman_sim",
}
BLOCKS = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.TryStar,
    ast.With,
    ast.AsyncWith,
    ast.Match,
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path

    @cached_property
    def name(self) -> str:
        """The path below the repository, with slashes."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @property
    def package(self) -> str:
        """Which of the six packages the file is part of, or ""."""
        return next((p for p, at in PACKAGE_PATHS.items() if self.name.startswith(f"{at}/")), "")

    @cached_property
    def module(self) -> str:
        """The dotted name under which a file of a package is imported."""
        inside = self.path.relative_to(ROOT / PACKAGE_PATHS[self.package]).with_suffix("")
        parts = [self.package, *inside.parts]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Every function with its name inside the file, such as ``Node.run``."""
        yield from _functions(self.tree, "")

    def imports(self, *, at_runtime_only: bool = False) -> set[str]:
        """Dotted names of what the file imports, anywhere in it."""
        found: set[str] = set()
        skipped = _type_checking_nodes(self.tree) if at_runtime_only else set()
        for node in ast.walk(self.tree):
            if node in skipped:
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        return found


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{prefix}{child.name}"
            if isinstance(child, Function):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, prefix)


def _type_checking_nodes(tree: ast.Module) -> set[ast.AST]:
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in _text(n))
    return {inner for block in blocks for stmt in block.body for inner in ast.walk(stmt)}


def _text(block: ast.If) -> str:
    return ast.unparse(block.test)


def line_count(function: Function) -> int:
    """Lines of a function from ``def`` to its end, decorators not counted."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameter_count(function: Function) -> int:
    """Parameters of a function, without self and cls."""
    spec = function.args
    named = [*spec.posonlyargs, *spec.args]
    bound = bool(named) and named[0].arg in ("self", "cls")
    return len(named) + len(spec.kwonlyargs) - bound


def nesting(node: ast.AST) -> int:
    """How deep blocks stand inside each other; a function inside starts anew, elif is no deeper."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        elif_chain = field == "orelse" and isinstance(node, ast.If) and len(children) == 1
        for child in children:
            if not isinstance(child, ast.AST) or isinstance(child, Function | ast.ClassDef):
                continue
            is_elif = elif_chain and isinstance(child, ast.If)
            step = isinstance(child, BLOCKS) and not is_elif
            deepest = max(deepest, nesting(child) + step)
    return deepest


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the project."""
    folders = ("sched", "workers", "shm", "wire", "clients", "tests", "bench", "examples")
    paths = (p for folder in folders for p in sorted((ROOT / folder).rglob("*.py")))
    return tuple(Source(path) for path in paths if "__pycache__" not in path.parts)


@cache
def packaged() -> tuple[Source, ...]:
    """The files that travel in the wheel."""
    return tuple(source for source in sources() if source.package)


def what_it_imports(start: Source) -> dict[str, str]:
    """Everything a file of ours imports, through our own files too -> by which file."""
    by_module = {source.module: source for source in packaged()}
    found: dict[str, str] = {}
    waiting, seen = [start], {start}
    while waiting:
        source = waiting.pop()
        for name in source.imports(at_runtime_only=True):
            found.setdefault(name, source.name)
            ours = by_module.get(name)
            if ours and ours not in seen:
                seen.add(ours)
                waiting.append(ours)
    return found
