"""Addresses as people write them: host:port."""


class AddressError(ValueError):
    """A text is not host:port."""


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of "host:port" or "[v6 host]:port".  Raises AddressError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise AddressError(f"address {address!r}: write HOST:PORT, like 127.0.0.1:7400")
    return host.removeprefix("[").removesuffix("]"), int(port)
