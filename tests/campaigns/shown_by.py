"""Which tests show which promise: by ids in the names and docstrings of tests."""

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

_IN_TEXT = re.compile(r"\b([IPSNRCTEXAUDGHQ])(\d{1,2})\b(?: to \1(\d{1,2})\b)?")
_IN_NAME = re.compile(r"(?:^|_)([ipsnrctexaudghq]\d{1,2})(?=_|$)")


def told_by_id(tests: Path, known: Collection[str]) -> Mapping[str, Sequence[str]]:
    """Return id -> tests as "folder/file.py: name", in order; what is not known is no id.

    An id in the docstring of a test, or of its module, speaks for the tests in it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(tests.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = str(path.relative_to(tests))
        for id_ in sorted(set(ids_in(ast.get_docstring(tree) or "")) & set(known)):
            found[id_].append(place)
        for name, text in _tests_of(tree):
            ids = {*ids_in(text), *(match.upper() for match in _IN_NAME.findall(name))}
            for id_ in sorted(ids & set(known)):
                found[id_].append(f"{place}: {name}")
    return found


def ids_in(text: str) -> Iterator[str]:
    """Return the ids that a text names; "I1 to I3" names three."""
    for letter, first, last in _IN_TEXT.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{letter}{number}"


def _tests_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names and docstrings of the tests of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_":
            yield node.name, ast.get_docstring(node) or ""
