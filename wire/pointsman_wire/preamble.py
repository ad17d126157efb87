"""The fixed 16 bytes that open every binary connection and say who shall own it.

      offset  size  field
    +-------+-----+------------------------------------------------------------------+
    |     0 |   4 | magic: AB 50 4D 4E (never the start of TLS or of an HTTP request) |
    |     4 |   1 | protocol version, 1                                              |
    |     5 |   1 | role: 1 session, 2 trunk, 3 control, 4 lane                      |
    |     6 |   2 | flags: bit 0 = any (the key says nothing)                        |
    |     8 |   4 | key: session: crc32 of the session id; trunk, lane: worker index |
    |    12 |   4 | reserved, 0                                                      |
    +-------+-----+------------------------------------------------------------------+

All numbers are little-endian.  Whoever accepts the connection peeks these bytes and hands the
descriptor, unread, to its owner; so the owner's decoder meets the preamble again and skips it.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

import msgspec

from pointsman_wire.limits import PROTOCOL_VERSION

MAGIC = b"\xabPMN"
PREAMBLE_BYTES = 16
ANY_FLAG = 1

_FORMAT = struct.Struct("<4sBBHII")


class Role(IntEnum):
    """What a connection is for."""

    SESSION = 1
    TRUNK = 2
    CONTROL = 3
    LANE = 4


class Secured(msgspec.Struct, frozen=True, array_like=True):
    """What TLS has proven of a peer: a node's certificate; without one only that it speaks TLS.

    `key_digest` is the SHA-256 of the node's public key; its certificate is good from `begins_at_s`
    to `ends_at_s` of the wall clock, in seconds since 1970.  `tenant` and `labels` are what it is
    bound to, "" and () where it is not (see secure/grants.py).
    """

    name: str = ""
    pool: str = ""
    key_digest: bytes = b""
    begins_at_s: int = 0
    ends_at_s: int = 0
    tenant: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class Preamble(NamedTuple):
    """A decoded preamble; `key` is None when any owner will do.

    `is_web`: the connection opened with an HTTP request instead, which nobody has read yet.
    `secured`: it came over TLS, whose work is done: what follows is plain.
    """

    role: Role
    key: int | None
    version: int = PROTOCOL_VERSION
    is_web: bool = False
    secured: Secured | None = None


class PreambleError(Exception):
    """The first bytes of a connection are not a preamble that this version understands."""


class NotPointsman(PreambleError):
    """The magic is wrong: some other protocol is talking."""


class WrongVersion(PreambleError):
    """The magic is right, the protocol version is not ours."""


def encode_preamble(role: Role, key: int | None = None) -> bytes:
    """Return the 16 bytes that open a connection of this role."""
    flags = ANY_FLAG if key is None else 0
    return _FORMAT.pack(MAGIC, PROTOCOL_VERSION, role, flags, key or 0, 0)


def decode_preamble(data: bytes) -> Preamble:
    """Read the first 16 bytes of `data`.

    Raises NotPointsman, WrongVersion, or PreambleError (a role nobody knows); each says what
    was found and what to do.
    """
    if len(data) < PREAMBLE_BYTES:
        raise PreambleError(f"a preamble has {PREAMBLE_BYTES} bytes, {len(data)} came")
    magic, version, role, flags, key, _ = _FORMAT.unpack_from(data)
    if magic != MAGIC:
        raise NotPointsman(
            f"the connection starts with {magic.hex(' ')} instead of {MAGIC.hex(' ')}: "
            "this port speaks Pointsman's binary protocol"
        )
    if version != PROTOCOL_VERSION:
        raise WrongVersion(
            f"protocol version {version} was offered, version {PROTOCOL_VERSION} is spoken here: "
            "install matching versions of server and client"
        )
    if role not in Role.__members__.values():
        raise PreambleError(f"role {role} is unknown; roles are 1 session to 4 lane")
    return Preamble(Role(role), None if flags & ANY_FLAG else key)
