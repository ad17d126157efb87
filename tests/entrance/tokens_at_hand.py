"""Tokens for stories: a worker that wants them, and clients that come from anywhere."""

from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.tokens.judging import KnownToken, Scope, digest_of, make_token
from pointsman_shm.tokens.settings import AuthConfig
from pointsman_wire.link import Accepted, Connection
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import SessionInit

STRICT = AuthConfig(loopback="required")


def a_token(
    number: int, tenant: str, scopes: Scope = Scope.ALL, *, is_expired: bool = False
) -> tuple[str, KnownToken]:
    """Return the text of a token, and what a worker knows of it."""
    token_id = f"{number:08x}"
    text = make_token(token_id, lambda size: f"{number:043d}"[: size * 2])
    known = KnownToken(
        token_id=token_id,
        digest=digest_of(text),
        tenant=tenant,
        scopes=scopes,
        is_expired=is_expired,
    )
    return text, known


ACME, ACME_KNOWN = a_token(1, "acme")
RIVAL, RIVAL_KNOWN = a_token(2, "rival")
OLD, OLD_KNOWN = a_token(3, "acme", is_expired=True)
SENDER, SENDER_KNOWN = a_token(4, "acme", Scope.SUBMIT)
READER, READER_KNOWN = a_token(5, "acme", Scope.READ)
KNOWN = (ACME_KNOWN, RIVAL_KNOWN, OLD_KNOWN, SENDER_KNOWN, READER_KNOWN)


def strict_worker(
    *tokens: KnownToken, slots: int = 1, auth: AuthConfig = STRICT, **config: object
) -> WorkerHarness:
    """A settled worker with one node, which wants a token of everybody."""
    host = Host(Config(auth=auth, **config))  # type: ignore[arg-type]
    host.node(3, slots=slots)
    host.publish(SECOND_NS)
    worker = WorkerHarness(host, tokens=tokens or KNOWN)
    worker.feed()
    return worker


def strict_workers(*, auth: AuthConfig = STRICT, **config: object) -> list[WorkerHarness]:
    """Two settled workers of one host, which want a token of everybody."""
    host = Host(Config(auth=auth, **config), worker_count=2)  # type: ignore[arg-type]
    host.publish(SECOND_NS)
    workers = [WorkerHarness(host, worker_index=index, tokens=KNOWN) for index in range(2)]
    for worker in workers:
        worker.feed()
    return workers


def dialled(worker: WorkerHarness, address: str, role: Role = Role.SESSION) -> Connection:
    """Somebody dials in from an address."""
    connection = Connection(next(worker._connections))
    worker.feed(Accepted(connection, Preamble(role, None), peer=address))
    return connection


def refusal(worker: WorkerHarness, address: str = "10.0.0.1", **init: object) -> Error:
    """What a session_init from there is answered with."""
    connection = dialled(worker, address)
    worker.receive(connection, SessionInit(**init))  # type: ignore[arg-type]
    return worker.one(connection, Error)
