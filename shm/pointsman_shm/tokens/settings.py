"""The section `[auth]`: who has to show a token, and what becomes of those who guess."""

from typing import Annotated, Literal

import msgspec


class AuthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is let in, and how often one may be wrong."""

    # May programs of this host come without a token, and nodes of it without a certificate?
    loopback: Literal["open", "required"] = "open"
    # So many wrong tokens from one address within a minute; what it sends then is looked at later,
    failures_per_minute_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    failure_delay_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0  # by so much
