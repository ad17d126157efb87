"""Lanes and certificates: a ticket is worth nothing to who cannot prove what its node proved."""

import pytest
from manager_harness import Harness, registration
from worker_harness import TICKET_KEY, one_node

from pointsman_shm.config import Config
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.tokens.settings import AuthConfig
from pointsman_wire.control_messages import Registered
from pointsman_wire.lane_messages import LaneAccepted, LaneOpen
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role, Secured
from pointsman_wire.tickets import lane_ticket

PLACE = ("node-3", 3, 1, 1)
OURS = Secured(name="node-3", key_digest=b"a" * 32)
ANOTHERS = Secured(name="node-4", key_digest=b"b" * 32)
NO_CERTIFICATE = Secured()


def opened(shown: Secured | None, proof: bytes, loopback: str = "open") -> str:
    """Return why a lane is refused whose ticket is bound to `proof`, "" when it stands."""
    _, h = one_node(auth=AuthConfig(loopback=loopback))  # type: ignore[arg-type]
    connection = h.dial(Role.LANE, shown)
    ticket = lane_ticket(TICKET_KEY, PLACE, proof)
    h.receive(connection, LaneOpen(node_id="node-3", row=3, generation=1, epoch=1, ticket=ticket))
    if h.take(connection, LaneAccepted):
        return ""
    assert h.closed == [connection]
    error = h.one(connection, Error).error
    assert error.code == "UNAUTHORIZED"
    return error.message


def test_e5_a_ticket_opens_a_lane_for_the_key_that_registered() -> None:
    assert opened(OURS, OURS.key_digest) == ""
    assert opened(None, b"") == ""


@pytest.mark.parametrize("thief", [None, ANOTHERS], ids=["plaintext", "another node"])
def test_e5_a_stolen_ticket_of_a_certified_node_opens_nothing(thief: Secured | None) -> None:
    assert "not of this registration" in opened(thief, OURS.key_digest)


@pytest.mark.parametrize("proof", [b"", OURS.key_digest])
def test_e5_over_tls_no_lane_is_opened_without_a_certificate(proof: bytes) -> None:
    assert "certificate" in opened(NO_CERTIFICATE, proof)


def test_e5_a_certified_node_cannot_take_the_lane_of_one_that_came_in_plaintext() -> None:
    assert "not of this registration" in opened(ANOTHERS, b"")


def test_x1_where_this_machine_must_prove_itself_no_lane_is_opened_in_plaintext() -> None:
    assert "certificate" in opened(None, b"", "required")
    assert opened(OURS, OURS.key_digest, "required") == ""


def test_x1_where_this_machine_must_prove_itself_no_node_registers_in_plaintext() -> None:
    h = Harness(config=Config(auth=AuthConfig(loopback="required")))
    h.join(registration("local"))
    code, words = h.refusal()[:2]
    assert code == "UNAUTHORIZED"
    assert "enrol" in words
    assert not h.sent(Registered)
    assert h.memory.stats.read().counters[Counter.CERTIFICATES_REFUSED.name.lower()] == 1
