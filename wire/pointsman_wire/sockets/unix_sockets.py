"""Unix sockets between processes of one instance: named by path, open to one user only.

Whoever listens at a path holds the lock of what the path belongs to, so a socket file that is
already there was left by a dead predecessor and is replaced.
"""

import os
import socket
import struct
import sys
from pathlib import Path

BACKLOG = 128


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
    return _peer_user(sock) in (os.geteuid(), 0)


def is_service_user(sock: socket.socket, path: Path) -> bool:
    """Root asks a service that runs as a user of its own: is it that user who answers?

    It is who owns the directory of the socket at `path`, when nobody else may write there.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    directory = path.parent.stat()
    return directory.st_mode & 0o022 == 0 and _peer_user(sock) == directory.st_uid


def peer_words(sock: socket.socket) -> str:
    """Who is at the other end, for people."""
    if sys.platform != "linux":
        return "somebody of this user"
    size = struct.calcsize("3i")
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = struct.unpack("3i", found)
    return f"uid {uid}, pid {pid}"


def _peer_user(sock: socket.socket) -> int:
    if sys.platform != "linux":
        raise AssertionError("only Linux tells")
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)
