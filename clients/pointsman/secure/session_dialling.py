"""How a session is dialled: as nodes are, and besides over WebSocket."""

from collections.abc import Callable

from pointsman.secure.reaching import TLS_SCHEME, Belief, dialling
from pointsman_wire.limits import HEADER_BYTES_MAX
from pointsman_wire.session_messages import ToClient
from pointsman_wire.sockets.bounds import DriverSettings
from pointsman_wire.sockets.tcp import AddressError, split_address


def session_dialling(address: str, belief: Belief, session_id: Callable[[], str]) -> DriverSettings:
    """Return how to dial "host:port", and that with tls://, ws:// or wss:// before it.

    `session_id` tells the newest session's, for a WebSocket's target.  Raises AddressError,
    ValueError, OSError, ModuleNotFoundError.
    """
    scheme, is_web, place = address.partition("://")
    if not is_web or scheme == TLS_SCHEME:
        dialled = dialling(address, belief)
        return DriverSettings(
            server_address=dialled.place, tls=dialled.tls, header_bytes_max=HEADER_BYTES_MAX
        )
    place = place.removesuffix("/")
    if scheme not in ("ws", "wss"):
        raise AddressError(
            f"address {address!r}: write HOST:PORT, or that with tls://, ws:// or wss:// before it"
        )
    split_address(place)
    if scheme == "ws" and (belief.tls is not None or belief.ca is not None or belief.pin):
        raise AddressError(f"address {address!r}: with tls, ca or pin write wss://{place}")
    try:
        from pointsman_wire.sockets.web.web_dialled import web_dialling
    except ModuleNotFoundError as error:
        words = f"{address}: WebSockets need one more library: pip install 'pointsman[web]'"
        raise ModuleNotFoundError(words, name=error.name) from error
    tls = belief.context() if scheme == "wss" else None
    web = web_dialling(f"{scheme}://{place}", ToClient, session_id)
    return DriverSettings(server_address=place, tls=tls, web=web)
