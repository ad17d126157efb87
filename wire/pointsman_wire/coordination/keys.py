"""The names of all keys in Redis.

Everything a script touches carries one hash tag in braces, so that a Cluster keeps it on one node:
`{b07}` for a bucket of requests, `{s:...}` for a session, `{i:...}` for an inbox, `{fleet}` for
what all instances share.  Ids from outside enter names only as digests: of bounded length, and
nobody can forge another tenant's.
"""

import hashlib
import zlib
from typing import NamedTuple

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
    return _bucket(packed(key))


def _bucket(text: bytes) -> int:
    return zlib.crc32(text) % BUCKET_COUNT


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def place_of(key: RequestKey) -> tuple[int, str, bytes]:
    """The bucket of a request, the digest in its names, and its packed key: packed once."""
    text = packed(key)
    return _bucket(text), _digest(text), text


def digest_of(key: SessionKey) -> str:
    """What stands for a session where its id must not."""
    return _digest(packed(key))


class RequestNames(NamedTuple):
    """All names that a script about one request may touch, and its packed key."""

    bucket: str
    binding: str
    kept: str
    packed: bytes


class Keys:
    """The names under one prefix, which keeps several fleets in one Redis apart."""

    def __init__(self, prefix: str = "pointsman") -> None:
        self.prefix = prefix
        # Every job needs them, and there are no others.
        tags = [f"{prefix}:{{b{bucket:02d}}}" for bucket in range(BUCKET_COUNT)]
        self._buckets = [f"{tag}:bucket" for tag in tags]
        self._kept = [f"{tag}:kept" for tag in tags]
        self._jobs = [f"{tag}:job:" for tag in tags]

    def request(self, key: RequestKey) -> RequestNames:
        """Everything about a request's key at once."""
        bucket, digest, text = place_of(key)
        return self.names_of(bucket, digest, text)

    def names_of(self, bucket: int, digest: str, text: bytes = b"") -> RequestNames:
        """The same for a request of that digest in that bucket."""
        binding = self._jobs[bucket] + digest
        return RequestNames(self._buckets[bucket], binding, self._kept[bucket], text)

    def bucket(self, bucket: int) -> str:
        """Hash: generation, state, and for each member its counter."""
        return self._buckets[bucket]

    def kept(self, bucket: int) -> str:
        """Sorted set: packed keys of bindings with a `keep`, by when they were renewed."""
        return self._kept[bucket]

    def binding(self, key: RequestKey) -> str:
        """Hash: one request's binding and its state machine."""
        text = packed(key)
        return self._jobs[_bucket(text)] + _digest(text)

    def session(self, key: SessionKey) -> str:
        """Hash: what is remembered of a session."""
        return f"{self.prefix}:{{s:{_digest(packed(key))}}}:session"

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

    def pairing(self, code: str) -> str:
        """Hash: the node that a pairing code is for, and the session that has used it."""
        return f"{self.prefix}:{{fleet}}:code:{code}"

    def wrong_codes(self) -> str:
        """Hash: how many wrong pairing codes were tried."""
        return f"{self.prefix}:{{fleet}}:wrong-codes"

    def wrong_codes_of(self, place: str) -> str:
        """Hash: how many of them came from one place."""
        return f"{self.prefix}:{{fleet}}:wrong-codes:{_digest(place.encode())}"

    def leader(self) -> str:
        """Hash: the instance whose settings rule, while its lock lasts."""
        return f"{self.prefix}:{{fleet}}:leader"
