"""The house rules, held by a machine so that review can talk about ideas.

Each rule is a test that lists every place where it is broken.  An exception is an entry in one of
the tables below, by name and with its reason; an entry that is no longer needed fails as well.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tidy_source import (
    PACKAGE_PATHS,
    ROOT,
    Function,
    Source,
    line_count,
    nesting,
    packaged,
    parameter_count,
    sources,
    what_it_imports,
)

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 400
FOLDER_FILES_MAX = 14
NESTING_MAX = 3
PARAMETERS_MAX = 5

# "path: function" -> why it may break a number.
LONG_FUNCTIONS: dict[str, str] = {}
DEEP_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS: dict[str, str] = {}

OURS_ALLOWED = {
    "pointsman_sched": {"pointsman_shm", "pointsman_wire"},
    "pointsman_workers": {"pointsman_shm", "pointsman_wire"},
    "pointsman_shm": set[str](),
    "pointsman_wire": set[str](),
    "pointsman": {"pointsman_wire"},
    "pointsman_sim": set(PACKAGE_PATHS),
}

# Outside library -> the files and folders that may import it.
ALL_PACKAGES = tuple(f"{path}/" for path in PACKAGE_PATHS.values())
LIBRARIES: dict[str, tuple[str, ...]] = {
    "cryptography": ("wire/pointsman_wire/secure/certificates.py",),
    "msgspec": ALL_PACKAGES,
    "posix_ipc": ("shm/pointsman_shm/memory/segment.py",),
    "psutil": ("sched/pointsman_sched/", "workers/pointsman_workers/shell/", "clients/pointsman/"),
    "typer": ("clients/pointsman/cli/",),
    "rich": ("clients/pointsman/cli/",),
    "uvloop": ("sched/pointsman_sched/", "workers/pointsman_workers/"),
    "pytest": ("clients/pointsman/testing.py", "tests/pointsman_sim/"),
    "pocketsphinx": ("clients/pointsman/engines/recognition.py",),
    "websockets": ("wire/pointsman_wire/sockets/web/",),
    "redis": ("wire/pointsman_wire/coordination/connection.py",),
    "hiredis": ("wire/pointsman_wire/coordination/scripting/resp.py",),
    "starlette": ("sched/pointsman_sched/console/",),
    "prometheus_client": ("sched/pointsman_sched/console/observing/",),
    "opentelemetry": ("workers/pointsman_workers/shell/tracing/otlp.py",),
    "uvicorn": ("sched/pointsman_sched/console/hall.py",),
    "h11": ("sched/pointsman_sched/console/hall.py",),
}
ONE_FILE_PER_PACKAGE = {"psutil", "uvloop"}

# Pure code decides; it is told the time and does nothing by itself.
PURE_FOLDERS = (
    "shm/pointsman_shm/rules/",
    "shm/pointsman_shm/snapshot/",
    "shm/pointsman_shm/tls/exposure.py",
    "shm/pointsman_shm/logs/events.py",
    "shm/pointsman_shm/logs/sampling.py",
    "wire/pointsman_wire/coordination/requests.py",
    "wire/pointsman_wire/coordination/inbox_requests.py",
    "wire/pointsman_wire/coordination/keys.py",
    "wire/pointsman_wire/coordination/errors.py",
    "wire/pointsman_wire/coordination/breaker.py",
    "wire/pointsman_wire/coordination/reach/greeting.py",
    "wire/pointsman_wire/coordination/scripting/calls.py",
    "wire/pointsman_wire/coordination/scripting/replies.py",
)
IMPURE = {"asyncio", "concurrent", "datetime", "logging", "multiprocessing", "os", "random"}
IMPURE |= {"sched", "secrets", "select", "selectors", "signal", "socket", "subprocess", "time"}
IMPURE |= {"uuid", "posix_ipc", "psutil", "redis", "uvloop"}

# The wall clock (as opposed to the monotonic one) is read in one module of this name per package.
WALL_CLOCK_MODULE = "wall_clock.py"
WALL_CLOCK_CALLS = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime"}
WALL_CLOCK_CALLS |= {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
WALL_CLOCK_CALLS |= {f"datetime.{call}" for call in WALL_CLOCK_CALLS if call.startswith("date")}

# "path: target" of a queue that is bounded by its surroundings -> by what.
BOUNDED_ELSEWHERE: dict[str, str] = {}
QUEUES = {"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "deque"}

# "path: function" -> what the boundary stands around; one per process.
CATCH_ALL_BOUNDARIES: dict[str, str] = {}

# Turns bytes into code or objects of any kind; what comes from outside must never reach it.
MAKES_CODE = {"pickle", "marshal", "shelve", "dill", "yaml", "code", "runpy"}
MAKES_CODE_CALLS = {"eval", "exec", "compile", "__import__", "import_module"}
# "path" -> why it may.
MAKES_CODE_ALLOWED = {
    "clients/pointsman/cli/offers.py": "the node's owner names the handler on the command line",
    "clients/pointsman/resources.py": "one library, by its own name, where it is installed",
}

EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
# "path: class" that ends like an empty word -> what it says all the same.
TELLING_NAMES = {
    "workers/pointsman_workers/core/events.py: TellManager": "a wish to the manager process",
}
EMPTY_SUFFIXES = ("Utils", "Util", "Helper", "Helpers", "Common", "Base", "Manager")

# Imports fine where the server's libraries are missing, as on a home PC with Windows or macOS.
WITHOUT_SERVER_LIBRARIES = """
import importlib, pkgutil, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        server = {"uvloop", "posix_ipc", "psutil", "pocketsphinx", "redis", "hiredis", "websockets"}
        server.add("cryptography")
        if name.partition(".")[0] in server or name.startswith("pointsman_wire.coordination."):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import pointsman, pointsman_wire
web = "pointsman_wire.sockets.web."
# Clients dial WebSockets with the extra `web` only.
servers = {web + name for name in ("web_connection", "web_dialled", "web_stream")}
# Nodes enrol with the extra `tls` only.
servers.add("pointsman_wire.secure.certificates")
for package in (pointsman, pointsman_wire):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        # Servers alone coordinate; nothing of a client may want it.
        if module.name not in servers and ".coordination." not in module.name:
            importlib.import_module(module.name)
"""


def settle(broken: dict[str, str], exceptions: dict[str, str] | None = None) -> None:
    """Fail with every breach that is not listed, and with every entry that nothing needs."""
    listed = exceptions or {}
    breaches = [f"{place}: {what}" for place, what in broken.items() if place not in listed]
    stale = [f"{place}: is listed but keeps the rule" for place in listed if place not in broken]
    assert not breaches + stale, "\n" + "\n".join(breaches + stale)


def is_allowed(source: Source, places: tuple[str, ...]) -> bool:
    return any(source.name == place or source.name.startswith(place) for place in places)


def is_pure(source: Source) -> bool:
    return is_allowed(source, PURE_FOLDERS) or "core" in source.module.split(".")[1:]


def roots(source: Source) -> set[str]:
    return {name.partition(".")[0] for name in source.imports()}


# ---- size and shape


def test_every_module_opens_with_what_it_is() -> None:
    settle({s.name: "has no docstring" for s in sources() if not ast.get_docstring(s.tree)})


def test_files_stay_short() -> None:
    lengths = {s.name: s.text.count("\n") for s in sources()}
    settle({name: f"{n} lines" for name, n in lengths.items() if n > FILE_LINES_MAX})


def test_folders_stay_small() -> None:
    empty = {"__init__.py", "conftest.py"}
    folders = [s.path.parent for s in sources() if s.path.name not in empty]
    counts = {str(f.relative_to(ROOT)): folders.count(f) for f in set(folders)}
    settle({name: f"{n} files" for name, n in counts.items() if n > FOLDER_FILES_MAX})


def test_functions_stay_short() -> None:
    lengths = {name: line_count(f) for name, f in functions().items()}
    too_long = {name: f"{n} lines" for name, n in lengths.items() if n > FUNCTION_LINES_MAX}
    settle(too_long, LONG_FUNCTIONS)


def test_functions_nest_little() -> None:
    depths = {name: nesting(f) for name, f in functions().items()}
    settle({n: f"nests {d} deep" for n, d in depths.items() if d > NESTING_MAX}, DEEP_FUNCTIONS)


def test_functions_take_few_parameters() -> None:
    # The parameters of a command are its options: there the command line sets their number.
    counts = {n: parameter_count(f) for n, f in functions().items() if not is_command(f)}
    too_many = {name: f"{n} parameters" for name, n in counts.items() if n > PARAMETERS_MAX}
    settle(too_many, MANY_PARAMETERS)


def functions() -> dict[str, Function]:
    return {f"{s.name}: {name}": f for s in sources() for name, f in s.functions()}


def is_command(function: Function) -> bool:
    return any(
        word in f"{ast.unparse(decorator)}("
        for decorator in function.decorator_list
        for word in (".command(", ".callback(")
    )


def test_names_say_something() -> None:
    broken = {}
    for source in packaged():
        stem = source.path.stem
        if stem in EMPTY_WORDS or stem in sys.stdlib_module_names:
            broken[source.name] = "is named after nothing, or after a standard module"
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith(EMPTY_SUFFIXES):
                broken[f"{source.name}: {node.name}"] = "is a class named after nothing"
    settle(broken, TELLING_NAMES)


# ---- who may import what


def test_imports_are_absolute_and_every_name_has_one_home() -> None:
    settle({s.name: "imports relatively" for s in sources() if imports_relatively(s)})
    faces = [s for s in packaged() if s.path.name == "__init__.py"]
    settle({s.name: "passes names on" for s in faces if s.imports() and s.module != "pointsman"})


def imports_relatively(source: Source) -> bool:
    return any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(source.tree))


def test_packages_import_only_what_they_may() -> None:
    broken = {}
    for source in packaged():
        others = roots(source) & (set(PACKAGE_PATHS) - {source.package})
        if wrong := others - OURS_ALLOWED[source.package]:
            broken[source.name] = f"imports {', '.join(sorted(wrong))}"
    settle(broken)


def test_pure_code_imports_nothing_impure_not_even_through_others() -> None:
    broken = {}
    for source in filter(is_pure, packaged()):
        for name, through in what_it_imports(source).items():
            if name.partition(".")[0] in IMPURE:
                broken[source.name] = f"imports {name} ({through})"
    settle(broken)


def test_outside_libraries_stay_where_they_are_meant_to_be() -> None:
    known = set(sys.stdlib_module_names) | set(PACKAGE_PATHS)
    broken = {}
    users: dict[tuple[str, str], list[str]] = {}
    for source in packaged():
        for library in roots(source) - known:
            if not is_allowed(source, LIBRARIES.get(library, ())):
                broken[source.name] = f"imports {library}, which is not meant to be here"
            users.setdefault((library, source.package), []).append(source.name)
    for (library, _), files in users.items():
        if library in ONE_FILE_PER_PACKAGE and len(files) > 1:
            broken[files[1]] = f"imports {library}, as does {files[0]}"
    settle(broken)


def test_the_client_side_imports_without_the_servers_libraries() -> None:
    run_python(WITHOUT_SERVER_LIBRARIES)


def test_sched_is_the_standard_librarys() -> None:
    assert run_python("import sched; print(sched.__file__)").strip().endswith("/sched.py")
    assert run_python("import sched; print(sched.scheduler.__module__)").strip() == "sched"


def run_python(program: str) -> str:
    command = [sys.executable, "-c", program]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# ---- layout of the repository


def test_the_packages_listed_are_those_on_disk() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = ("sched", "workers", "shm", "wire", "clients")
    on_disk = [p.parent for f in folders for p in (ROOT / f).glob("*/__init__.py")]
    on_disk += [p.parent for p in (ROOT / "tests").glob("*/__init__.py")]
    assert sorted(listed) == sorted(p.relative_to(ROOT).as_posix() for p in on_disk)
    assert sorted(listed) == sorted(PACKAGE_PATHS.values())
    assert all((package / "py.typed").exists() for package in on_disk)


def test_no_top_level_folder_is_a_package() -> None:
    assert not [path.name for path in ROOT.glob("*/__init__.py")]


# ---- habits


def test_the_wall_clock_is_read_in_one_module_per_package() -> None:
    sources_read = {s.name: wall_clock_reads(s) for s in packaged()}
    broken = {n: f"reads {', '.join(c)}" for n, c in sources_read.items() if c}
    settle({n: what for n, what in broken.items() if Path(n).name != WALL_CLOCK_MODULE})


def wall_clock_reads(source: Source) -> list[str]:
    attributes = {ast.unparse(n) for n in ast.walk(source.tree) if isinstance(n, ast.Attribute)}
    return sorted((attributes | source.imports()) & WALL_CLOCK_CALLS)


def test_every_queue_has_a_bound() -> None:
    broken = {place: what for source in packaged() for place, what in unbounded_queues(source)}
    settle(broken, BOUNDED_ELSEWHERE)


def unbounded_queues(source: Source) -> Iterator[tuple[str, str]]:
    for statement in ast.walk(source.tree):
        if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr | ast.Return):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        place = ", ".join(ast.unparse(t) for t in targets) or f"line {statement.lineno}"
        for node in ast.walk(statement):
            if is_unbounded_queue(node):
                yield f"{source.name}: {place}", "makes a queue without a bound"


def is_unbounded_queue(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "default_factory" and last_word(node.value) in QUEUES
    if not isinstance(node, ast.Call) or last_word(node.func) not in QUEUES:
        return False
    bound = {k.arg for k in node.keywords} & {"maxlen", "maxsize"}
    bound_position = 1 if last_word(node.func) == "deque" else 0
    return not bound and len(node.args) <= bound_position


def last_word(node: ast.expr) -> str:
    return ast.unparse(node).partition("[")[0].rpartition(".")[2]


def test_only_named_boundaries_catch_everything() -> None:
    broken = {}
    for source in packaged():
        for name, function in source.functions():
            handlers = (n for n in ast.walk(function) if isinstance(n, ast.ExceptHandler))
            if any(catches_all(handler) for handler in handlers):
                broken[f"{source.name}: {name}"] = "catches every exception"
    settle(broken, CATCH_ALL_BOUNDARIES)


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Whether a handler keeps whatever comes; one that ends by raising it again does not."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    caught = "BaseException" if handler.type is None else ast.unparse(handler.type)
    return bool({"Exception", "BaseException"} & set(caught.strip("()").split(", ")))


def test_nothing_from_outside_becomes_code() -> None:
    """X3: no pickle, no eval, no import by a name that came from somewhere."""
    broken = {}
    for source in packaged():
        calls = (n.func for n in ast.walk(source.tree) if isinstance(n, ast.Call))
        # compile is also what regular expressions have.
        named = {ast.unparse(f) for f in calls if isinstance(f, ast.Name | ast.Attribute)}
        named = {name.removeprefix("builtins.").removeprefix("importlib.") for name in named}
        if found := (roots(source) & MAKES_CODE) | (named & MAKES_CODE_CALLS):
            broken[source.name] = f"uses {', '.join(sorted(found))}"
    settle(broken, MAKES_CODE_ALLOWED)


def test_nothing_is_left_for_later() -> None:
    markers = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    settle({s.name: "leaves a marker" for s in sources() if any(m in s.text for m in markers)})
