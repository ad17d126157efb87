"""L1: a worker with its journal against a small reference, in any order of what can happen.

After every step I2, I3, I4, I5, I10 and I11 hold; at the end all is healed, and then everything
that was accepted ends (I1) and nothing is held.  HYPOTHESIS_PROFILE=campaign tries new orders.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from worker_model import ROWS, Cell

from pointsman_shm.memory.rows import NodeState

names = st.sampled_from([f"r-{number}" for number in range(12)])
levels = st.sampled_from(["journal", "journal", "fsync", "memory"])
rows = st.sampled_from(ROWS)
STEPS = 50


class WorkerMachine(RuleBasedStateMachine):
    """What can happen to one worker."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()

    @rule(name=names, level=levels)
    def submit(self, name: str, level: str) -> None:
        """A request, for the first time or again."""
        known = self.cell.promises.get(name)
        self.cell.client.submit(name, durability=known.level if known else level)

    @rule(name=names)
    def submit_another_body(self, name: str) -> None:
        if name in self.cell.promises:
            self.cell.client.submit(name, b"other", durability=self.cell.promises[name].level)

    @rule(name=names)
    def cancel(self, name: str) -> None:
        self.cell.client.cancel(name)

    @rule()
    def acknowledge_results(self) -> None:
        self.cell.acknowledge()

    @rule(row=rows)
    def read(self, row: int) -> None:
        """The node starts what it was sent, and says so."""
        self.cell.machines[row].read(self.cell.worker.epoch)

    @rule(row=rows, status=st.sampled_from(["completed", "completed", "failed"]))
    def end(self, row: int, status: str) -> None:
        machine = self.cell.machines[row]
        if machine.running:
            machine.end(next(iter(machine.running)), status)

    @rule(row=rows)
    def join_or_leave(self, row: int) -> None:
        machine = self.cell.machines[row]
        if machine.lane is None:
            machine.join(self.cell.worker)
        else:
            machine.leave()

    @rule(row=rows)
    def flap(self, row: int) -> None:
        machine = self.cell.machines[row]
        for _ in range(2):
            machine.leave()
            machine.join(self.cell.worker)

    @rule(row=rows, state=st.sampled_from([NodeState.READY, NodeState.DRAINING]))
    def stand(self, row: int, state: NodeState) -> None:
        """The node drains, or is Ready again."""
        self.cell.host.stand(row, state=state)
        self.cell.worker.feed()

    @rule()
    def sync(self) -> None:
        self.cell.sync()

    @rule()
    def reconnect(self) -> None:
        self.cell.reconnect()

    @rule()
    def kill(self) -> None:
        """kill -9, and a successor."""
        self.cell.kill()

    @rule(seconds=st.sampled_from([0.05, 0.3, 2.5, 6.0]))
    def tick(self, seconds: float) -> None:
        self.cell.tick(seconds)

    @invariant()
    def every_promise_is_kept(self) -> None:
        self.cell.judge()

    def teardown(self) -> None:
        self.cell.come_to_rest()


TestWorkerMachine = WorkerMachine.TestCase
TestWorkerMachine.settings = settings(max_examples=30, stateful_step_count=STEPS)
