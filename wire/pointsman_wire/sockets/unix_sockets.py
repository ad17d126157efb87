"""Unix sockets between processes of one instance: named by path, open to one user, and those that
people ask at to a group of theirs.

Whoever listens at a path holds the lock of what the path belongs to, so a socket file that is
already there was left by a dead predecessor and is replaced.  Who is at the other end the kernel
says, for each connection.
"""

import asyncio
import errno
import os
import shutil
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

BACKLOG = 128
BREATH_S = 0.1
NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
SO_PEERGROUPS = 59  # Linux; the socket module has no name for it
GROUPS_MAX = 256  # getsockopt of Python takes 1,024 bytes at most
_CREDENTIALS = struct.Struct("3i")
_GROUP_BYTES = struct.calcsize("I")

Access = Literal["none", "read", "change"]


class Groups(NamedTuple):
    """The numbers of the groups of people who may ask, and who may order; None: there is none."""

    readers: int | None = None
    operators: int | None = None

    @property
    def entering(self) -> int | None:
        """The one to which sockets are given: a file has one group only."""
        return self.operators if self.readers is None else self.readers


NO_GROUPS = Groups()


class Peer(NamedTuple):
    """Who is at the other end: a process, its user, its group."""

    process_id: int
    user: int
    group: int


class PathInUse(Exception):
    """Something that is not a socket lies where a socket shall be."""


def listen_at(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Return a non-blocking socket bound to the path (mode 0600); listening, if it has peers.

    Raises PathInUse, or OSError when the directory cannot be written.
    """
    if sys.platform == "win32":
        raise OSError("this system has no unix sockets")
    if path.exists() and not path.is_socket():
        raise PathInUse(f"{path} is in the way and is no socket: move it away")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.setblocking(False)
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        if kind != socket.SOCK_DGRAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_for_groups(path: Path, groups: Groups) -> socket.socket:
    """Return a listening socket that a group reaches too (0660, its directory 0750), if one may.

    A directory that was given to that group with the set-group-id bit makes its sockets the
    group's: then nobody's owner is changed, which hardened units may not.  Raises as listen_at.
    """
    group = groups.entering
    if group is None:
        return listen_at(path)
    _let_group_in(path.parent, group)
    sock = listen_at(path)
    try:
        if path.stat().st_gid != group:
            shutil.chown(path, group=group)
        path.chmod(0o660)
    except OSError as error:
        close_at(sock, path)
        raise _not_given(path, group, error) from error
    return sock


def _let_group_in(directory: Path, group: int) -> None:
    status = directory.stat()
    try:
        if status.st_gid != group:
            shutil.chown(directory, group=group)
        if status.st_mode & 0o077 != 0o050:
            directory.chmod(0o750)
    except OSError as error:
        raise _not_given(directory, group, error) from error


def _not_given(path: Path, group: int, error: OSError) -> OSError:
    return OSError(
        f"{path} cannot be given to group {group}: {error.strerror}; make the user of the service "
        "a member of it (under systemd run `pointsman systemd install` again)"
    )


def rest_without_descriptors(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, accept: Callable[[], None]
) -> None:
    """Leave a listener alone for a moment: nobody can be accepted, and it wakes the loop for each.

    Called when its `accept`, which the loop calls, has failed for want of room.
    """

    def go_on() -> None:
        if listener.fileno() >= 0:  # it was not closed meanwhile
            loop.add_reader(listener.fileno(), accept)

    loop.remove_reader(listener.fileno())
    loop.call_later(BREATH_S, go_on)


def close_at(sock: socket.socket, path: Path) -> None:
    """Close a socket of listen_at and remove its file."""
    sock.close()
    path.unlink(missing_ok=True)


def is_same_user(sock: socket.socket) -> bool:
    """Does the process at the other end run as this user, or as root?

    Where the system cannot tell (not Linux), the mode of the socket's file is what guards it.
    """
    if sys.platform != "linux":
        return True
    return peer_of(sock).user in (os.geteuid(), 0)


def access_of(sock: socket.socket, groups: Groups) -> Access:
    """What may whoever is at the other end: this user and root everything, groups their part."""
    if is_same_user(sock):
        return "change"
    member_of = {peer_of(sock).group, *_groups(sock)}
    if groups.operators in member_of:
        return "change"
    return "read" if groups.readers in member_of else "none"


def is_service_user(sock: socket.socket, path: Path) -> bool:
    """Somebody asks a service that runs as a user of its own: is it that user who answers?

    It is who owns the directory of the socket at `path`, when nobody else may write there.  Who is
    not root believes so only where nobody but root and that user can make directories on the way.
    """
    if sys.platform != "linux":
        return False
    peer = peer_of(sock).user
    way = [path.parent] if os.geteuid() == 0 else path.parents
    places = [place.stat() for place in way]
    return places[0].st_uid == peer and all(
        place.st_mode & 0o022 == 0 and place.st_uid in (0, peer) for place in places
    )


def peer_words(sock: socket.socket) -> str:
    """Who is at the other end, for people."""
    if sys.platform != "linux":
        return "somebody of this user"
    peer = peer_of(sock)
    return f"uid {peer.user}, pid {peer.process_id}"


def peer_of(sock: socket.socket) -> Peer:
    """Who made the connection at the other end, by the kernel's word."""
    if sys.platform != "linux":
        raise AssertionError("only Linux tells")
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(found))


def _groups(sock: socket.socket) -> tuple[int, ...]:
    """The supplementary groups; none where the kernel does not tell, or there are too many."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUP_BYTES * GROUPS_MAX)
    except OSError:
        return ()
    return struct.unpack(f"{len(data) // _GROUP_BYTES}I", data)
