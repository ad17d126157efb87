"""The ground on which a service stands: its lock, directories, port; and cleaning it.

Whoever holds the instance's lock may remove what bears the instance's name: whatever is found
was left by a service that is dead.
"""

import errno
import os
import socket
from pathlib import Path

from pointsman_sched.supervisor.options import ServiceOptions
from pointsman_shm.memory.ownership import LockHeld, OwnerLock, acquire_lock
from pointsman_shm.memory.segment import unlink_segment
from pointsman_shm.paths import InstancePaths, prepare_directories
from pointsman_shm.state_files import make_state_files, replace_file

BACKLOG = 4096
# Wake a worker when the first bytes are there, not for the bare connect.
DEFER_ACCEPT_S = 5
SEGMENT_DIRECTORY = Path("/dev/shm")  # noqa: S108 - where the system keeps POSIX shared memory


class GroundError(Exception):
    """A service cannot stand here; the text says why and what to do."""


def take_instance(options: ServiceOptions) -> OwnerLock:
    """Prepare the directories and take the instance for this service.

    Raises GroundError when another service has it, PathError for a directory that cannot be used.
    """
    paths = options.paths
    prepare_directories(paths, user_id=os.geteuid())
    try:
        lock = acquire_lock(paths.instance_lock)
    except LockHeld as held:
        who = f"process {held.holder.pid}" if held.holder else "another process"
        raise GroundError(
            f"instance {paths.instance!r} is running already ({who} holds {held.path}): stop it, "
            "or start this one with another --instance"
        ) from None
    clean(paths)
    make_state_files(paths, os.urandom)
    replace_file(paths.worker_count_file, f"{options.worker_count}\n".encode("ascii"))
    return lock


def clean(paths: InstancePaths) -> None:
    """Remove the segments and sockets of the instance; the caller holds its lock."""
    prefix = paths.segment("").removeprefix("/")
    for name in sorted(os.listdir(SEGMENT_DIRECTORY)):
        if name.startswith(prefix):
            unlink_segment(f"/{name}")
    for socket_file in sorted(paths.runtime_dir.glob("*.sock")):
        socket_file.unlink(missing_ok=True)


def open_port(host: str, port: int) -> socket.socket:
    """Return the public listening socket, opened once and accepted from by every worker.

    Raises GroundError: port in use, not allowed, no such address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise GroundError(
            f"host {host!r}: {error.strerror}; give an address of this machine"
        ) from (None)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise GroundError(_why_no_port(host, port, error)) from None
    return listener


def address_text(listener: socket.socket) -> str:
    """Return host:port of a listening socket, with the real port."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why_no_port(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: stop the program that listens there "
            f"(ss -ltnp 'sport = :{port}' names it), or choose another --port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user: choose a --port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host {host} is no address of this machine: choose another --host"
    return f"cannot listen on {host} port {port}: {error.strerror}"
