"""The authority of a service, with its key: signs what the manager's core has decided."""

import re
import socket
from hashlib import sha256

from pointsman_sched.options import ProcessOptions
from pointsman_shm.tls.config import TlsConfig
from pointsman_shm.tls.files import tls_files
from pointsman_wire.secure.certificates import Issued, Life, request_key, sign_request
from pointsman_wire.secure.grants import Grant
from pointsman_wire.secure.pins import pin_of_file
from pointsman_wire.sockets.bounds import is_own_host
from pointsman_wire.sockets.tcp import join_address

ANY_HOST = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104 - compared with, not bound to
_HAS_PORT = re.compile(r"(?:^[^:]+|\]):[0-9]+$")


class FileAuthority:
    """Signs with the key in the state directory.  Raises OSError, PinError."""

    def __init__(self, options: ProcessOptions) -> None:
        config = options.config.tls
        files = tls_files(options.paths, config)
        self._issued = Issued(files.authority_key.read_bytes(), files.authority.read_bytes())
        self.pin = pin_of_file(files.certificate)
        address = options.tls_address or join_address(config.host, config.port)
        self.address = reachable(address, config, config.advertise)
        self.advertised = told_to_others(self.address, config.advertise)
        self.is_shared = config.authority is not None
        self.lasts_s = int(config.node_certificate_s)

    def sign(self, request: bytes, grant: Grant, now_s: int) -> bytes | None:
        """Return a certificate (PEM), None for a request (DER) that is not sound."""
        return sign_request(self._issued, request, grant, Life(now_s, self.lasts_s))

    def key_digest(self, request: bytes) -> bytes | None:
        """Return the digest of the key of a request, None for one that is not sound."""
        key = request_key(request)
        return None if key is None else sha256(key).digest()


def reachable(address: str, config: TlsConfig, advertise: str | None = None) -> str:
    """Return an address to give to others, where the port listens at all addresses of the host.

    `advertise` is what the configuration names instead, with a port or without.
    """
    host, _, port = address.rpartition(":")
    if advertise is not None:
        return advertise if _HAS_PORT.search(advertise) else f"{advertise}:{port}"
    if host not in ANY_HOST:
        return address
    return f"{config.names[0] if config.names else socket.gethostname()}:{port}"


def told_to_others(address: str, advertise: str | None) -> str:
    """Return where other instances may send their clients and nodes, "" for nowhere.

    On another host a loopback address is somebody else: it is told only where it was named.
    """
    host = address.rpartition(":")[0].strip("[]")
    return "" if advertise is None and is_own_host(host) else address


def open_authority(options: ProcessOptions) -> FileAuthority | None:
    """Return the authority, None where there is no TLS port.  Raises OSError, PinError."""
    return FileAuthority(options) if options.config.tls.enabled else None
