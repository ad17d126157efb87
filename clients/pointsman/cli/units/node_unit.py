"""`node install` and `node uninstall`: a node of this machine as a unit of systemd, by its name.

What the node offers is written as options of `pointsman node`, which are checked before anything
is written.  They stand in a file of the node's own beside the unit, which is one template for all
nodes; what is secret among them stands there as well, in the node's environment and readable by
root alone, never on a command line.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from typer.main import get_command

from pointsman.cli import node
from pointsman.cli.endings import USAGE, Commands, Trouble
from pointsman.cli.node import asked_introduction
from pointsman.cli.options import Json
from pointsman.cli.screen import say, say_json
from pointsman.cli.units import surroundings
from pointsman.cli.units.service import UNITS, ForUser, Root
from pointsman.cli.units.writing import NODE_FILE, Installation, node_unit, text_of

app = typer.Typer(cls=Commands)

# Given on the command line, kept in the node's environment instead.
SECRETS = {"--token": "POINTSMAN_TOKEN", "--enrol": "POINTSMAN_ENROL"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SYSUSERS = "etc/sysusers.d/pointsman-node.conf"
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

NodeName = Annotated[
    str, typer.Option("--name", help="The node's name, and the unit's: pointsman-node@NAME.")
]


@app.command("node install", context_settings=PASSED_ON)
def install(
    context: typer.Context,
    *,
    name: NodeName,
    connect: Annotated[str, typer.Option(metavar="HOST:PORT", help="The service.")],
    root: Root = None,
    user: ForUser = False,
    start: Annotated[bool, typer.Option(help="Start it.")] = True,
    as_json: Json = False,
) -> None:
    """Run a node from now on, by systemd: all other options are those of `pointsman node`.

    pointsman node install --name asr --connect HOST:7400 --exec 'recognise' --services asr
    --asr en.  A second time changes what it offers.  On macOS and Windows see
    examples/service_files of the project.
    """
    _check_name(name)
    words, secrets = without_secrets(list(context.args))
    if secrets.get("POINTSMAN_ENROL") == "-":
        secrets["POINTSMAN_ENROL"] = asked_introduction()
    words = ["--server", connect, *words]
    check_offer(words)
    made = Installation(
        python=Path(sys.executable),
        environment=surroundings.environment_of_python(),
        is_users=user,
        state_dir=str(surroundings.users_state() / "pointsman" / "nodes") if user else "",
    )
    unit, file = _write(made, root, name, offer_text(words, secrets))
    if not as_json:
        say(f"wrote {unit} and {file}")
    instance = f"pointsman-node@{name}.service"
    is_started = start and root is None
    if root is None:
        _enable(instance, is_users=user)
    if is_started:
        _control(user, "restart", instance)
    if as_json:
        say_json({"unit": instance, "files": [str(unit), str(file)], "started": is_started})
    elif is_started:
        follow = f"journalctl {'--user ' if user else ''}-f -u {instance}"
        say(f"{instance} runs; `{follow}` tells when it is ready")


@app.command("node uninstall")
def uninstall(
    *, name: NodeName, root: Root = None, user: ForUser = False, as_json: Json = False
) -> None:
    """Let a node end its jobs and leave, and remove its unit; its key stays."""
    _check_name(name)
    folder, files = _places(root, is_users=user)
    file = files / f"node-{name}.conf"
    if not file.exists():
        raise Trouble(f"no node {name!r} is installed: there is no {file}", code=USAGE)
    if root is None:
        _control(user, "disable", "--now", f"pointsman-node@{name}.service")
    file.unlink()
    if not any(files.glob("node-*.conf")):
        (folder / NODE_FILE).unlink(missing_ok=True)
        if not user:
            ((root or Path("/")) / SYSUSERS).unlink(missing_ok=True)
    if root is None:
        _control(user, "daemon-reload")
    if as_json:
        say_json({"name": name, "folder": str(folder)})
    else:
        say(f"removed the node {name} from {folder}")


def without_secrets(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the options but for secret ones, and those as variables of the environment."""
    kept, secrets = list[str](), dict[str, str]()
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option in SECRETS:
            secrets[SECRETS[option]] = value if equals else next(rest, "")
        else:
            kept.append(word)
    return kept, secrets


def check_offer(words: list[str]) -> None:
    """Let the command `node` read its options.  Raises Trouble, or typer's own error of usage."""
    command = get_command(node.app)
    with command.make_context("pointsman node install", list(words)) as read:
        given = [read.params[option] for option in ("engines", "handler", "program")]
        if given.count(None) != len(given) - 1:
            raise Trouble("name one of --engines, --handler and --exec", code=USAGE)
        if read.params["node_id"] or read.params["state_dir"]:
            raise Trouble("--node-id and --state-dir follow from --name", code=USAGE)


def offer_text(words: list[str], secrets: dict[str, str]) -> str:
    """Return the file that the unit reads: systemd splits ARGUMENTS at spaces outside quotes."""
    for word in [*words, *secrets.values()]:
        if any(sign in word for sign in "'\"\\\n"):
            raise Trouble(
                f"{word!r} cannot stand in a file of systemd: take a word without quotes, "
                "backslashes and line ends",
                todo="what a program needs of them can stand in a script: --exec /path/to/script",
                code=USAGE,
            )
    arguments = " ".join(
        f'"{word}"' if re.search(r"[\s;]", word) or not word else word for word in words
    )
    lines = [f"ARGUMENTS='{arguments}'", *(f"{key}='{value}'" for key, value in secrets.items())]
    return "\n".join(["# Options of `pointsman node`; written by `node install`.", *lines, ""])


def _write(made: Installation, root: Path | None, name: str, offer: str) -> tuple[Path, Path]:
    surroundings.check_words([str(made.python), made.state_dir, *made.environment.values()])
    if not made.is_users:
        base = surroundings.system_folder(root)
        needed = surroundings.needed_places(made.environment)
        made = msgspec.structs.replace(made, is_in_home=surroundings.check_for_system(needed))
        surroundings.write(base / SYSUSERS, text_of("pointsman-node.sysusers"))
    folder, files = _places(root, is_users=made.is_users)
    surroundings.write(folder / NODE_FILE, node_unit(made, str(files) if made.is_users else ""))
    file = files / f"node-{name}.conf"
    surroundings.write(file, offer, mode=0o600)
    return folder / NODE_FILE, file


def _places(root: Path | None, *, is_users: bool) -> tuple[Path, Path]:
    """Return where units lie, and where nodes' files do."""
    if is_users:
        folder = surroundings.users_folder()
        return folder, folder.parents[1] / "pointsman"
    base = surroundings.system_folder(root)
    return base / UNITS, base / "etc" / "pointsman"


def _enable(instance: str, *, is_users: bool) -> None:
    if not is_users:
        surroundings.run("systemd-sysusers", f"/{SYSUSERS}")
    _control(is_users, "daemon-reload")
    _control(is_users, "enable", instance)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Trouble(f"--name {name}: take letters, digits, '.', '_' and '-'", code=USAGE)


def _control(user: bool, *words: str) -> None:
    surroundings.run("systemctl", *(["--user"] if user else []), *words)
