"""TLS contexts of the standard library: never below TLS 1.3, and with pins where there are any.

A pinned server needs no authority: what it must have is the very key.  The check is part of the
handshake, so whoever uses the context sends nothing to another server, not even its first byte.

Who comes back shows the ticket that it was given before (RFC 8446, 2.2): the handshake then needs
no signatures and no certificates, of which a storm of returning nodes would cost a server the most.
A ticket is of use where it was issued, so at one of several workers; elsewhere, and when it is old,
the handshake is a full one.
"""

import hmac
import ssl
from pathlib import Path
from typing import Any

from pointsman_wire.secure.pins import PinError, key_digest_of, read_pin
from pointsman_wire.sockets.tcp import OTHER_KEY

# Connections whose tickets are looked for: a node dials one lane for each worker, all at once.
LATEST_MAX = 8
_VERIFY_FAILED = "CERTIFICATE_VERIFY_FAILED"


def service_context(certificate: Path, key: Path, node_authority: Path) -> ssl.SSLContext:
    """Return the context of a server: TLS 1.3, session tickets, certificates of nodes if shown.

    Raises OSError (also ssl.SSLError) for files that cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    # Who shows none is a client, who proves itself by a token, or a node that enrols.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cafile=str(node_authority))
    return context


def trusting_context(*, ca: str | Path | None = None, pin: str = "") -> ssl.SSLContext:
    """Return the context of a client that believes a key, who signed, or the system's authorities.

    With a pin the server's name is not looked at: its key is known.  Raises PinError, OSError.
    """
    context = _Returning(ssl.PROTOCOL_TLS_CLIENT)
    if pin:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # instead of an authority the key itself
        context.sslobject_class = _pinned_object(read_pin(pin))
    elif ca:
        context.load_verify_locations(cafile=str(ca))
    else:
        context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class _Returning(ssl.SSLContext):
    """Shows the latest ticket that it was given when it opens the next connection to the same name.

    Tickets come after the handshake, with what is read first; so the latest connections are kept
    and asked when it matters: some are dialled at once, and have none yet.  One context is for one
    server.
    """

    _latest: tuple[ssl.SSLObject, ...] = ()

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection; the event loops open all of theirs by this."""
        latest = [made for made in self._latest if made.server_hostname == server_hostname]
        if session is None:
            session = next(filter(None, map(_ticket_of, reversed(latest))), None)
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        self._latest = (*latest[1 - LATEST_MAX :], made)
        return made

    def load_cert_chain(self, *files: Any, **options: Any) -> None:
        """Show another certificate, so no ticket: it would stand for the former one."""
        self._latest = ()
        super().load_cert_chain(*files, **options)


def _ticket_of(made: ssl.SSLObject) -> ssl.SSLSession | None:
    """Return what this connection can be resumed by, None while there is nothing."""
    try:
        shown = made.session
    except ValueError:  # its handshake is under way
        return None
    return shown if shown is not None and shown.has_ticket else None


def _pinned_object(digest: bytes) -> type[ssl.SSLObject]:
    class Pinned(ssl.SSLObject):
        """A connection whose handshake fails unless the server has the key."""

        def do_handshake(self) -> None:
            super().do_handshake()
            shown = self.getpeercert(binary_form=True) or b""
            try:
                is_known = hmac.compare_digest(key_digest_of(shown), digest)
            except PinError:
                is_known = False
            if not is_known:
                words = f"{_VERIFY_FAILED}: {OTHER_KEY}"
                raise ssl.SSLCertVerificationError(1, words)

    return Pinned
