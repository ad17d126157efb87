"""Operators give orders at random; nodes, managers and modes of pools come and go meanwhile."""

from collections.abc import Callable
from random import Random

import pytest
from manager_harness import MS, SECOND, Harness, config_with, order, registration
from msgspec.structs import replace

from pointsman_sched.core.events import ConfigOffered
from pointsman_sched.core.fleet.node import Node
from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_standing
from pointsman_wire.control_messages import Leave, Service
from pointsman_wire.queries.operating_messages import (
    DrainOrder,
    OrderDone,
    PauseOrder,
    QuarantineOrder,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
)

STEPS = 120
NAMES = tuple(f"n{number}" for number in range(6))
POOLS = (PoolsConfig(), PoolsConfig(auto_language_pools=False, pool_count=3))


class Life:
    """A fleet, its operator, and what the operator has ordered and not taken back."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = Random(seed)
        remember_s = dice.choice((5.0, 60.0))
        self._h = Harness(config_with(max_nodes=64, drain_s=5.0, remember_offline_s=remember_s))
        self._drained: set[str] = set()
        self._paused: set[tuple[str, str]] = set()  # mode and name of pools
        self._acts: dict[Callable[[], None], int] = {
            self._beat: 20,
            self._join: 12,
            self._drain: 8,
            self._pause: 4,
            self._pass: 10,
            self._lose: 6,
            self._quarantine: 4,
            self._restart: 2,
            self._reload: 1,
        }

    def live(self) -> None:
        """So many things happen; what was ordered stands after each."""
        for _ in range(STEPS):
            (act,) = self._dice.choices([*self._acts], [*self._acts.values()])
            act()
            self._judge()

    def _nodes(self) -> dict[str, Node]:
        nodes = self._h.core.state.nodes.by_id.values()
        return {node.node_id: node for node in nodes if node.is_live}

    def _join(self) -> None:
        name, language = self._dice.choice(NAMES), self._dice.choice(("en", "fr"))
        if name not in self._nodes() or self._nodes()[name].connection is None:
            asr = [Service(id="asr-1", kind="asr")]
            self._h.make_ready(registration(name, services=asr, asr=[language]))

    def _lose(self) -> None:
        node = self._nodes().get(self._dice.choice(NAMES))
        if node is not None and node.connection is not None:
            if self._dice.random() < 0.4:
                self._h.say(node.connection, Leave())
            else:
                self._h.lose(node.connection)

    def _beat(self) -> None:
        for node in self._nodes().values():
            if node.connection is not None:
                self._h.beat(node.connection)

    def _pass(self) -> None:
        for _ in range(self._dice.choice((1, 2, 6, 40))):
            self._h.advance(SECOND // 2)
            self._beat()

    def _drain(self) -> None:
        dice, planner = self._dice, self._h.core.state.planner
        lasts_s, pools = dice.choice((None, 0.5, 20.0, 500.0)), planner.page().pools
        is_back = dice.random() < 0.5
        if pools and dice.random() < 0.2:
            pool = dice.choice(pools).id
            whose = {name for name in self._nodes() if pool in planner.pools_of(name)}
            wish = UndrainOrder(pool=pool) if is_back else DrainOrder(pool=pool, deadline_s=lasts_s)
        else:
            name = dice.choice(NAMES)
            whose = {name}
            wish = (
                UndrainOrder(node_id=name)
                if is_back
                else DrainOrder(node_id=name, deadline_s=lasts_s)
            )
        if isinstance(order(self._h, wish), OrderDone):
            self._drained = self._drained - whose if is_back else self._drained | whose

    def _pause(self) -> None:
        planner = self._h.core.state.planner
        if not (pools := planner.page().pools):
            return
        pool = self._dice.choice(pools)
        key = (planner.mode, pool.name)
        if self._dice.random() < 0.5:
            order(self._h, PauseOrder(pool=pool.id))
            self._paused.add(key)
        else:
            is_done = isinstance(order(self._h, ResumeOrder(pool=pool.id)), OrderDone)
            assert is_done is (key in self._paused), key
            self._paused.discard(key)

    def _quarantine(self) -> None:
        name, lasts_s = self._dice.choice(NAMES), self._dice.choice((1.0, 30.0))
        kept_out, let_in = (
            QuarantineOrder(node_id=name, lasts_s=lasts_s),
            ReleaseOrder(node_id=name),
        )
        order(self._h, self._dice.choice((kept_out, let_in)))

    def _restart(self) -> None:
        for _ in range(5):  # what was ordered is published
            self._h.advance(40 * MS)
        self._h.start()
        self._h.feed()

    def _reload(self) -> None:
        config = replace(self._h.core.state.config, pools=self._dice.choice(POOLS))
        self._h.feed(ConfigOffered(5, "file", config, False))
        self._h.advance(400 * MS)
        self._h.config = config

    def _judge(self) -> None:
        state = self._h.core.state
        assert set(state.pauses.drains) == self._drained
        names = {pool.id: pool.name for pool in state.planner.page().pools}
        for name, node in self._nodes().items():
            shown = unpack_standing(self._h.memory.rows.standing[node.row])
            is_drained = name in self._drained
            assert (RowFlag.DRAINED in shown.flags) is is_drained, name
            assert (shown.state is NodeState.DRAINING) >= is_drained, (name, shown)
            pools = {(state.planner.mode, names[pool]) for pool in state.planner.pools_of(name)}
            # After a restart a row says so until its node has said that it is not its owner's wish.
            is_owners = node.connection is None and bool(node.flags & RowFlag.PAUSED)
            is_paused = bool(pools & self._paused) or is_owners
            assert (RowFlag.PAUSED in shown.flags) is is_paused, (name, shown, self._paused)


@pytest.mark.parametrize("seed", range(12))
def test_what_was_ordered_stands_until_it_is_taken_back(seed: int) -> None:
    Life(seed).live()
