"""All nodes, found by id and by row, and listed in order of their ids."""

from bisect import bisect_right, insort

from pointsman_sched.core.fleet.node import Node


class NodeTable:
    """Living nodes and those remembered as Offline; one node per row and per id."""

    def __init__(self, max_nodes: int) -> None:
        self.by_id: dict[str, Node] = {}
        self.by_row: list[Node | None] = [None] * max_nodes
        # Kept sorted as nodes come and go, so that a page of a long list costs only the page.
        self._ids: list[str] = []
        # Remembered nodes, the longest gone first: they give way when the fleet is full.
        self.offline: dict[str, Node] = {}
        # Living nodes of other instances, the newest last.
        self.remote: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    @property
    def live_count(self) -> int:
        """Return how many of our own nodes are not Offline."""
        return len(self.by_id) - len(self.offline) - len(self.remote)

    def add(self, node: Node) -> None:
        """Enter a node; its id and row must be free."""
        assert node.node_id not in self.by_id, node.node_id
        assert self.by_row[node.row] is None, node.row
        self.by_id[node.node_id] = node
        self.by_row[node.row] = node
        insort(self._ids, node.node_id)
        if node.instance:
            self.remote[node.node_id] = node

    def retire(self, node: Node) -> None:
        """Remember a node as Offline from now on."""
        self.remote.pop(node.node_id, None)
        self.offline[node.node_id] = node

    def remove(self, node: Node) -> None:
        """Forget a node; its row may hold another one from now on."""
        assert self.by_id.pop(node.node_id) is node
        assert self.by_row[node.row] is node
        self.by_row[node.row] = None
        self.offline.pop(node.node_id, None)
        self.remote.pop(node.node_id, None)
        at = bisect_right(self._ids, node.node_id) - 1
        assert self._ids.pop(at) == node.node_id

    def find(self, row: int, generation: int) -> Node | None:
        """Return the node that has this row in this generation."""
        if not 0 <= row < len(self.by_row):
            return None
        node = self.by_row[row]
        return node if node is not None and node.generation == generation else None

    def after(self, node_id: str, limit: int) -> list[Node]:
        """Return at most `limit` nodes whose ids follow `node_id`, in order."""
        start = bisect_right(self._ids, node_id)
        return [self.by_id[found] for found in self._ids[start : start + limit]]
