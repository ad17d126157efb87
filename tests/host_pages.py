"""The pages of a catalog as a manager would publish them, from what a test says of its host."""

from typing import NamedTuple

from pointsman_shm.config import Config
from pointsman_shm.config_live import Places, live_settings
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.rules.pool_planner import PoolPlanner
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    ConfigPage,
    InstanceRecord,
    MarkRecord,
    NodeRecord,
    OrdersRecord,
    PolicyPage,
)


class HostPages(NamedTuple):
    """Everything that goes into pages."""

    config: Config
    planner: PoolPlanner
    records: dict[int, NodeRecord]
    classes: list[CapabilityClass]
    marks: list[MarkRecord]
    instances: tuple[InstanceRecord, ...] = ()
    places: Places = ()
    orders: OrdersRecord = OrdersRecord()

    def encode(self, layout: CatalogLayout) -> dict[int, bytes]:
        """Return every page by its number."""
        config = self.config
        pages = {
            layout.class_page(0): codec.encode_classes(0, self.classes),
            layout.pools: codec.encode_pools(self.planner.page()),
            layout.config: codec.encode_config(
                ConfigPage(
                    require_gpu=config.nodes.require_gpu,
                    pools=config.pools,
                    catalogue=config.catalogue,
                    live=live_settings(config, self.places),
                )
            ),
            layout.marks: codec.encode_marks(self.marks),
            layout.policy: codec.encode_policy(
                PolicyPage(
                    tenant_overrides=config.pools.tenant_overrides,
                    instances=self.instances,
                    orders=self.orders,
                )
            ),
        }
        for page in range(layout.node_page_count):
            first = page * 256
            records = [record for row, record in self.records.items() if first <= row < first + 256]
            pages[page] = codec.encode_nodes(records)
        return pages
