"""A server's pin: the digest of its public key, by which a client knows it without an authority.

    certificate ::= SEQUENCE { SEQUENCE {
        [0] version, serial, algorithm, issuer, validity, subject, public key info, ... }, ... }

The digest (SHA-256) is that of the subject public key info, as in RFC 7469: a new certificate for
the same key keeps the pin.  Reading that far takes a few lines of DER, and so clients and nodes
need no library for it.
"""

import binascii
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

PREFIX = "sha256:"
DIGEST_BYTES = 32
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE = 0x30
_VERSION = 0xA0
# Before the key: serial number, algorithm, issuer, validity, subject.
_FIELDS_BEFORE_KEY = 5


class PinError(ValueError):
    """A text is no pin, or bytes are no certificate."""


def public_key_of(certificate: bytes) -> bytes:
    """Return the subject public key info of a certificate (DER).  Raises PinError."""
    try:
        tag, start, end = _element(certificate, 0)
        inner, at, end = _element(certificate, start)
        if (tag, inner) != (_SEQUENCE, _SEQUENCE):
            raise PinError("no certificate: it does not begin with two sequences")
        if certificate[at] == _VERSION:
            at = _element(certificate, at)[2]
        for _ in range(_FIELDS_BEFORE_KEY):
            at = _element(certificate, at)[2]
        tag, _, after = _element(certificate, at)
    except IndexError:
        raise PinError("no certificate: it ends too early") from None
    if tag != _SEQUENCE or after > end:
        raise PinError("no certificate: there is no public key where it should be")
    return certificate[at:after]


def key_digest_of(certificate: bytes) -> bytes:
    """Return the 32 bytes that stand for a certificate's public key.  Raises PinError."""
    return sha256(public_key_of(certificate)).digest()


def spell_pin(digest: bytes) -> str:
    """Return a digest as people copy it: sha256:... in base64."""
    return PREFIX + b64encode(digest).decode("ascii")


def pin_of_file(certificate: Path) -> str:
    """Return the pin of the first certificate in a file (PEM).  Raises PinError, OSError."""
    text = certificate.read_text(encoding="ascii", errors="replace")
    start = text.find(_BEGIN)
    body, found, _ = text[max(0, start) + len(_BEGIN) :].partition(_END)
    if start < 0 or not found:
        raise PinError(f"{certificate}: there is no certificate in it (PEM)")
    try:
        return spell_pin(key_digest_of(b64decode("".join(body.split()), validate=True)))
    except binascii.Error:
        raise PinError(f"{certificate}: its certificate is damaged") from None


def read_pin(text: str) -> bytes:
    """Return the digest of a pin, given in base64 or in hexadecimal.  Raises PinError."""
    kind, _, words = text.strip().partition(":")
    try:
        is_hex = len(words) == 2 * DIGEST_BYTES
        digest = bytes.fromhex(words) if is_hex else b64decode(words, validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if kind + ":" != PREFIX or len(digest) != DIGEST_BYTES:
        raise PinError(f"pin {text[:80]!r}: write sha256: and the digest of the server's key")
    return digest


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return (tag, start of the content, end) of the DER element at an offset."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise PinError("no certificate: a length of no use")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise PinError("no certificate: it ends too early")
    return tag, start, start + length
