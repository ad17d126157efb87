"""The ground on which a service stands: its name, directories, port; and cleaning it.

A service claims three things that no other may have: its name, which its segments bear, its state
directory and its runtime directory.  Who has claimed them may remove what it finds under the name
and in the runtime directory: whatever is there was left by a service that is dead.

The name is claimed by an abstract unix socket: one for the host, whatever directories a service
was given, and gone with its process.
"""

import errno
import os
import socket
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from pointsman_sched.supervisor.options import ServiceOptions
from pointsman_shm.logs.saying import say
from pointsman_shm.memory.ownership import LockHeld, OwnerLock, acquire_lock
from pointsman_shm.memory.segment import unlink_segment
from pointsman_shm.paths import InstancePaths, PathError, prepare_directories, segments_of
from pointsman_shm.state_files import make_state_files, replace_file
from pointsman_shm.versions.state_format import FormatRefused, settle_format
from pointsman_wire.sockets.unix_sockets import peer_of

BACKLOG = 4096
# Wake a worker when the first bytes are there, not for the bare connect.
DEFER_ACCEPT_S = 5


class GroundError(Exception):
    """A service cannot stand here; the text says why and what to do."""


def take_instance(options: ServiceOptions) -> ExitStack:
    """Prepare the directories and claim the instance for this service, until the stack is closed.

    Raises GroundError when another service has it, PathError for a directory that cannot be used.
    """
    paths = options.paths
    with ExitStack() as claims:
        claims.enter_context(claim_name(paths.instance))
        claims.enter_context(take_directories(paths))
        return claims.pop_all()
    raise AssertionError("unreachable: nothing above is swallowed")


def take_directories(paths: InstancePaths) -> ExitStack:
    """Prepare and claim the directories; the caller has claimed the name.

    Raises GroundError when another service has one, PathError for one that cannot be used.
    """
    with ExitStack() as claims:
        prepare_directories(paths, user_id=os.geteuid())
        claims.enter_context(_claim(paths.instance_lock, "--state-dir"))
        claims.enter_context(_claim(paths.runtime_lock, "--runtime-dir"))
        clean(paths)
        try:
            news = settle_format(paths.state_dir, version("pointsman"), replace_file)
        except FormatRefused as error:
            raise PathError(str(error)) from None
        if news:
            say("pointsman", news)
        make_state_files(paths, os.urandom)
        return claims.pop_all()
    raise AssertionError("unreachable: nothing above is swallowed")


def claim_name(instance: str) -> socket.socket:
    """Have the name on this host as long as the socket is open.  Raises GroundError."""
    address = _address_of(instance)
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(address)
        claim.listen(64)  # who asks for the holder stays in this queue
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise
        who = _listener_at(address, "another process")
        raise GroundError(
            f"instance {instance!r} is running already ({who}): stop it, or start "
            "this one with another --instance"
        ) from None
    return claim


def holder_of(instance: str) -> str:
    """Say which process has the name on this host, whatever its directories; "" for none."""
    return _listener_at(_address_of(instance), "")


def _address_of(instance: str) -> str:
    return f"\0pointsman-instance/{instance}"


def _listener_at(address: str, unknown: str) -> str:
    """Say which process listens there: the kernel knows who asked to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(address)
            listener = peer_of(sock)
        except ConnectionRefusedError:
            return unknown
        except OSError:  # it was asked too often
            return "another process"
    return f"process {listener.process_id}"


def _claim(path: Path, option: str) -> OwnerLock:
    try:
        return acquire_lock(path)
    except LockHeld as held:
        who = f"process {held.holder.pid}" if held.holder else "another process"
        raise GroundError(
            f"directory {path.parent} is in use by another service ({who} holds {path}): stop it, "
            f"or choose another {option}"
        ) from None


def predecessor(paths: InstancePaths) -> str:
    """Name a process that was left by a service of this name which is dead, "" when all are gone.

    The caller has claimed the instance, so that nobody else takes the locks looked at.
    """
    for path in sorted(paths.state_dir.glob("*.lock")):
        if path == paths.instance_lock:
            continue
        try:
            acquire_lock(path).release()
        except LockHeld as held:
            return str(held)
    return ""


def has_leftovers(paths: InstancePaths) -> bool:
    """Did a service of this name end without cleaning up?  Its children may be ending still."""
    return bool(segments_of(paths.instance)) or any(paths.runtime_dir.glob("*.sock"))


def clean(paths: InstancePaths) -> None:
    """Remove the segments and sockets of the instance; the caller has claimed it."""
    for file in segments_of(paths.instance):
        unlink_segment(f"/{file.name}")
    for socket_file in sorted(paths.runtime_dir.glob("*.sock")):
        socket_file.unlink(missing_ok=True)


def open_port(
    host: str, port: int, options: tuple[str, str] = ("--host", "--port")
) -> socket.socket:
    """Return a public listening socket, opened once and accepted from by every worker.

    `options` are what names another host and another port, for what is said of a fault.
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
        raise GroundError(_why_no_port(host, port, error, options)) from None
    return listener


def _why_no_port(host: str, port: int, error: OSError, options: tuple[str, str]) -> str:
    host_option, port_option = options
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: stop the program that listens there "
            f"(ss -ltnp 'sport = :{port}' names it), or choose another {port_option}"
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user: choose a {port_option} above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host {host} is no address of this machine: choose another {host_option}"
    return f"cannot listen on {host} port {port}: {error.strerror}"
