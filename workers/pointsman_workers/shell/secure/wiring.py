"""Opens the TLS port of a worker, where the service has one."""

import os
import socket
from collections.abc import Callable

from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.secret_files import credential_file
from pointsman_shm.tls.files import tls_files
from pointsman_wire.secure.contexts import service_context
from pointsman_wire.sockets.handover import Origin
from pointsman_workers.shell.options import WorkerOptions
from pointsman_workers.shell.secure.entrance import Entrance, EntranceHooks, EntranceLimits

# The credential of systemd by which a key that root alone reads comes to a worker.
TLS_KEY = "POINTSMAN_TLS_KEY"
# Of the descriptors for connections: a relay takes two, and its plain end is one more.
DESCRIPTORS_A_RELAY = 4


def open_entrance(
    options: WorkerOptions,
    let_in: Callable[[socket.socket, Origin], None],
    stats: StatsPage,
    connections_max: int,
) -> Entrance | None:
    """Accept at the TLS port; None where there is none.  Raises OSError for unusable files."""
    if options.tls_fd < 0:
        return None
    config = options.config.tls
    files = tls_files(options.paths, config)
    key = credential_file(TLS_KEY, os.environ) if config.key is not None else None
    context = service_context(files.certificate, key or files.key, files.authority)
    os.set_inheritable(options.tls_fd, False)

    def ended(is_done: bool) -> None:
        stats.add(Counter.TLS_HANDSHAKES if is_done else Counter.TLS_HANDSHAKES_FAILED)

    return Entrance(
        socket.socket(fileno=options.tls_fd),
        context,
        EntranceHooks(let_in, ended),
        EntranceLimits(
            handshake_s=config.handshake_s,
            handshakes_per_s_max=config.handshakes_per_s_max,
            handshakes_max=config.handshakes_max,
            relays_max=max(1, connections_max // DESCRIPTORS_A_RELAY),
        ),
    )
