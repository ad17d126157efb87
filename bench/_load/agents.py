"""Many nodes in one process: the product's own agent core and driver, with nothing behind them.

python -m _load.agents ADDRESS PREFIX COUNT PER_SECOND

Each node keeps a control connection and a lane to every worker, so COUNT is bounded by the
descriptors that a process may have.  It answers orders, a line each:

  mark    forget what was counted; answers "marked"
  count   answers how many nodes were called ready since the mark
"""

import asyncio
import os
import resource
import sys
from typing import Any

import uvloop

from _load.orders import next_line, say
from pointsman.node_core.agent import AgentCore
from pointsman.node_core.events import (
    AgentSetup,
    GiveUp,
    JobEnded,
    MeasureResources,
    ResourcesMeasured,
    StartJob,
    StateChanged,
)
from pointsman_wire.control_messages import Register, Service, ToNode, Translation
from pointsman_wire.lane_messages import LaneToNode
from pointsman_wire.preamble import Role
from pointsman_wire.sockets.driver import Driver, DriverSettings

SETTLE_S = 60.0


class Agent:
    """One node that answers every job at once."""

    def __init__(self, address: str, node_id: str, news: asyncio.Event) -> None:
        self._news = news
        register = Register(
            node_id=node_id,
            services=[Service(id="nmt", kind="nmt")],
            nmt=Translation(pairs=[("en", "es")]),
        )
        self.core = AgentCore(AgentSetup(register=register, entropy=os.urandom))
        self.is_ready = False
        self.driver = Driver(
            self.core,
            unions={Role.CONTROL: ToNode, Role.LANE: LaneToNode},
            execute=self._execute,
            settings=DriverSettings(server_address=address),
        )

    def _execute(self, command: Any) -> None:
        if isinstance(command, MeasureResources):
            self.driver.post(ResourcesMeasured(cpu_percent=5.0))
        elif isinstance(command, StartJob):
            self.driver.post(JobEnded(run=command.run, payload=command.payload))
        elif isinstance(command, StateChanged) and command.state == "ready":
            self.is_ready = True
            self._news.set()
        elif isinstance(command, GiveUp):
            print(f"a node was refused: {command.error}", file=sys.stderr, flush=True)
            os._exit(1)


async def main(address: str, prefix: str, count: int, per_second: int) -> None:
    """Let all join, say so, and obey."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    news = asyncio.Event()
    agents = [Agent(address, f"{prefix}-{number}", news) for number in range(count)]
    for number, agent in enumerate(agents):
        agent.driver.start()
        if number % max(1, per_second // 10) == 0:
            await asyncio.sleep(0.1)
    async with asyncio.timeout(SETTLE_S + count / per_second):
        while not all(agent.is_ready for agent in agents):
            news.clear()
            await news.wait()
    say("ready")
    while line := await next_line():
        if line.strip() == "mark":
            for agent in agents:
                agent.is_ready = False
            say("marked")
        else:
            say(str(sum(agent.is_ready for agent in agents)))
    os._exit(0)  # a thousand farewells would take longer than all of the bench


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
