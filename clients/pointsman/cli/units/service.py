"""`systemd install` and `systemd uninstall`: the service as units, written for this environment."""

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from pointsman.cli.endings import USAGE, Commands, Trouble
from pointsman.cli.options import ConfigPath, InsecurePlaintext, Json
from pointsman.cli.screen import say, say_json
from pointsman.cli.units import surroundings
from pointsman.cli.units.writing import (
    SERVICE_FILES,
    TLS_FILE,
    Installation,
    directories_text,
    service_unit,
    tls_unit,
    users_text,
)
from pointsman_wire.limits import WORKERS_MAX
from pointsman_wire.sockets.tcp import join_address

app = typer.Typer(cls=Commands, help="Run the service as units of systemd.", no_args_is_help=True)

UNITS = "etc/systemd/system"
USERS_FILE = "etc/sysusers.d/pointsman.conf"
DIRECTORIES_FILE = "etc/tmpfiles.d/pointsman.conf"
ENABLED = (
    "pointsman.target",
    "pointsman.socket",
    "pointsman-manager.service",
    "pointsman-console.service",
)

Root = Annotated[
    Path | None,
    typer.Option(help="Write below this directory, and start nothing.", resolve_path=True),
]
ForUser = Annotated[bool, typer.Option("--user", help="For this user alone, without root.")]


@app.command()
def install(
    *,
    workers: Annotated[
        str, typer.Option(help="How many, or auto: one for each processor.")
    ] = "auto",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "",
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="The public port.")] = None,
    config: ConfigPath = None,
    root: Root = None,
    user: ForUser = False,
    service_user: Annotated[
        str, typer.Option(help="An existing system user to run as; else one is made.")
    ] = "",
    insecure_plaintext: InsecurePlaintext = False,
    start: Annotated[bool, typer.Option(help="Start it, and wait until it is ready.")] = True,
    as_json: Json = False,
) -> None:
    """Write the units of the service for this Python, enable them, and start.

    A second time changes what is there: other options are written, and a
    service that runs is started anew, while clients wait at its open port.
    """
    section, tls = _section(config, "server"), _section(config, "tls")
    made = Installation(
        python=Path(sys.executable),
        environment=surroundings.environment_of_python(),
        worker_count=worker_count(workers, section.get("workers")),
        host=host or section.get("host", "127.0.0.1"),
        port=port or section.get("port", 7400),
        config=config,
        tls_place=_tls_place(tls),
        tls_key=str(tls.get("key", "")),
        is_open=insecure_plaintext,
        service_user=service_user,
        service_group=surroundings.system_group(service_user) if service_user else "",
        admin_group=_admin_group(config),
        state_dir=str(surroundings.users_state() / "pointsman" / "default") if user else "",
        is_users=user,
    )
    folder, made = _write(made, root)
    _begin(made, folder, is_real=root is None, start=start, as_json=as_json)


@app.command()
def uninstall(*, root: Root = None, user: ForUser = False, as_json: Json = False) -> None:
    """Stop the service, and remove its units; its state and user stay."""
    made = Installation(python=Path(sys.executable), is_users=user)
    base = surroundings.system_folder(root) if not user else Path("/")
    folder = surroundings.users_folder() if user else base / UNITS
    if root is None:
        if not (folder / "pointsman.target").exists():
            raise Trouble(f"no service is installed in {folder}")
        _control(made, "disable", "--now", *ENABLED)
        _control(made, "stop", "pointsman-prepare.service")
        _remove_tls(made, folder)
        _set_workers(made, folder, 0)
    others = [] if user else [base / USERS_FILE, base / DIRECTORIES_FILE]
    files = [*(folder / name for name in (*SERVICE_FILES, TLS_FILE)), *others]
    removed = [path for path in files if path.exists()]
    for path in removed:
        path.unlink()
    if root is None:
        _control(made, "daemon-reload")
    if as_json:
        say_json({"folder": str(folder), "removed": [str(path) for path in removed]})
    else:
        say(f"removed the units from {folder}; the state is kept")


def _begin(made: Installation, folder: Path, *, is_real: bool, start: bool, as_json: bool) -> None:
    """Enable and start what was written, where it is this system's, and tell."""
    units = [*SERVICE_FILES, *([TLS_FILE] if made.tls_place else [])]
    if not as_json:
        say(f"wrote {len(units)} units to {folder}")
    is_started = start and is_real
    if is_real:
        _enable(made, folder)
    if is_started:
        _control(made, "restart", "pointsman.target")
    if as_json:
        say_json({"folder": str(folder), "units": units, "started": is_started, **_facts(made)})
    elif is_started:
        say(f"pointsman ready: {_ports(made)}, {made.worker_count} workers, by systemd")


def _facts(made: Installation) -> dict[str, str | int]:
    address = join_address(made.host, made.port)
    return {"address": address, "tls": made.tls_place, "workers": made.worker_count}


def worker_count(wish: str, configured: int | None = None) -> int:
    """Return the count that is meant.  Raises Trouble."""
    if wish == "auto":
        return configured or min(WORKERS_MAX, os.cpu_count() or 1)
    if not wish.isdecimal() or not 1 <= int(wish) <= WORKERS_MAX:
        raise Trouble(f"--workers {wish}: auto, or 1 to {WORKERS_MAX}", code=USAGE)
    return int(wish)


def _ports(made: Installation) -> str:
    return join_address(made.host, made.port) + f", TLS at {made.tls_place}" * bool(made.tls_place)


def _admin_group(config: Path | None) -> str:
    """Return the group that sockets are given to, "" where the configuration names none."""
    admin = _section(config, "admin")
    return str(admin.get("read_group") or admin.get("operator_group") or "")


def _tls_place(section: dict[str, Any]) -> str:
    """Return where the TLS port listens, "" where there is none.  Raises Trouble."""
    if not section.get("enabled"):
        return ""
    host, port = section.get("host", "0.0.0.0"), section.get("port", 7443)  # noqa: S104 - default
    if not port:
        raise Trouble("tls.port 0: systemd needs a number, as 7443", code=USAGE)
    return join_address(str(host), port)


def _section(config: Path | None, name: str) -> dict[str, Any]:
    """Return what the socket and the units have to know of the configuration."""
    if config is None:
        return {}
    try:
        section = tomllib.loads(config.read_text(encoding="utf-8")).get(name, {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Trouble(f"{config}: {error}", code=USAGE) from None
    return section if isinstance(section, dict) else {}


def _write(made: Installation, root: Path | None) -> tuple[Path, Installation]:
    words = [str(made.python), made.host, made.state_dir, *made.environment.values()]
    surroundings.check_words([*words, str(made.config or ""), made.tls_place, made.tls_key])
    if made.is_users:
        folder = surroundings.users_folder()
    else:
        base = surroundings.system_folder(root)
        folder = base / UNITS
        needed = surroundings.needed_places(made.environment)
        made = msgspec.structs.replace(made, is_in_home=surroundings.check_for_system(needed))
        surroundings.write(base / USERS_FILE, users_text(made))
        surroundings.write(base / DIRECTORIES_FILE, directories_text(made))
    for name in SERVICE_FILES:
        surroundings.write(folder / name, service_unit(name, made))
    if made.tls_place:
        surroundings.write(folder / TLS_FILE, tls_unit(made))
    elif root is None:
        _remove_tls(made, folder)
    return folder, made


def _remove_tls(made: Installation, folder: Path) -> None:
    """Close the TLS port of a former installation, if it had one."""
    if (folder / TLS_FILE).exists():
        _control(made, "disable", "--now", TLS_FILE)
        (folder / TLS_FILE).unlink()


def _enable(made: Installation, folder: Path) -> None:
    if not made.is_users:
        surroundings.run("systemd-sysusers", f"/{USERS_FILE}")
        surroundings.run("systemd-tmpfiles", "--create", f"/{DIRECTORIES_FILE}")
    _control(made, "daemon-reload")
    _control(made, "enable", *ENABLED, *([TLS_FILE] if made.tls_place else []))
    _set_workers(made, folder, made.worker_count)


def _set_workers(made: Installation, folder: Path, count: int) -> None:
    """Enable so many workers, and stop those of a former, larger number."""
    wanted = [f"pointsman-worker@{index}.service" for index in range(count)]
    enabled = [path.name for path in (folder / "pointsman.target.wants").glob("pointsman-worker@*")]
    if former := sorted(set(enabled) - set(wanted)):
        _control(made, "disable", "--now", *former)
    if wanted:
        _control(made, "enable", *wanted)


def _control(made: Installation, *words: str) -> None:
    surroundings.run("systemctl", *(["--user"] if made.is_users else []), *words)
