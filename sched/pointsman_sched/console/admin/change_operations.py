"""The operations that change something: each is an order to one process, given for its caller."""

from typing import Annotated

import msgspec

from pointsman_sched.console.admin.asking import MANAGER
from pointsman_sched.console.admin.operations import Api, Call, NoBody, Operation, Parameters
from pointsman_sched.console.admin.problems import bad_request, not_found
from pointsman_wire.messages import Name
from pointsman_wire.order_messages import (
    ConfigDiff,
    Order,
    PairingCode,
    PairOrder,
    ReloadOrder,
)
from pointsman_wire.queries.operating_messages import (
    CancelOrder,
    DrainOrder,
    DrainSeconds,
    DrainWorkerOrder,
    OrderDone,
    PauseOrder,
    QuarantineOrder,
    Reason,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
    UndrainWorkerOrder,
)
from pointsman_wire.shards import shard_of

POOL_NUMBER_MAX = 65_535
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class DrainBody(Parameters, frozen=True):
    """When it shall be over; without deadline_s after nodes.drain_s."""

    deadline_s: DrainSeconds | None = None
    reason: Reason = ""


class QuarantineBody(Parameters, frozen=True):
    """For how long, and why."""

    lasts_s: DrainSeconds = 3_600.0
    reason: Reason = ""


class CancelBody(Parameters, frozen=True):
    """Which job: by its session and the client's own id of it."""

    session_id: Id
    request_id: Id
    tenant: Name = ""


async def _tell_manager(api: Api, order: Order) -> OrderDone:
    return await api.reading.processes.order(MANAGER, order, OrderDone)


def _pool(call: Call) -> int:
    """The pool of the path; raises ApiError for what is no number of a pool."""
    text = call.path["pool"]
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or int(text) > POOL_NUMBER_MAX:
        raise bad_request(f"{text[:32]!r} is no number of a pool", "see GET /v1/pools", "pool")
    return int(text)


def _worker(api: Api, call: Call) -> str:
    """The worker of the path; raises ApiError for one that is not there."""
    workers = api.reading.processes.workers
    index = call.path["worker"]
    worker = f"worker-{index}"
    if worker not in workers:
        what = f"there is no worker {index[:32]!r}"
        raise not_found(what, f"take a number from 0 to {len(workers) - 1}")
    return worker


async def _drain_node(api: Api, call: Call) -> OrderDone:
    order = DrainOrder(
        node_id=call.path["node_id"],
        deadline_s=call.body.deadline_s,
        reason=call.body.reason,
        by=call.caller.who,
    )
    return await _tell_manager(api, order)


async def _undrain_node(api: Api, call: Call) -> OrderDone:
    order = UndrainOrder(node_id=call.path["node_id"], by=call.caller.who)
    return await _tell_manager(api, order)


async def _quarantine_node(api: Api, call: Call) -> OrderDone:
    order = QuarantineOrder(
        node_id=call.path["node_id"],
        lasts_s=call.body.lasts_s,
        reason=call.body.reason,
        by=call.caller.who,
    )
    return await _tell_manager(api, order)


async def _release_node(api: Api, call: Call) -> OrderDone:
    order = ReleaseOrder(node_id=call.path["node_id"], by=call.caller.who)
    return await _tell_manager(api, order)


async def _pair_node(api: Api, call: Call) -> PairingCode:
    order = PairOrder(node_id=call.path["node_id"], by=call.caller.who)
    return await api.reading.processes.order(MANAGER, order, PairingCode)


async def _drain_pool(api: Api, call: Call) -> OrderDone:
    order = DrainOrder(
        pool=_pool(call),
        deadline_s=call.body.deadline_s,
        reason=call.body.reason,
        by=call.caller.who,
    )
    return await _tell_manager(api, order)


async def _undrain_pool(api: Api, call: Call) -> OrderDone:
    return await _tell_manager(api, UndrainOrder(pool=_pool(call), by=call.caller.who))


async def _pause_pool(api: Api, call: Call) -> OrderDone:
    return await _tell_manager(api, PauseOrder(pool=_pool(call), by=call.caller.who))


async def _resume_pool(api: Api, call: Call) -> OrderDone:
    return await _tell_manager(api, ResumeOrder(pool=_pool(call), by=call.caller.who))


async def _pause(api: Api, call: Call) -> OrderDone:
    return await _tell_manager(api, PauseOrder(by=call.caller.who))


async def _resume(api: Api, call: Call) -> OrderDone:
    return await _tell_manager(api, ResumeOrder(by=call.caller.who))


async def _drain_worker(api: Api, call: Call) -> OrderDone:
    order = DrainWorkerOrder(by=call.caller.who)
    return await api.reading.processes.order(_worker(api, call), order, OrderDone)


async def _undrain_worker(api: Api, call: Call) -> OrderDone:
    order = UndrainWorkerOrder(by=call.caller.who)
    return await api.reading.processes.order(_worker(api, call), order, OrderDone)


async def _cancel_job(api: Api, call: Call) -> OrderDone:
    body, processes = call.body, api.reading.processes
    order = CancelOrder(
        session_id=body.session_id,
        request_id=body.request_id,
        tenant=body.tenant,
        by=call.caller.who,
    )
    owner = processes.workers[shard_of(body.session_id, processes.worker_count)]
    return await processes.order(owner, order, OrderDone)


async def _reload(api: Api, call: Call) -> ConfigDiff:
    order = ReloadOrder(by=call.caller.who)
    return await api.reading.processes.order(MANAGER, order, ConfigDiff)


CHANGE_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/nodes/{node_id}/drain",
        name="drain_node",
        summary="A node takes no new jobs, and is offline when the time is up",
        access="change",
        body=DrainBody,
        answer=OrderDone,
        run=_drain_node,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node_id}/undrain",
        name="undrain_node",
        summary="Take the drain of a node back",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_undrain_node,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node_id}/quarantine",
        name="quarantine_node",
        summary="End a node at once, and keep its id out for a time",
        access="change",
        body=QuarantineBody,
        answer=OrderDone,
        run=_quarantine_node,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node_id}/release",
        name="release_node",
        summary="Let a quarantined node in again",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_release_node,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node_id}/pair",
        name="pair_node",
        summary="Issue a code that binds one session to a node",
        access="change",
        body=NoBody,
        answer=PairingCode,
        run=_pair_node,
    ),
    Operation(
        method="POST",
        path="/v1/pools/{pool}/drain",
        name="drain_pool",
        summary="Drain all nodes that are in a pool now",
        access="change",
        body=DrainBody,
        answer=OrderDone,
        run=_drain_pool,
    ),
    Operation(
        method="POST",
        path="/v1/pools/{pool}/undrain",
        name="undrain_pool",
        summary="Take the drain of these nodes back",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_undrain_pool,
    ),
    Operation(
        method="POST",
        path="/v1/pools/{pool}/pause",
        name="pause_pool",
        summary="The nodes of a pool get no new jobs; what runs goes on",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_pause_pool,
    ),
    Operation(
        method="POST",
        path="/v1/pools/{pool}/resume",
        name="resume_pool",
        summary="A paused pool gets jobs again",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_resume_pool,
    ),
    Operation(
        method="POST",
        path="/v1/workers/{worker}/drain",
        name="drain_worker",
        summary="A worker takes no new sessions and jobs; what runs goes on",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_drain_worker,
    ),
    Operation(
        method="POST",
        path="/v1/workers/{worker}/undrain",
        name="undrain_worker",
        summary="A drained worker takes sessions and jobs again",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_undrain_worker,
    ),
    Operation(
        method="POST",
        path="/v1/pause",
        name="pause",
        summary="The service takes no new jobs; what was accepted goes on",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_pause,
    ),
    Operation(
        method="POST",
        path="/v1/resume",
        name="resume",
        summary="The service takes jobs again",
        access="change",
        body=NoBody,
        answer=OrderDone,
        run=_resume,
    ),
    Operation(
        method="POST",
        path="/v1/jobs/cancel",
        name="cancel_job",
        summary="End a job, as its client could",
        access="change",
        body=CancelBody,
        answer=OrderDone,
        run=_cancel_job,
    ),
    Operation(
        method="POST",
        path="/v1/reload",
        name="reload",
        summary="Read the configuration file again; all that changes or nothing",
        access="change",
        body=NoBody,
        answer=ConfigDiff,
        run=_reload,
    ),
)
