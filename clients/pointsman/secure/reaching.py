"""How an address is dialled: plain, over TLS, and whom to believe there.

HOST:PORT            plain, on one's own machine; over TLS where `tls` is given
tls://HOST:PORT      over TLS; believed by `pin`, by `ca`, or by the system's authorities
wss://HOST:PORT      the same for WebSockets
"""

import ssl
from pathlib import Path

import msgspec

from pointsman_wire.secure.contexts import trusting_context
from pointsman_wire.sockets.tcp import AddressError, split_address

TLS_SCHEME = "tls"


class Dialling(msgspec.Struct, frozen=True):
    """HOST:PORT, and the TLS that is spoken there (None: none)."""

    place: str
    tls: ssl.SSLContext | None


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says of the server: a context of his own, or whom to believe."""

    tls: ssl.SSLContext | None = None
    ca: str | Path | None = None
    pin: str = ""

    def context(self) -> ssl.SSLContext:
        """Return the context to dial with.  Raises ValueError, OSError."""
        if self.tls is None:
            return trusting_context(ca=self.ca, pin=self.pin)
        if self.ca is not None or self.pin:
            raise ValueError("tls, ca, pin: give a context of your own, or whom to believe")
        return self.tls


def dialling(address: str, belief: Belief) -> Dialling:
    """Return how to dial "HOST:PORT" or "tls://HOST:PORT".

    Raises AddressError, ValueError for contradictions and bad pins, OSError for bad files.
    """
    scheme, has_scheme, place = address.partition("://")
    if not has_scheme:
        split_address(address)
        if belief.ca is not None or belief.pin:
            raise AddressError(f"address {address!r}: with ca or pin write tls://{address}")
        return Dialling(address, belief.tls)
    place = place.removesuffix("/")
    if scheme != TLS_SCHEME:
        raise AddressError(f"address {address!r}: write HOST:PORT or tls://HOST:PORT")
    split_address(place)
    return Dialling(place, belief.context())
