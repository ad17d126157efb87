"""What the TLS port of a service needs before its processes start: keys, certificates, a socket."""

import socket
import stat
from pathlib import Path

from pointsman_sched.supervisor.grounds import GroundError, open_port
from pointsman_sched.supervisor.options import ServiceOptions
from pointsman_sched.wall_clock import wall_clock_s
from pointsman_shm.state_files import replace_file
from pointsman_shm.tls.files import TlsFiles, tls_files
from pointsman_wire.secure.pins import PinError, pin_of_file

_ANY = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound to


def open_tls_port(options: ServiceOptions) -> socket.socket | None:
    """Return the listening TLS socket, None where TLS is disabled.  Raises GroundError."""
    config = options.config.tls
    named = ("tls.host", "tls.port")
    return open_port(config.host, config.port, named) if config.enabled else None


def prepare_tls(options: ServiceOptions) -> None:
    """Make what is missing of keys and certificates; the caller has claimed the directories.

    The server's own certificate is made anew at each start, for the names as they are now; its
    key, and so its pin, stays.  Raises GroundError, OSError.
    """
    if not options.config.tls.enabled:
        return
    files = tls_files(options.paths, options.config.tls)
    (options.paths.state_dir / "tls").mkdir(mode=0o700, exist_ok=True)
    if files.is_shared_authority:
        check_key(files.authority_key, "tls.authority_key")
    try:
        _make(options, files)
    except ModuleNotFoundError:
        raise GroundError(
            "tls.enabled needs the library cryptography: pip install 'pointsman[server]'"
        ) from None
    if not files.is_own_server:
        check_key(files.key)
    check_pin(files.certificate)


def check_key(path: Path, what: str = "tls.key") -> None:
    """Raise GroundError for a private key that others may read or write (U6).

    Only its mode is looked at: under systemd this process may not read it, the workers may.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise GroundError(f"{what} {path} cannot be found: {error.strerror}") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise GroundError(
            f"{what} {path}: others may read or write it (mode {mode:04o}): chmod 0400 {path}"
        )


def _make(options: ServiceOptions, files: TlsFiles) -> None:
    # Read only where there is a TLS port: the library takes a while.
    from pointsman_wire.secure.certificates import Issued, is_pair, make_authority, make_server

    now_s = wall_clock_s()
    if files.is_shared_authority or (files.authority_key.exists() and files.authority.exists()):
        authority = Issued(files.authority_key.read_bytes(), files.authority.read_bytes())
        if not is_pair(authority):
            raise GroundError(f"{files.authority} is no certificate of {files.authority_key}")
    else:
        authority = make_authority(options.paths.instance, now_s)
        replace_file(files.authority_key, authority.key)
        replace_file(files.authority, authority.certificate)
    if files.is_own_server:
        kept = files.key.read_bytes() if files.key.exists() else None
        server = make_server(authority, server_names(options), now_s, kept)
        replace_file(files.key, server.key)
        replace_file(files.certificate, server.certificate)


def server_names(options: ServiceOptions) -> tuple[str, ...]:
    """Return under which names the server can be reached, as far as it knows."""
    config = options.config.tls
    bound = () if config.host in _ANY else (config.host,)
    names = (*config.names, *bound, socket.gethostname(), "localhost", "127.0.0.1", "::1")
    return tuple(dict.fromkeys(name for name in names if name))


def check_pin(certificate: Path) -> str:
    """Return the pin of a certificate file (PEM).  Raises GroundError."""
    try:
        return pin_of_file(certificate)
    except (OSError, PinError) as error:
        raise GroundError(f"tls.certificate {certificate} cannot be used: {error}") from None
