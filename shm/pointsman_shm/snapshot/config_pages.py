"""What the catalog holds of a configuration, and whether a configuration fits there.

Every bound of a single key may hold and the whole be too large all the same: that is told when the
file is read, not when it is published, which no process could survive.
"""

from pointsman_shm.config import Config
from pointsman_shm.config_live import Places, live_settings, tenant_places
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.records import ConfigPage, InstanceRecord, PolicyPage

ORDERS_BYTES_MAX = 64 * 1024  # what standing orders may take of the policy page


def config_page(config: Config, places: Places) -> ConfigPage:
    """Return what placements read of a configuration."""
    return ConfigPage(
        require_gpu=config.nodes.require_gpu,
        resource_threshold_percent=config.nodes.resource_threshold_percent,
        pools=config.pools,
        catalogue=config.catalogue,
        live=live_settings(config, places),
    )


def policy_page(config: Config, instances: tuple[InstanceRecord, ...]) -> PolicyPage:
    """Return what holds for single tenants, and which other instances there are."""
    return PolicyPage(
        tenant_overrides=tuple(sorted(config.pools.tenant_overrides)), instances=instances
    )


def page_trouble(
    config: Config, places: Places = (), instances: tuple[InstanceRecord, ...] = ()
) -> str:
    """Return why a configuration cannot be published: it must fit its pages.  "" if it does.

    `places` are those that listed tenants have by now, `instances` the others of the fleet.
    """
    layout = CatalogLayout(config.nodes.max_nodes)
    places = tenant_places(config.tenants.listed, places)
    of_config = codec.encode_config(config_page(config, places))
    of_policy = codec.encode_policy(policy_page(config, instances))
    for payload, size_max in (
        (of_config, layout.payload_max(layout.config)),
        (of_policy, layout.payload_max(layout.policy) - ORDERS_BYTES_MAX),
    ):
        if (size := len(payload)) > size_max:
            return (
                f"pools, catalogue and tenants take {size} bytes in shared memory, "
                f"at most {size_max} fit"
            )
    return ""
