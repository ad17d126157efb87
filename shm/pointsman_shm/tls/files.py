"""The TLS files of a service, in its state directory.

  file                   content                                        mode
+----------------------+----------------------------------------------+------+
| tls/authority.key    | the key that signs certificates of nodes      | 0600 |
| tls/authority.pem    | its certificate: nodes are known by it        | 0600 |
| tls/server.key, .pem | the server's own, where none are configured   | 0600 |
+----------------------+----------------------------------------------+------+
"""

from pathlib import Path

import msgspec

from pointsman_shm.paths import InstancePaths
from pointsman_shm.tls.config import TlsConfig


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything lies."""

    authority_key: Path
    authority: Path
    key: Path
    certificate: Path
    is_own_server: bool  # the server's key was made here, not configured
    is_shared_authority: bool = False  # the authority was configured, as the fleet's


def tls_files(paths: InstancePaths, config: TlsConfig) -> TlsFiles:
    """Return the files of a service."""
    folder = paths.state_dir / "tls"
    is_own = config.certificate is None or config.key is None
    signing = folder / "authority.key" if config.authority_key is None else config.authority_key
    signer = folder / "authority.pem" if config.authority is None else config.authority
    return TlsFiles(
        authority_key=Path(signing),
        authority=Path(signer),
        key=folder / "server.key" if config.key is None else Path(config.key),
        certificate=(
            folder / "server.pem" if config.certificate is None else Path(config.certificate)
        ),
        is_own_server=is_own,
        is_shared_authority=config.authority is not None,
    )
