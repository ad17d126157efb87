"""Orders of an operator: taken as events, answered as commands, so that a step alone changes state.

A configuration is judged whole before anything is touched: a file with one fault, or with one
change that needs a restart, changes nothing.
"""

from pointsman_sched.core.events import Answer, ConfigOffered, PairOrdered
from pointsman_sched.core.joining.open_secrets import OPEN_MAX
from pointsman_sched.core.joining.pairing import CODE_LASTS_NS, CODE_LENGTH
from pointsman_sched.core.orders.rebuild import Rebuild
from pointsman_sched.core.state import ManagementState
from pointsman_shm.config import Config
from pointsman_shm.config_difference import hot_differences
from pointsman_shm.snapshot.config_pages import page_trouble
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_info
from pointsman_wire.order_messages import ConfigDiff, PairingCode

BUSY_RETRY_MS = 200


def pair_ordered(state: ManagementState, event: PairOrdered) -> None:
    """Issue a pairing code for a node that this service has known."""
    is_remote = event.node_id in state.nodes.remote
    if not is_remote and not state.identities.is_known(event.node_id):
        words = f"no node {event.node_id!r} has ever joined, or it left for good"
        _refuse(state, event.ticket, Code.NOT_FOUND, words)
        return
    code = state.pairing.issue(event.node_id, state.now_ns)
    if code is None:
        words = f"{OPEN_MAX} pairing codes are open, as many as there may be; wait until some lapse"
        _refuse(state, event.ticket, Code.RATE_LIMITED, words, retry_after_ms=60_000)
        return
    half = CODE_LENGTH // 2
    shown = f"{code[:half]}-{code[half:]}"
    answer = PairingCode(code=shown, node_id=event.node_id, expires_in_s=CODE_LASTS_NS / 1e9)
    if state.federation is not None:
        state.federation.pairing.issue(state, event.ticket, code, answer)
    else:
        state.outbox.wish(Answer(event.ticket, answer))


def config_offered(state: ManagementState, event: ConfigOffered) -> None:
    """Tell what another configuration would change; unless it is a trial, begin to apply it."""
    is_alone = state.federation is None
    changes, needs_restart = hot_differences(state.config, event.config, is_alone=is_alone)
    told = ConfigDiff(
        source=event.source,
        changes=changes,
        needs_restart=needs_restart,
        config_version=state.config_version,
        snapshot_version=state.setup.memory.catalog.version,
    )
    if trouble := trouble_of(state, event.config):
        _refuse(state, event.ticket, Code.INVALID_MESSAGE, f"{event.source}: {trouble}")
    elif event.is_trial or needs_restart or not changes:
        state.outbox.wish(Answer(event.ticket, told))
    elif state.rebuild is not None:
        words = "another configuration is being applied; nothing was changed by this one"
        _refuse(state, event.ticket, Code.RATE_LIMITED, words, retry_after_ms=BUSY_RETRY_MS)
    else:
        state.rebuild = Rebuild(state, event, told)


def trouble_of(state: ManagementState, config: Config) -> str:
    """Return why a configuration cannot be published here and now, "" if it can."""
    federation = state.federation
    others = federation.neighbours.records() if federation is not None else ()
    return page_trouble(config, state.tenant_places, others)


def _refuse(
    state: ManagementState,
    ticket: int,
    code: Code,
    words: str,
    *,
    retry_after_ms: int | None = None,
) -> None:
    info = error_info(code, words, retry_after_ms=retry_after_ms)
    state.outbox.wish(Answer(ticket, Error(info)))
