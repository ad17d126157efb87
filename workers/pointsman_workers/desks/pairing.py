"""Pairing: a session that comes with a code waits until the manager has said which node it is for.

    session_init ──► ask the manager ──► its answer ──► the session is opened, bound to the node
                          │                        └──► or refused
                          └── silence for 2 s: refused for now, the client may try again

The question may be lost with the manager; nothing is kept of it then.  One whose client has left
meanwhile is dropped.
"""

from collections.abc import Callable
from hmac import compare_digest

from pointsman_shm.uplink import PairingAnswered, PairingAsked
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error, ErrorInfo, error_info
from pointsman_wire.session_messages import SessionInit
from pointsman_workers.core.events import TellManager
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Pairing, Peer

ANSWER_NS = 2 * SECOND_NS
WAITING_MAX = 256
CODE_LENGTH_MAX = 64
RETRY_AFTER_MS = 1_000

Admit = Callable[[Peer, SessionInit, str], None]


class PairingDesk:
    """The sessions that wait for the manager's word; `admit` opens one, bound to a node."""

    def __init__(self, shard: Shard, admit: Admit) -> None:
        self.shard = shard
        self._admit = admit
        self._waiting: dict[int, Pairing] = {}

    def ask(self, peer: Peer, message: SessionInit) -> None:
        """Ask for the node of a session whose id is settled."""
        shard = self.shard
        if len(self._waiting) >= WAITING_MAX:
            text = f"{WAITING_MAX} sessions wait for their pairing codes to be checked"
            info = error_info(Code.RATE_LIMITED, text, retry_after_ms=RETRY_AFTER_MS)
            self._refuse(peer, message, info)
            return
        # Random: an answer meant for this worker's predecessor must not fit.
        number = int.from_bytes(shard.setup.entropy(6), "little")
        wait = Pairing(peer=peer, message=message, number=number)
        self._waiting[number] = wait
        shard.file(wait, shard.now_ns + ANSWER_NS)
        asked = PairingAsked(
            number=number,
            code=message.pairing_code[:CODE_LENGTH_MAX],
            tenant=message.tenant,
            session_id=message.session_id,
            address=peer.address,
        )
        shard.outbox.commands.append(TellManager(asked))

    def answered(self, answer: PairingAnswered) -> None:
        """The manager has looked the code up."""
        wait = self._waiting.pop(answer.number, None)
        if wait is None or not self._is_here(wait):
            return
        if answer.node_id:
            self._admit(wait.peer, wait.message, answer.node_id)
            return
        info = error_info(Code(answer.code), answer.words, retry_after_ms=answer.retry_after_ms)
        self._refuse(wait.peer, wait.message, info)

    def timed(self, wait: Pairing) -> None:
        """The manager has said nothing for too long."""
        if self._waiting.pop(wait.number, None) is None or not self._is_here(wait):
            return
        text = "the manager does not answer: the pairing code cannot be checked now"
        info = error_info(Code.STALE, text, retry_after_ms=RETRY_AFTER_MS)
        self._refuse(wait.peer, wait.message, info)

    def _is_here(self, wait: Pairing) -> bool:
        return self.shard.peers.get(wait.peer.connection) is wait.peer

    def _refuse(self, peer: Peer, message: SessionInit, info: ErrorInfo) -> None:
        self.shard.outbox.send(peer.connection, Error(info, ref=message.ref))


def is_paired_with(code: str, paired_code: str) -> bool:
    """Is this the code by which the session was paired, sent once more as it was?"""
    return bool(code) and compare_digest(code.encode(), paired_code.encode())
