"""Nodes and clients of a run: started, and started again when they were killed."""

import asyncio
import signal
from pathlib import Path
from random import Random

from pointsman_sim.chaos.plan import Plan
from pointsman_sim.chaos.processes import Child, Service

RESTART_S = 0.7
CLIENT_END_S = 60.0


class Fleet:
    """Everything that runs beside this program."""

    def __init__(self, service: Service, address: str, directory: Path, plan: Plan) -> None:
        self.service = service
        self.nodes: list[Child] = []
        self.clients: list[Child] = []
        self.troubles: list[str] = []
        self._address = address
        self._directory = directory
        self._plan = plan
        self._processes = 1
        self._clients_made = 0
        self._is_over = False

    def start(self, processes: int) -> None:
        """Start the nodes, and the sessions in so many client processes."""
        sessions, self._processes = self._plan.sessions, min(processes, self._plan.sessions)
        self.nodes = [self._node(number) for number in range(self._plan.nodes)]
        self.clients = [
            self._client(sessions // processes + (number < sessions % processes))
            for number in range(min(processes, sessions))
        ]

    def _node(self, number: int) -> Child:
        name = f"node-{number}"
        slots = str(1 + number % 4)
        program = "pointsman_sim.chaos.node_program"
        return Child(name, ["-m", program, self._address, name, str(self._directory), slots])

    def _client(self, sessions: int) -> Child:
        self._clients_made += 1
        number = self._clients_made
        history = str(self._directory / f"client-{number}.jsonl")
        program = "pointsman_sim.chaos.client_program"
        options = [self._address, history, str(sessions), str(self._plan.seed * 1000 + number)]
        if self._plan.trace is not None:
            share = f"{number % self._processes}/{self._processes}"
            options += [str(self._plan.trace), share]
        return Child(f"{sessions} sessions", ["-m", program, *options])

    async def watch(self) -> None:
        """Start again what was killed; what ends by itself otherwise is trouble."""
        while True:
            await asyncio.sleep(RESTART_S)
            for place, node in enumerate(self.nodes):
                if not node.is_alive:
                    self._ended(node)
                    self.nodes[place] = self._node(place)
            for place, client in enumerate(self.clients):
                if not client.is_alive:
                    self._ended(client)
                    self.clients[place] = self._client(int(client.name.split()[0]))

    def _ended(self, child: Child) -> None:
        status = child.end(1.0)
        if status not in (-signal.SIGKILL, 0):
            said = "\n".join([*child.lines][-30:])
            self.troubles.append(f"{child.name} ended with {status}:\n{said}")

    def any_node(self, dice: Random) -> tuple[str, int]:
        """Return the name and pid of a node."""
        node = dice.choice(self.nodes)
        return node.name, node.pid

    def any_client(self, dice: Random) -> tuple[str, int]:
        """Return how a client's sessions call it in their history, and its pid."""
        client = dice.choice(self.clients)
        return f"client-{client.pid}", client.pid

    async def end_clients(self) -> None:
        """Let clients ask no more and wait until they have all answers."""
        for client in self.clients:
            if client.is_alive:
                client.process.terminate()
        await asyncio.gather(
            *(asyncio.to_thread(client.end, CLIENT_END_S) for client in self.clients)
        )
        for client in self.clients:
            self._ended(client)
        self.clients = []

    def end(self) -> None:
        """End everything, whatever state it is in."""
        for child in (*self.clients, *self.nodes):
            if child.is_alive:
                child.process.kill()
        for child in (*self.clients, *self.nodes):
            child.end(5.0)
