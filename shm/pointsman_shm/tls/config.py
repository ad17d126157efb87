"""The section `[tls]`: the port for who comes from elsewhere.  Disabled, there is none."""

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
# HOST, or HOST:PORT where it is another port than the one that is listened at.
Place = Annotated[
    str,
    msgspec.Meta(pattern=r"^([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$"),
]
FilePath = Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the TLS port listens, as whom it answers, and what handshakes may cost."""

    enabled: bool = False
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 7443  # 0: any free port
    # The same of this port; None: as it listens, the first of `names`, or the host's name.
    advertise: Place | None = None
    # Under which it is reached, for its own certificate; clients with a pin do not look.
    names: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=255)], ...],
        msgspec.Meta(max_length=16),
    ] = ()
    # PEM files of the server; None: it makes a key of its own, which clients know by its pin.
    certificate: FilePath | None = None
    key: FilePath | None = None
    # The authority that signs for nodes; None: this instance's own.  With the same one, instances
    # take each other's nodes.
    authority: FilePath | None = None
    authority_key: FilePath | None = None
    handshake_s: Seconds = 5.0  # so long may one take,
    handshakes_per_s_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200  # per worker,
    handshakes_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256  # under way at a time
    node_certificate_s: Annotated[float, msgspec.Meta(ge=5, le=31_622_400)] = 86_400.0

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: name both files or none")
        if (self.authority is None) != (self.authority_key is None):
            raise ValueError("authority and authority_key belong together: name both or none")
