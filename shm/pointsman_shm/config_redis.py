"""The section `[redis]`: how instances share a fleet.  Without a url there is no Redis.

Secrets are not part of it: the password comes from password_file or POINTSMAN_REDIS_PASSWORD, the
key of the cluster from cluster_key_file or POINTSMAN_CLUSTER_KEY (`secret_files`).
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

ServerName = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
FilePath = Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]

SCHEMES = ("redis", "rediss", "unix")


class RedisConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which Redis, how it is reached, and what holds while it does not answer."""

    # redis://host:6379/0, rediss:// for TLS, or unix:///path; empty: each instance for itself.
    # With sentinels it says only whether TLS is spoken, and which database is meant.
    url: Annotated[str, msgspec.Meta(max_length=1_024)] = ""
    sentinels: Annotated[tuple[ServerName, ...], msgspec.Meta(max_length=16)] = ()  # host:port
    service: ServerName = "pointsman"  # under which the Sentinels know the primary
    cluster: bool = False  # the url names one server of a Redis Cluster
    username: Annotated[str, msgspec.Meta(max_length=128)] = ""  # empty: Redis' `default`
    password_file: FilePath | None = None
    # What Sentinels ask for, if they do: they have users of their own.
    sentinel_username: Annotated[str, msgspec.Meta(max_length=128)] = ""
    sentinel_password_file: FilePath | None = None
    ca_file: FilePath | None = None  # TLS: who signed the servers; None: the system's
    cert_file: FilePath | None = None  # TLS: who we are, where servers ask for it
    key_file: FilePath | None = None
    prefix: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_.-]{0,31}$")] = "pointsman"
    # While Redis does not answer: refuse new jobs, or accept them for this instance alone.
    policy: Literal["fail_closed", "local"] = "fail_closed"
    timeout_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 250  # of one round of requests
    breaker_failures: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 5  # so many in a row, and
    breaker_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 1.0  # nothing is asked for so long
    binding_lease_s: Annotated[float, msgspec.Meta(ge=3, le=3_600)] = 45.0  # of an owner's job
    presence_s: Annotated[float, msgspec.Meta(ge=3, le=3_600)] = 30.0  # of an instance
    inbox_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000  # entries of a shard
    cluster_key_file: FilePath | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if self.url and parts.scheme not in SCHEMES:
            raise ValueError("url must begin with redis://, rediss:// or unix://")
        if parts.password is not None or parts.username is not None:
            raise ValueError(
                "url must not carry a user or password: set username, and password_file or "
                "POINTSMAN_REDIS_PASSWORD"
            )
        if self.sentinels and self.cluster:
            raise ValueError("sentinels and cluster contradict each other; leave one out")
        if (self.sentinel_username or self.sentinel_password_file) and not self.sentinels:
            raise ValueError("who we are to Sentinels means nothing without them; set sentinels")
        if (self.cluster or self.ca_file or self.username) and not (self.url or self.sentinels):
            raise ValueError("without url nothing else of it means anything; set url")
        if self.cluster and (parts.scheme == "unix" or parts.path.strip("/") not in ("", "0")):
            raise ValueError("a cluster is reached by host and port, and has database 0 alone")
        if (self.ca_file or self.cert_file) and parts.scheme != "rediss":
            raise ValueError("ca_file and cert_file mean nothing without TLS: use rediss://")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")

    @property
    def is_on(self) -> bool:
        """Whether there is a Redis at all."""
        return bool(self.url or self.sentinels)
