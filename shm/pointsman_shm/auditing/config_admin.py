"""The section [admin] of the configuration: which people may ask the processes, and order them."""

from typing import Annotated

import msgspec

GroupName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,32}$")]


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may use admin sockets and api.sock besides root and the service's user."""

    # Members may give orders. With neither group named: the group to which the runtime directory
    # was given with the set-group-id bit, as `pointsman systemd install` does it; else nobody.
    operator_group: GroupName = ""
    read_group: GroupName = ""  # its members may ask, and order nothing
