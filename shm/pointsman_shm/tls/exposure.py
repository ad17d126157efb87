"""Who must prove who he is: the one rule for every way into a service (RELIABILITY X1).

    way in                             client                      node
    ---------------------------------  --------------------------  ------------------------
    plaintext, from this machine       nothing                     nothing
      with auth.loopback = "required"  token                       certificate, so over TLS
    plaintext, with --insecure-...     nothing: said loudly        nothing
    TLS, from anywhere                 token                       certificate

Over TLS nobody is of this machine, whatever his address: a proxy beside the service, which only
passes bytes on, would make everyone local.
"""

from typing import Literal

Loopback = Literal["open", "required"]


def needs_token(*, is_tls: bool, loopback: Loopback) -> bool:
    """Must a client that came this way show a token?"""
    return is_tls or loopback == "required"


def needs_certificate(*, is_tls: bool, loopback: Loopback) -> bool:
    """Must a node that came this way show a certificate?  In plaintext it cannot."""
    return is_tls or loopback == "required"


def exposure_fault(*, host: str, is_loopback: bool, is_insecure_wished: bool) -> str:
    """Return why the plaintext port may not listen at a host, or ""."""
    if is_loopback or is_insecure_wished:
        return ""
    return (
        f"host {host}: beyond this machine anybody could send jobs and join as a node, as this "
        "port has neither TLS nor tokens; listen on 127.0.0.1 and let others come to the TLS port "
        "(tls.enabled), or add --insecure-plaintext if the network is trusted"
    )
