"""Instances of a fleet as processes: each may be killed whole, and comes back at its own port.

They come to Redis as the user of docs/redis.md, with no more rights than that page gives.
"""

import os
import secrets
import signal
import socket
from pathlib import Path

import msgspec
from redis_yard.rights import PASSWORD, USER

from pointsman_sim.chaos.processes import Service, Spot

# Short lives, so that a run of seconds sees them end; all nodes share one busy machine.
CONFIG = """
[nodes]
resource_threshold_percent = 0
heartbeat_interval_s = 0.5
[jobs]
lane_grace_s = 1.0
[redis]
url = "{url}"
username = "{user}"
password_file = "{password_file}"
binding_lease_s = {lease_s}
presence_s = {presence_s}
policy = "{policy}"
cluster_key_file = "{key_file}"
"""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What the instances of a fleet have in common."""

    key_file: Path
    password_file: Path
    user: str = USER
    lease_s: float = 4.0
    presence_s: float = 4.0
    policy: str = "fail_closed"
    workers: int = 1


class Instance(Service):
    """A service in a directory, which takes part in the fleet of the Redis at a url."""

    def __init__(self, name: str, directory: Path, spot: Spot, url: str, shared: Shared) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.nickname = name
        self.address = f"{spot.host}:{spot.port}"
        super().__init__(
            directory,
            shared.workers,
            config=CONFIG.format(url=url, **msgspec.structs.asdict(shared)),
            instance=f"{name}-{os.getpid()}",
            spot=spot,
        )

    def kill_whole(self) -> None:
        """Kill every process of it at once, as a host does that loses its power."""
        os.killpg(self.pid, signal.SIGKILL)
        self.end(0.0)

    def kill_worker(self, number: int) -> None:
        """Kill one of its workers alone; its supervisor replaces it."""
        pid = self.parts().get(f"worker-{number}")
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def stop_whole(self) -> None:
        """Have every process of it stand still."""
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have them all run again."""
        os.killpg(self.pid, signal.SIGCONT)


def write_key(directory: Path) -> Path:
    """Make the key under which the instances of one fleet sign what they say."""
    return _secret(directory / "cluster-key", secrets.token_hex(32))


def write_password(directory: Path) -> Path:
    """Write down the password of Redis' user."""
    return _secret(directory / "redis-password", PASSWORD)


def _secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
