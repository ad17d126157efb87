"""What a server says of itself when it is met, and whether it will do; pure.

**Reign.**  A generation of a bucket belongs to one primary's one reign: a digest of the process's
run id and of the replication id, which changes at every promotion.  What was made in another reign
is not trusted until it is published again.
"""

import hashlib
from typing import NamedTuple

import msgspec

from pointsman_wire.coordination.settings import RedisSettings
from pointsman_wire.sockets.bounds import is_own_host

VERSION_MIN = (6, 2)
NEVER_EVICTS = "noeviction"


class Address(NamedTuple):
    """Where a server listens; a path (with port 0) is a unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def is_local(self) -> bool:
        """Whether nobody outside this host can read along or dial in."""
        return not self.port or is_own_host(self.host)


class Greeting(msgspec.Struct, frozen=True):
    """What INFO tells."""

    reign: str
    role: str
    version: tuple[int, ...]
    policy: str


def read_greeting(info: bytes) -> Greeting:
    """Read the text of INFO (server, replication, memory).  What it lacks is empty."""
    lines = info.decode("utf-8", "replace").splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    reign = facts.get("run_id", "") + facts.get("master_replid", "")
    numbers = facts.get("redis_version", "0").split(".")
    return Greeting(
        reign=hashlib.blake2b(reign.encode(), digest_size=8).hexdigest(),
        role=facts.get("role", ""),
        version=tuple(int(n) for n in numbers if n.isdigit()),
        policy=facts.get("maxmemory_policy", ""),
    )


def complaint(greeting: Greeting, address: Address) -> str | None:
    """Why this server must not be used, and what to do; None when it may."""
    if greeting.version < VERSION_MIN:
        version = ".".join(str(n) for n in greeting.version)
        return f"Redis at {address} is version {version}; 6.2 or newer is needed: upgrade it"
    if greeting.policy != NEVER_EVICTS:
        place = f"-h {address.host} -p {address.port}" if address.port else f"-s {address.host}"
        return (
            f"Redis at {address} may drop keys when its memory is full (maxmemory-policy is "
            f"{greeting.policy or 'not told'}), and bindings with them; run: "
            f"redis-cli {place} CONFIG SET maxmemory-policy noeviction, and put it in redis.conf"
        )
    return None


def settings_complaint(settings: RedisSettings, addresses: list[Address]) -> str | None:
    """Why these settings must not be used; None when they may (D1)."""
    far = [address for address in addresses if not address.is_local]
    if far and settings.username in ("", "default") and not settings.password:
        return (
            f"redis: {far[0]} is not on this host, and no password is set for the user `default`; "
            f"make a user with the rights that docs/redis.md lists, and set redis.username and "
            f"redis.password_file (or POINTSMAN_REDIS_PASSWORD)"
        )
    return None
