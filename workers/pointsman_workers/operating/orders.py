"""What operators order of a worker: end a job, take nothing new, take it again."""

from pointsman_shm.memory.stats_names import Gauge
from pointsman_wire.errors import Code
from pointsman_wire.messages import Message, error_answer
from pointsman_wire.queries.operating_messages import (
    CancelOrder,
    DrainWorkerOrder,
    OrderDone,
    UndrainWorkerOrder,
)
from pointsman_workers.core.events import OrderAnswered, OrderGiven
from pointsman_workers.core.shard import Shard
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.operating.parting import PartingDesk


class OperatorDesk:
    """Obeys, one order at a time."""

    def __init__(self, shard: Shard, attempts: AttemptDesk, parting: PartingDesk) -> None:
        self.shard = shard
        self._parting = parting
        self._attempts = attempts

    def ordered(self, event: OrderGiven) -> None:
        """Carry out an order, and answer it."""
        order = event.order
        if isinstance(order, CancelOrder):
            answer = self._cancel(order)
        elif isinstance(order, DrainWorkerOrder):
            answer = self._drain()
        else:
            assert isinstance(order, UndrainWorkerOrder), order
            answer = self._undrain()
        self.shard.outbox.commands.append(OrderAnswered(event.ticket, answer))

    def _cancel(self, order: CancelOrder) -> Message:
        key = (order.tenant, order.session_id, order.request_id)
        job = self.shard.window.find(key)
        if job is None:
            words = f"no request {order.request_id!r} in session {order.session_id!r} is known here"
            return error_answer(Code.NOT_FOUND, words)
        if not job.is_open:
            return error_answer(
                Code.CONFLICT, f"job {job.job_id} has ended ({job.state.name.lower()})"
            )
        self._attempts.cancel(job)
        return OrderDone(words=f"job {job.job_id} is cancelled")

    def _drain(self) -> Message:
        shard = self.shard
        shard.is_drained = True
        shard.kinds.read_anew()
        shard.setup.memory.stats.gauge(Gauge.DRAINING, 1)
        words = "this worker takes no new sessions and jobs until it is undrained or restarted"
        if sent_count := self._parting.send_away():
            words += f"; sends {sent_count} sessions to other instances"
        return OrderDone(
            words=words,
            sessions=len(shard.sessions),
            jobs=shard.open_job_count,
        )

    def _undrain(self) -> Message:
        shard = self.shard
        if not shard.is_drained:
            return error_answer(Code.CONFLICT, "this worker is not drained")
        shard.is_drained = False
        shard.kinds.read_anew()
        shard.setup.memory.stats.gauge(Gauge.DRAINING, int(shard.is_stopping))
        return OrderDone(
            words="this worker takes sessions and jobs again",
            sessions=len(shard.sessions),
            jobs=shard.open_job_count,
        )
