"""What a manager is told of its part in a fleet of several instances."""

import msgspec


class FederationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Given exactly where there is a shared store."""

    # An instance that was silent for so long, by our clock, has lapsed.
    presence_ns: int = 30_000_000_000
