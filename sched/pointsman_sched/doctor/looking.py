"""Looks at this host, as it really is for this user and this process."""

import ctypes
import grp
import os
import platform
import resource
import socket
import stat
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pointsman_sched.doctor.judging import DirectoryFacts, HostFacts, OperatorFacts
from pointsman_sched.supervisor.grounds import holder_of
from pointsman_shm.auditing.config_admin import AdminConfig
from pointsman_shm.auditing.operators import given_to, named_groups
from pointsman_shm.config import Config
from pointsman_shm.config_load import ConfigError
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.paths import SEGMENT_DIRECTORY, InstancePaths, segments_of
from pointsman_wire.sockets.tcp import join_address

LIBRARIES = ("msgspec", "uvloop", "posix-ipc", "psutil", "websockets")
LOGIND = (Path("/etc/systemd/logind.conf"), Path("/etc/systemd/logind.conf.d"))
DIAL_S = 2.0
_CLOCK_UNSYNCHRONISED = 5  # what adjtimex(2) returns
_STATUS_NANO = 0x2000


def look(config: Config, paths: InstancePaths, *, host: str, port: int) -> HostFacts:
    """Return what is found; Redis is asked elsewhere."""
    is_running = _answers(paths.admin("manager"))
    synchronised, offset_ms = read_clock()
    operators = _operators(config.admin, paths.runtime_dir)
    statvfs = os.statvfs(SEGMENT_DIRECTORY) if SEGMENT_DIRECTORY.is_dir() else None
    return HostFacts(
        instance=paths.instance,
        is_running=is_running,
        # It may run with other directories than those that were named here.
        holder="" if is_running else holder_of(paths.instance),
        descriptors_max=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nodes_max=config.nodes.max_nodes,
        worker_count=config.server.workers,
        cores=len(os.sched_getaffinity(0)),
        governor=_read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        memory_free_bytes=statvfs.f_bavail * statvfs.f_frsize if statvfs else 0,
        memory_needed_bytes=needed_bytes(config),
        leftovers=tuple(file.name for file in segments_of(paths.instance)),
        is_clock_synchronised=synchronised,
        clock_offset_ms=offset_ms,
        address=join_address(host, port),
        port_trouble=_port_trouble(host, port, is_running=is_running),
        directories=(
            _directory(paths.state_dir),
            _directory(paths.runtime_dir, operators.readers or operators.operators),
        ),
        operators=operators,
        user_id=os.geteuid(),
        has_logind=Path("/run/systemd/seats").is_dir(),
        keeps_ipc=_keeps_ipc(),
        backlog_max=_number(_read(Path("/proc/sys/net/core/somaxconn"))),
        python=sys.version_info[:2],
        libraries=tuple((name, _version(name)) for name in LIBRARIES),
        machine=platform.machine(),
    )


def needed_bytes(config: Config) -> int:
    """Return how much shared memory the large segments of a service take."""
    nodes, workers = config.nodes.max_nodes, config.server.workers
    return (
        CatalogLayout(nodes).size
        + NodeRows.size(nodes)
        + Ledger.size(max_nodes=nodes, worker_count=workers)
        + WaitingWords.size(worker_count=workers)
    )


def read_clock() -> tuple[bool | None, float]:
    """Return (whether the kernel holds the clock for synchronised, its offset in ms)."""
    record = ctypes.create_string_buffer(512)  # of struct timex, whose modes of 0 change nothing
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(record)
    except (AttributeError, OSError):
        return None, 0.0
    if state < 0:
        return None, 0.0
    offset = int.from_bytes(record.raw[8:16], "little", signed=True)
    status = int.from_bytes(record.raw[40:44], "little")
    return state != _CLOCK_UNSYNCHRONISED, offset / (1e6 if status & _STATUS_NANO else 1e3)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dialled:
        dialled.settimeout(DIAL_S)
        try:
            dialled.connect(str(path))
        except OSError:
            return False
        return True


def _port_trouble(host: str, port: int, *, is_running: bool) -> str:
    """Return why the port cannot be used; "" if it can."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as tried:
            tried.settimeout(DIAL_S)
            if is_running and port:
                tried.connect(address)
            else:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _operators(config: AdminConfig, runtime_dir: Path) -> OperatorFacts:
    try:
        readers, operators = named_groups(config)
    except ConfigError as error:
        return OperatorFacts(trouble=str(error))
    if readers is None and operators is None and runtime_dir.is_dir():
        operators = given_to(runtime_dir)
    found = [grp.getgrgid(number) for number in (operators, readers) if number is not None]
    return OperatorFacts(
        operators=grp.getgrgid(operators).gr_name if operators is not None else "",
        readers=grp.getgrgid(readers).gr_name if readers is not None else "",
        members=tuple(sorted({name for group in found for name in group.gr_mem})),
    )


def _directory(path: Path, open_to: str = "") -> DirectoryFacts:
    try:
        status = path.stat()
    except FileNotFoundError:
        parent = next(one for one in path.parents if one.exists())
        can_be_made = os.access(parent, os.W_OK | os.X_OK)
        return DirectoryFacts(path=str(path), exists=False, can_be_made=can_be_made)
    except OSError:
        return DirectoryFacts(path=str(path), exists=False)
    mode = stat.S_IMODE(status.st_mode)
    return DirectoryFacts(
        path=str(path), exists=True, mode=mode, owner=status.st_uid, open_to=open_to
    )


def _keeps_ipc() -> bool:
    files = [LOGIND[0], *sorted(LOGIND[1].glob("*.conf"))]
    said = [line.strip() for file in files for line in (_read(file) or "").splitlines()]
    settings = [line for line in said if line.startswith("RemoveIPC=")]
    return bool(settings) and settings[-1].partition("=")[2].lower() in ("no", "false", "0", "off")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
