"""The promises that every run is held to, judged after every turn of every core.

    I1   every open job waits in the queue or is at a node, has a timer, and is not overdue
    I2   one request never starts under two job ids: never within one life of its worker; after a
         restart, never while the new worker knows of the first run and has not given it up; and
         it waits for the nodes' reports, unless it has them all
    I3   no result of an attempt counts after a later one was issued; one dispatch starts once.  An
         attempt has one dispatch, or two of the same number at two nodes when it is hedged: neither
         is fenced until one has a result, and then the other one is
    I4   a node never runs more than it may, counted where the handlers are; without faults no
         node has to refuse for lack of room
    I5   a serial session never runs two jobs, nor two attempts of one, but those that were told to
         stop; its jobs go out in order of acceptance.  An utterance session tells its results in
         order, except what it had said to be missing
    I8   a job is assigned only to a node that is Ready in that instant

I10 and I11 are judged in shard_books.py.  All read what the cores show and what went over the
wire; nothing in the cores knows of them.
"""

from collections.abc import Sequence

import msgspec

from pointsman.node_core.events import StartJob
from pointsman.session_core.events import ResultCame
from pointsman_shm.memory.rows import STATE_MASK, STATE_SHIFT, NodeState
from pointsman_sim.history import Violation
from pointsman_sim.parts.agent_part import AgentProcess, NodeSite
from pointsman_sim.parts.client_part import OTHER_BODY, Asked, ClientProcess, ClientSite
from pointsman_sim.parts.instance import Instance
from pointsman_sim.parts.worker_part import WorkerProcess
from pointsman_sim.session_orders import SessionOrders
from pointsman_sim.shard_books import ShardBooks
from pointsman_sim.world.dice import S
from pointsman_sim.world.process import Process
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import Assign, JobRefused
from pointsman_wire.link import Send
from pointsman_wire.session_messages import MissingResult, Result
from pointsman_wire.shards import shard_of

Fence = tuple[int, int]  # epoch, dispatch
Key = tuple[str, str, str]


class Start(msgspec.Struct, frozen=True):
    """One dispatch that began to run on a node."""

    process: AgentProcess
    run: int
    fence: Fence


class Invariants:
    """The witness of one run."""

    def __init__(self, instance: Instance, nodes: list[NodeSite], *, is_calm: bool) -> None:
        self._instance = instance
        self._nodes = nodes
        self._is_calm = is_calm
        self._books: dict[str, ShardBooks] = {}
        # The live dispatches of each job's newest attempt, the newest last, and its number.
        self._issued: dict[str, tuple[int, list[Fence]]] = {}
        self._orders = SessionOrders(nodes)
        self._starts: dict[Key, dict[str, Start]] = {}  # the last start of each job of a request
        self._dispatches: set[tuple[str, Fence]] = set()
        # By worker's epoch and job: how it was said to have ended.
        self._ends: dict[tuple[int, str], tuple[str, bytes]] = {}
        self.starts_count = 0

    # ---- after every turn

    def stepped(self, process: Process, events: Sequence[object]) -> None:
        """Judge the process that has just had its turn."""
        if isinstance(process, WorkerProcess):
            books = self._books.get(process.name)
            if books is None or books.life != process.life:
                books = self._books[process.name] = ShardBooks(process)
            if not books.was_settled and process.core.shard.is_settled:
                books.was_settled = True
                self._judge_settling(process)
            books.judge()
        elif isinstance(process, AgentProcess | ClientProcess):
            process.core.check_invariants()

    def _judge_settling(self, worker: WorkerProcess) -> None:
        """A worker that gave nodes less than the grace must know all that they run for it."""
        grace_ns = int(self._instance.config.jobs.lane_grace_s * S)
        age_ns = worker.world.schedule.now_ns - worker.born_at_ns
        if worker.epoch == 1 or age_ns >= grace_ns:
            return
        shard = worker.core.shard
        for node in self._nodes:
            if node.process is None or not self._is_believed_alive(worker, node.process):
                continue
            for run, handler in node.process.handlers.running.items():
                fence = node.process.core.jobs.running[run].fence
                place = (fence.epoch, fence.dispatch)
                is_ours = shard_of(fence.session_id, shard.worker_count) == worker.index
                is_known = any(place in lane.holds for lane in shard.lanes.values())
                if is_ours and fence.epoch < worker.epoch and not (is_known or handler.is_stopping):
                    words = f"settled after {age_ns / S:.2f} s without {place} of {node.name}"
                    raise Violation("I2", f"{worker.name} {words}")

    def _is_believed_alive(self, worker: WorkerProcess, agent: AgentProcess) -> bool:
        """Was the node not declared dead, as far as the worker can see?

        A catalog that was made anew knows a node from its registration on; it is given the grace.
        """
        fleet = worker.core.shard.fleet
        records = [record for page in fleet.snapshot.node_pages for record in page]
        rows = [r.row for r in records if r is not None and r.node_id == agent.core.node_id]
        gone = (NodeState.FREE, NodeState.OFFLINE)
        if not agent.is_alive:
            return False
        if not rows:
            age_ns = worker.world.schedule.now_ns - self._instance.memory.born_at_ns
            return age_ns < self._instance.config.jobs.lane_grace_s * S
        states = [fleet.standing[row] >> STATE_SHIFT & STATE_MASK for row in rows]
        return all(state not in gone for state in states)

    # ---- what went over the wire

    def sent(self, process: Process, command: Send) -> None:
        """Judge a frame that leaves a process."""
        message = command.message
        if isinstance(message, Assign):
            assert isinstance(process, WorkerProcess)
            self._assigned(process, command, message)
            self._orders.assigned(process, message)
        elif isinstance(message, Result):
            assert isinstance(process, WorkerProcess)
            self._judge_end(process, message, command.payload)
            self._result_sent(process, message)
            self._orders.told(process, command.connection, message)
        elif isinstance(message, MissingResult):
            assert isinstance(process, WorkerProcess)
            self._orders.told(process, command.connection, message)
        elif isinstance(message, JobRefused):
            is_capacity = message.code == Code.NODE_OVERLOADED
            if is_capacity and self._is_calm:
                words = f"{process.name} had no room for {message.job_id}: {message.message}"
                raise Violation("I4", f"in a run without faults {words}")

    def _assigned(self, worker: WorkerProcess, command: Send, assign: Assign) -> None:
        fence = (worker.epoch, assign.dispatch)
        number, fences = self._issued.get(assign.job_id, (0, [(0, 0)]))
        newest = fences[-1]
        if fence <= newest:
            raise Violation("I3", f"{assign.job_id}: dispatch {fence} was issued after {newest}")
        is_hedge = assign.attempt == number and newest[0] == fence[0]
        if is_hedge and len(fences) > 1:
            raise Violation("I3", f"{assign.job_id}: attempt {number} has {fences} and {fence}")
        self._issued[assign.job_id] = (assign.attempt, [*fences, fence] if is_hedge else [fence])
        lane = worker.core.shard.lanes_by_connection.get(command.connection)
        if lane is None:
            return  # it was assigned and lost within one turn
        state = NodeState(self._instance.memory.rows.standing[lane.row] >> STATE_SHIFT & STATE_MASK)
        if state is not NodeState.READY:
            raise Violation("I8", f"{assign.job_id} was sent to {lane.node_id}, {state.name}")

    def _judge_end(self, worker: WorkerProcess, result: Result, payload: bytes) -> None:
        """However often a result is told in one life of a worker, it is the same."""
        end = (result.status, payload)
        known = self._ends.setdefault((worker.epoch, result.job_id), end)
        if known != end:
            words = f"job {result.job_id} ended {known[0]} and then {result.status}"
            raise Violation("I11", words)

    def _result_sent(self, worker: WorkerProcess, result: Result) -> None:
        """A completed result names the dispatch that made it: it must be the newest.

        A worker that was born after both dispatches knows the newer one only from its node.
        """
        if not result.status.startswith("completed"):
            return
        assert result.meta is not None, result
        job_id, epoch, dispatch = result.meta["fence"]
        if job_id != result.job_id:
            raise Violation("I3", f"job {result.job_id} was given the result of {job_id}")
        _, fences = self._issued[job_id]
        newest = fences[-1]
        lanes = worker.core.shard.lanes.values()
        is_known = newest[0] == worker.epoch or any(newest in lane.holds for lane in lanes)
        if (epoch, dispatch) not in fences and is_known:
            words = f"took the result of dispatch {(epoch, dispatch)} after {newest} was issued"
            raise Violation("I3", f"job {job_id} {words}")

    # ---- at the nodes

    def started(self, process: AgentProcess, command: StartJob) -> None:
        """Judge a job that begins to run."""
        self.starts_count += 1
        room = process.node.register.max_concurrency
        running = len(process.handlers.running)
        if running > room:
            raise Violation("I4", f"{process.name} runs {running} jobs and may run {room}")
        assign = command.assign
        self._orders.started(process, command)
        job_id, epoch, dispatch = process.fences[command.run]
        assert isinstance(epoch, int)
        assert isinstance(dispatch, int)
        start = Start(process, command.run, (epoch, dispatch))
        shard = shard_of(assign.session_id, self._instance.worker_count)
        highest = process.node.disk.epochs.get((self._instance.uid, shard), 0)
        if epoch < highest:
            raise Violation("I3", f"{process.name} starts epoch {epoch} after {highest}")
        if (assign.job_id, start.fence) in self._dispatches:
            raise Violation("I3", f"dispatch {start.fence} of {job_id} started twice")
        self._dispatches.add((assign.job_id, start.fence))
        key = (assign.tenant, assign.session_id, assign.request_id)
        starts = self._starts.setdefault(key, {})
        for other_id, other in starts.items():
            if other_id != assign.job_id:
                self._judge_second_job(key, (other_id, other), (assign.job_id, start))
        starts[assign.job_id] = start

    def _judge_second_job(
        self, key: Key, first: tuple[str, Start], second: tuple[str, Start]
    ) -> None:
        """A request has started under another job id before."""
        (first_id, before), (second_id, now) = first, second
        words = f"request {key} started as {first_id} {before.fence} and {second_id} {now.fence}"
        if before.fence[0] == now.fence[0]:
            raise Violation("I2", f"{words} in one life of its worker")
        handler = before.process.handlers.running.get(before.run)
        if not before.process.is_alive or handler is None or handler.is_stopping:
            return
        worker = self._instance.workers[shard_of(key[1], self._instance.worker_count)]
        if worker is None or worker.epoch != now.fence[0]:
            return
        for lane in worker.core.shard.lanes.values():
            hold = lane.holds.get(before.fence)
            if hold is not None and hold.job_id == first_id and not hold.is_cancelling:
                raise Violation("I2", f"{words}; the new worker knew of the first")

    # ---- at the clients

    def told(self, site: ClientSite, asked: Asked, command: ResultCame) -> None:
        """Judge a result that reached its client."""
        result, payload = command.result, command.payload
        if result.status == "completed" and payload[::-1] not in (asked.payload, OTHER_BODY):
            words = f"{asked.session}/{asked.submit.request_id} got another request's result"
            raise Violation("I3", words)
        if result.error is not None and result.error.code == Code.POISON:
            attempts = result.error.attempts
            nodes = {why.split()[3] for why in attempts}
            if len(nodes) < 3 and sum(" node_lost: " in why for why in attempts) < 2:
                raise Violation("T23", f"{result.job_id} is poison for {result.error.attempts}")

    def judge_ended(self) -> None:
        """Judge that nothing that had ended was changed afterwards."""
        for books in self._books.values():
            books.judge_ended()
