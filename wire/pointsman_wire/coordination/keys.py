"""The names of all keys in Redis.

Everything a script touches carries one hash tag in braces, so that a Cluster keeps it on one node:
`{b07}` for a bucket of requests, `{s:...}` for a session, `{i:...}` for an inbox, `{fleet}` for
what all instances share.  Ids from outside enter names only as digests: of bounded length, and
nobody can forge another tenant's.
"""

import hashlib
import zlib

import msgspec

from pointsman_wire.coordination.requests import RequestKey, SessionKey

BUCKET_COUNT = 64


def packed(key: RequestKey | SessionKey) -> bytes:
    """The key as JSON, as it stands in the binding: an operator can read it there."""
    return msgspec.json.encode(key)


def unpacked(text: bytes) -> RequestKey:
    """The key again, from its JSON.  Raises msgspec.DecodeError for anything else."""
    return RequestKey(*msgspec.json.decode(text, type=tuple[str, str, str]))


def bucket_of(key: RequestKey) -> int:
    """The bucket of a request, 0..63: crc32 of its packed key."""
    return zlib.crc32(packed(key)) % BUCKET_COUNT


def _digest(key: RequestKey | SessionKey) -> str:
    return hashlib.blake2b(packed(key), digest_size=16).hexdigest()


class Keys:
    """The names under one prefix, which keeps several fleets in one Redis apart."""

    def __init__(self, prefix: str = "pointsman") -> None:
        self.prefix = prefix

    def bucket(self, bucket: int) -> str:
        """Hash: generation, state, and for each member its counter."""
        return f"{self.prefix}:{{b{bucket:02d}}}:bucket"

    def kept(self, bucket: int) -> str:
        """Sorted set: packed keys of bindings with a `keep`, by when they were renewed."""
        return f"{self.prefix}:{{b{bucket:02d}}}:kept"

    def binding(self, key: RequestKey) -> str:
        """Hash: one request's binding and its state machine."""
        return f"{self.prefix}:{{b{bucket_of(key):02d}}}:job:{_digest(key)}"

    def session(self, key: SessionKey) -> str:
        """Hash: what is remembered of a session."""
        return f"{self.prefix}:{{s:{_digest(key)}}}:session"

    def inbox(self, instance: str, shard: int) -> str:
        """Stream: what other instances send to a shard."""
        return f"{self.prefix}:{{i:{instance}/{shard}}}:inbox"

    def dead_letters(self, instance: str, shard: int) -> str:
        """Stream: what the shard could not absorb."""
        return f"{self.prefix}:{{i:{instance}/{shard}}}:dead"

    def presence(self, instance: str) -> str:
        """Hash: who has an instance's name, and what it last told of itself."""
        return f"{self.prefix}:{{fleet}}:instance:{instance}"

    def nodes(self, instance: str) -> str:
        """Hash: what an instance shows of its nodes, by part."""
        return f"{self.prefix}:{{fleet}}:nodes:{instance}"

    def names(self) -> str:
        """Sorted set: instances, by when they were last there."""
        return f"{self.prefix}:{{fleet}}:instances"

    def settings(self) -> str:
        """Hash: the pools and catalogue that rule, their version, and whose they are."""
        return f"{self.prefix}:{{fleet}}:settings"

    def leader(self) -> str:
        """Hash: the instance whose settings rule, while its lock lasts."""
        return f"{self.prefix}:{{fleet}}:leader"
