"""Signatures of what instances say to each other, so that who writes Redis cannot inject jobs (D2).

    byte  0       version, 1
    bytes 1..32   HMAC-SHA256, under the cluster's key, of sender, receiver and blob, each after its
                  length in 8 bytes
    bytes 33..    the blob

The receiver's name is under the signature, so an entry cannot be copied into another inbox.  One
that is put in twice is the receiver's to tell, as every message between instances is.
"""

import hashlib
import hmac
import struct

from pointsman_wire.coordination.settings import Secret

VERSION = b"\x01"
HEAD_BYTES = 1 + 32
KEY_BYTES_MIN = 16
_LENGTH = struct.Struct("<Q")


class Signer:
    """Signs and checks under one key.  Raises ValueError for a key that could be guessed."""

    def __init__(self, key: Secret) -> None:
        text = key.reveal().encode()
        if len(text) < KEY_BYTES_MIN:
            raise ValueError(
                f"the cluster key has {len(text)} bytes, fewer than {KEY_BYTES_MIN}; make one with "
                f"`openssl rand -hex 32`, in the file that redis.cluster_key_file names or in "
                f"POINTSMAN_CLUSTER_KEY, the same at every instance"
            )
        self._key = text

    def signed(self, blob: bytes, *, sender: str, receiver: str) -> bytes:
        """The blob with its head, for that receiver's inbox."""
        return VERSION + self._digest(sender, receiver, blob) + blob

    def checked(self, entry: bytes, *, sender: str, receiver: str) -> bytes | None:
        """The blob of a rightly signed entry, else None."""
        head, blob = entry[:HEAD_BYTES], entry[HEAD_BYTES:]
        if len(head) < HEAD_BYTES or head[:1] != VERSION:
            return None
        expected = self._digest(sender, receiver, blob)
        return blob if hmac.compare_digest(expected, head[1:]) else None

    def hidden(self, text: str, *, purpose: str) -> str:
        """What stands for a short secret where others can read: 64 hex digits."""
        return self._digest("hidden", purpose, text.encode("utf-8", "surrogatepass")).hex()

    def _digest(self, sender: str, receiver: str, blob: bytes) -> bytes:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (sender.encode(), receiver.encode(), blob):
            mac.update(_LENGTH.pack(len(part)))
            mac.update(part)
        return mac.digest()
