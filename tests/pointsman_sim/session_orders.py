"""What sessions with an order were promised, judged over nodes and clients: I5."""

from pointsman.node_core.events import StartJob
from pointsman_sim.history import Violation
from pointsman_sim.parts.agent_part import AgentProcess, NodeSite
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_wire.lane_messages import Assign
from pointsman_wire.link import Connection
from pointsman_wire.session_messages import MissingResult, Result
from pointsman_workers.core.state import Line, Utterances


class SessionOrders:
    """Remembers what went out, by the very objects that keep the order in a worker's life."""

    def __init__(self, nodes: list[NodeSite]) -> None:
        self._nodes = nodes
        self._arrivals: dict[int, tuple[Line, int]] = {}
        # The next index, and the highest number that was told.
        self._told: dict[int, tuple[Utterances, int, int]] = {}

    def started(self, process: AgentProcess, command: StartJob) -> None:
        """A job of a serial session begins: nothing else of it may run."""
        assign = command.assign
        if not assign.silence_ms:
            return
        whose = (assign.tenant, assign.session_id)
        for node in self._nodes:
            if node.process is None or not node.process.is_alive:
                continue
            for run, handler in node.process.handlers.running.items():
                other = handler.command.assign
                is_itself = node.process is process and run == command.run
                # A process that stands still runs nothing; when it wakes it ends that first.
                if is_itself or node.process.is_frozen or not other.silence_ms:
                    continue
                if (other.tenant, other.session_id) == whose:
                    words = f"{assign.request_id} ({assign.dispatch}) began at {process.name}"
                    still = f"{other.request_id} ({other.dispatch}) runs at {node.name}"
                    raise Violation("I5", f"serial session {whose}: {words} while {still}")

    def assigned(self, worker: WorkerProcess, assign: Assign) -> None:
        """First attempts of a serial session go out in the order of acceptance."""
        if not assign.silence_ms or assign.attempt > 1:
            return
        key = (assign.tenant, assign.session_id, assign.request_id)
        job = worker.core.shard.window.find(key)
        if job is None or job.line is None or job.job_id != assign.job_id:
            return
        line, last = self._arrivals.get(id(job.line), (job.line, 0))
        if job.arrival <= last:
            raise Violation("I5", f"{key} of a serial session was overtaken: {job.arrival}, {last}")
        self._arrivals[id(line)] = (line, job.arrival)

    def told(
        self, worker: WorkerProcess, connection: Connection, told: Result | MissingResult
    ) -> None:
        """What an utterance session is told comes in order, and leaves out only what it says."""
        peer = worker.core.shard.peers.get(connection)
        session = peer.sessions.get(told.session_number) if peer is not None else None
        if session is None or session.utterances is None or told.utterance_index is None:
            return
        line, index = session.utterances, told.utterance_index
        _, expected, number = self._told.get(id(line), (line, index, 0))
        if told.number <= number:
            return  # told again
        if index > expected:
            words = f"{index} was told, next was {expected}"
            raise Violation("I5", f"utterance session {session.session_id}: {words}")
        after = index + (told.count if isinstance(told, MissingResult) else 1)
        self._told[id(line)] = (line, max(expected, after), told.number)
