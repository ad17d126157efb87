"""Pairing codes of a fleet: issued at one instance, good at any, for one session.

    pair order ──► FleetPair ──► the code is told       session's code ──► FleetRedeem ──► its node

Where there is a shared store it alone decides whose a code is: of sessions that come with the same
one at several instances one has it, and its client may come with it again wherever it goes.  What
is known here already needs no store: the session of a code that this manager has given a node.
While the store is away codes are neither issued nor looked up; who asks is told to try again.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from pointsman_sched.core.events import Answer, TellWorker
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.joining.pairing import Claim, is_guess, read
from pointsman_shm.uplink import PairingAnswered
from pointsman_wire.coordination.fleet_requests import (
    FleetPair,
    FleetPaired,
    FleetRedeem,
    FleetRedeemed,
)
from pointsman_wire.coordination.requests import SessionKey
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, error_info
from pointsman_wire.order_messages import PairingCode
from pointsman_wire.sockets.bounds import whence

if TYPE_CHECKING:
    from pointsman_sched.core.state import ManagementState

PENDING_MAX = 1_024
RETRY_AFTER_MS = 1_000
NODE_ID_BYTES_MAX = 128


class _Asked(msgspec.Struct, frozen=True):
    """A session that waits for the store's word: at which worker, under which number."""

    worker_index: int
    number: int
    claim: Claim


class SharedPairing:
    """What was asked of the store, by number; the oldest is given up where there is too much."""

    def __init__(self) -> None:
        self._number = 0
        self._issuing: dict[int, tuple[int, PairingCode]] = {}  # with the ticket of the order
        self._asked: dict[int, _Asked] = {}

    def issue(self, state: "ManagementState", ticket: int, code: str, told: PairingCode) -> None:
        """Have a new code known to all; then it is told to whoever gave the order."""
        self._number += 1
        self._issuing[self._number] = ticket, told
        _bound(self._issuing)
        node = told.node_id.encode()
        wish = FleetPair(self._number, name=state.setup.instance, code=code, node=node)
        state.outbox.wish(wish)

    def issued(self, state: "ManagementState", answer: FleetPaired) -> None:
        """The store has the code, or has not."""
        ticket, told = self._issuing.pop(answer.number, (0, None))
        if told is None:
            return
        if answer.outcome == "done":
            state.outbox.wish(Answer(ticket, told))
            return
        words = f"the code cannot be made known to the other instances: {answer.error}"
        info = error_info(Code.SCHEDULER_DEPENDENCY_DOWN, words, retry_after_ms=RETRY_AFTER_MS)
        state.outbox.wish(Answer(ticket, Error(info)))

    def ask(self, state: "ManagementState", worker_index: int, number: int, claim: Claim) -> None:
        """A session came with a code: answer at once where that is possible, else ask the store."""
        found = state.pairing.known(claim, state.now_ns)
        if found is not None:
            state.outbox.wish(TellWorker(worker_index, pairing_answer(number, found)))
            return
        self._number += 1
        self._asked[self._number] = _Asked(worker_index, number, claim)
        _bound(self._asked)
        wish = FleetRedeem(
            self._number,
            code=read(claim.code),
            session=SessionKey(*claim.session),
            place=whence(claim.address),
            is_guess=is_guess(claim),
        )
        state.outbox.wish(wish)

    def redeemed(self, state: "ManagementState", answer: FleetRedeemed) -> None:
        """The store has said whose the code is."""
        asked = self._asked.pop(answer.number, None)
        if asked is None:
            return
        found: str | Refusal
        if answer.outcome == "paired" and (node_id := _node_id(answer.node)):
            state.pairing.note_used(asked.claim, node_id)
            found = node_id
        elif answer.outcome in ("down", "unknown"):
            words = "the instances' pairing codes cannot be looked up now: Redis does not answer"
            found = Refusal(Code.STALE, words, RETRY_AFTER_MS)
        else:
            found = state.pairing.wrong_try(asked.claim, state.now_ns)
        told = pairing_answer(asked.number, found)
        state.outbox.wish(TellWorker(asked.worker_index, told))


def pairing_answer(number: int, found: str | Refusal) -> PairingAnswered:
    """What a worker is told: the node of its session, or why there is none."""
    if isinstance(found, Refusal):
        return PairingAnswered(
            number=number,
            code=found.code.value,
            words=found.words,
            retry_after_ms=found.retry_after_ms,
        )
    return PairingAnswered(number=number, node_id=found)


def code_issued(state: "ManagementState", answer: FleetPaired) -> None:
    """The store answered about a code that was issued here."""
    assert state.federation is not None, "who asks nothing is not answered"
    state.federation.pairing.issued(state, answer)


def code_redeemed(state: "ManagementState", answer: FleetRedeemed) -> None:
    """The store answered about a code that a session came with."""
    assert state.federation is not None, "who asks nothing is not answered"
    state.federation.pairing.redeemed(state, answer)


def _node_id(blob: bytes) -> str:
    if len(blob) > NODE_ID_BYTES_MAX:
        return ""
    return blob.decode("utf-8", "replace")


def _bound(pending: dict[int, Any]) -> None:
    if len(pending) > PENDING_MAX:
        del pending[next(iter(pending))]
