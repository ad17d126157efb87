"""What every bench shares: its options, its medians, its table, and its JSON.

Rows are flat: text and whole numbers say what was measured, numbers with a unit at the end of
their key are what came out.  Rounds of one measurement are put together by the median of each key.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import msgspec

Value = str | int | float
Row = dict[str, Value]

LACKS = "lacks"  # the key of what a system does not do, told below the table
WIDTH_MAX = 150  # characters of a printed table
# Options behind which there are paths of this machine.
FILE_OPTIONS = ("--json", "--trace")
LIBRARIES = ("pointsman", "msgspec", "uvloop")
ROOT = Path(__file__).resolve().parents[2]


class Options(msgspec.Struct, frozen=True):
    """What the command line asked for."""

    is_quick: bool
    json_path: Path | None


def run(about: str, main: Callable[[Options], None]) -> None:
    """Run a bench with the options of its command line; Ctrl-C ends it without a trace."""
    options = read_options(about)
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit("interrupted: everything that was started is ended")


def read_options(about: str) -> Options:
    """Read the command line of a bench; ends the process when it is wrong."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="the short run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    found = parser.parse_args()
    return Options(is_quick=found.quick, json_path=found.json)


def median_row(rounds: Sequence[Row]) -> Row:
    """Put the rounds of one measurement together: numbers with a fraction by their median.

    What is no float is the same in every round, or a verdict: then the most frequent one stands.
    """
    merged: Row = {}
    for key in rounds[0]:
        values = [row[key] for row in rounds]
        numbers = [value for value in values if isinstance(value, float)]
        merged[key] = median(numbers) if numbers else max(values, key=values.count)
    return merged


def quantile(ordered: Sequence[int], q: float) -> int:
    """Return the q-quantile of sorted values, 0 when there are none."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0


def report(bench: str, rows: Sequence[Row], options: Options, facts: Row | None = None) -> None:
    """Print a table, or one for each kind of rows, and write the JSON.

    `facts` go with those of the machine.
    """
    for kind in dict.fromkeys(row.get("kind", "") for row in rows):
        print_table([row for row in rows if row.get("kind", "") == kind])
    for system in dict.fromkeys(str(row["system"]) for row in rows if LACKS in row):
        (lacks,) = {row[LACKS] for row in rows if row.get("system") == system}
        print(f"{system}: {lacks}")
    if options.json_path is not None:
        whole = {"bench": bench, "machine": machine() | (facts or {}), "rows": rows}
        options.json_path.write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")


def taken() -> Row:
    """Say of a row by itself at which commit it was taken, and how busy the machine was."""
    return {"commit": _commit(), "load_average": round(os.getloadavg()[0], 2)}


def rows_kept(path: Path | None, is_taken_anew: Callable[[Row], bool]) -> list[Row]:
    """Return the rows that a file has already, but for those that were taken anew."""
    if path is None or not path.exists():
        return []
    rows = msgspec.json.decode(path.read_bytes(), type=_Saved).rows
    return [row for row in rows if not is_taken_anew(row)]


class _Saved(msgspec.Struct, frozen=True):
    rows: list[Row]


def print_table(rows: Sequence[Row]) -> None:
    """Print rows under the keys that any of them has, each key a word a line; all to the right.

    A table that is too wide goes on below itself, with the columns again that say which row it is.
    """
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != LACKS]
    heads = [key.split("_") for key in keys]
    height = max(map(len, heads))
    columns = [
        ["", *[""] * (height - len(head)), *head, *(_shown(row.get(key, "")) for row in rows)]
        for key, head in zip(keys, heads, strict=True)
    ]
    lead_count = next(
        (at for at, key in enumerate(keys) if isinstance(rows[0].get(key, ""), float)), 0
    )
    for part in _parts(columns, lead_count):
        widths = [max(map(len, column)) for column in part]
        for line in zip(*part, strict=True):
            print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _parts(columns: Sequence[list[str]], lead_count: int) -> list[list[list[str]]]:
    """Divide columns among tables of WIDTH_MAX at most, each with the leading ones."""
    lead = list(columns[:lead_count])
    parts: list[list[list[str]]] = []
    used = WIDTH_MAX
    for column in columns[lead_count:]:
        width = max(map(len, column)) + 2
        if used + width > WIDTH_MAX:
            parts.append([*lead])
            used = sum(max(map(len, each)) + 2 for each in lead)
        parts[-1].append(column)
        used += width
    return parts or [lead]


def _shown(value: Value) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def machine() -> Row:
    """Say on what the figures were made, as far as others need it to judge them."""
    facts: Row = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
        "options": _options(),
        "load_average_1min": round(os.getloadavg()[0], 2),
    }
    for library in LIBRARIES:
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            facts[library] = "not installed"
    return facts


def _options() -> str:
    """Return what the command line said, but for where files are."""
    words: list[str] = []
    is_file = False
    for word in sys.argv[1:]:
        if word.startswith("--"):
            is_file = word in FILE_OPTIONS
        if not is_file:
            words.append(word)
    return " ".join(words)


def _cpu_name() -> str:
    found = _first(Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines(), "model name")
    return found.partition(":")[2].strip() or platform.machine()


def _first(lines: Iterable[str], start: str) -> str:
    return next((line for line in lines if line.startswith(start)), "")


def _commit() -> str:
    """The commit, `-dirty` where code differs; docs, which benches write themselves, may."""
    git = ["git", "-C", str(ROOT)]
    named = _said([*git, "describe", "--always"])
    is_dirty = _said([*git, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"])
    return f"{named}-dirty" if named and is_dirty else named or "unknown"


def _said(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return ended.stdout.strip()
