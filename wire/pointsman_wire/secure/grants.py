"""What an operator grants a node with its certificate: name, pool, and what it may declare.

Name and pool stand in the certificate's subject; bounds, if there are any, as one URI among its
alternative names, where they are signed with the rest and every TLS library shows them:

    pointsman:bounds?tenant=acme&label=rack%3D7&label=site%3Dattic
"""

from urllib.parse import parse_qsl, urlencode

import msgspec

BOUNDS = "pointsman:bounds?"
BOUNDS_BYTES_MAX = 512
Labels = tuple[tuple[str, str], ...]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a certificate is.

    With a `tenant` the node serves that one alone; with `labels` it has these and no others.
    """

    name: str
    pool: str = ""
    tenant: str = ""
    labels: Labels = ()

    @property
    def bounds(self) -> str:
        """The bounds as a URI, "" where there are none."""
        pairs = [("tenant", self.tenant)] * bool(self.tenant)
        pairs += [("label", f"{name}={value}") for name, value in self.labels]
        return BOUNDS + urlencode(pairs) if pairs else ""


def read_bounds(uri: str) -> tuple[str, Labels]:
    """Return tenant and labels of a URI.  Raises ValueError for one that was not made here."""
    if not uri.startswith(BOUNDS) or len(uri) > BOUNDS_BYTES_MAX:
        raise ValueError(f"{uri[:80]!r} names no bounds of a node")
    tenant, labels = "", []
    for word, value in parse_qsl(uri.removeprefix(BOUNDS), strict_parsing=True):
        if word == "tenant":
            tenant = value
        elif word == "label":
            name, _, told = value.partition("=")
            labels.append((name, told))
        else:  # of a later version: what it forbids is not known here
            raise ValueError(f"{word[:80]!r} is no bound that this version knows")
    return tenant, tuple(labels)
