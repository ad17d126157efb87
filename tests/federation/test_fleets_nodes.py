"""Nodes of a fleet with one authority: enrolled at one instance, taken by all, revoked at all."""

from hashlib import sha256

from federation.many_instances import Core, Instances, shown
from manager_harness import SECOND, Harness, registration

from pointsman_sched.core.events import RevokeOrdered
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.control_messages import Heartbeat, LanesReady, Registered
from pointsman_wire.link import Connection
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Secured


class Everybodys:
    """An authority that several instances have."""

    pin, lasts_s, is_shared = "sha256:pin", 86_400, True
    address = advertised = "10.0.0.9:7443"

    def sign(self, request: bytes, grant: object, now_s: int) -> bytes | None:
        return request

    def key_digest(self, request: bytes) -> bytes | None:
        return sha256(request).digest()


def certificate(h: Harness, key: bytes) -> Secured:
    now_s = h.core.state.wall_s
    digest = sha256(key).digest()
    return Secured("alpha", "", digest, begins_at_s=now_s - 10, ends_at_s=now_s + 80_000)


def come(h: Harness, key: bytes = b"key 1") -> Connection:
    connection = h.dial(secured=certificate(h, key))
    h.say(connection, registration(node_id=""))
    return connection


def is_refused(h: Harness) -> bool:
    return [answer.error.code for answer in h.sent(Error)][-1:] == ["UNAUTHORIZED"]


def test_e5_a_node_that_another_instance_enrolled_is_taken_and_its_name_is_its_own() -> None:
    h = Harness(authority=Everybodys())
    come(h)
    assert [answer.node_id for answer in h.sent(Registered)] == ["alpha"]
    come(h, b"key 2")
    assert is_refused(h)
    h.join(registration("alpha"))
    assert h.refusal()[0] == "NODE_ID_CONFLICT", "nor in plaintext"


def test_e1_without_an_authority_of_the_fleet_it_is_a_stranger() -> None:
    own = Everybodys()
    own.is_shared = False
    h = Harness(authority=own)
    come(h)
    assert is_refused(h)
    assert not h.sent(Registered)


def fleet() -> Instances:
    return Instances("a", "b", authority=Everybodys())


def serving(core: Core) -> Connection:
    connection = come(core)
    core.say(connection, LanesReady(), Heartbeat())
    return connection


def test_e6_who_is_revoked_at_one_instance_is_ended_at_the_other_and_stays_out() -> None:
    instances = fleet()
    a, b = instances["a"], instances["b"]
    connection = serving(b)
    instances.advance(2 * SECOND)
    b.say(connection, Heartbeat())
    instances.advance(1 * SECOND)
    assert shown(b, "alpha") is NodeState.READY
    a.feed(RevokeOrdered(1, "alpha"))
    instances.advance(4 * SECOND)
    assert shown(b, "alpha") is NodeState.OFFLINE
    come(b)
    assert is_refused(b)
    b.start()
    come(b)
    assert is_refused(b), "it is on its disk"


def test_e6_an_instance_that_comes_later_hears_of_it_and_a_newer_word_holds() -> None:
    instances = fleet()
    a = instances["a"]
    serving(a)
    a.feed(RevokeOrdered(1, "alpha"))
    instances.join("c")
    c = instances["c"]
    instances.advance(4 * SECOND)
    come(c)
    assert is_refused(c)
    epoch = c.core.state.identities.epoch_of("alpha")
    instances.advance(4 * SECOND)
    assert c.core.state.identities.epoch_of("alpha") == epoch, "taken once"


def test_e6_a_node_that_registers_again_and_again_elsewhere_does_not_outrun_its_revocation() -> (
    None
):
    """Nor does one do so by accident, while its instance has no Redis."""
    instances = fleet()
    a, b = instances["a"], instances["b"]
    serving(b)
    instances.advance(3 * SECOND)
    instances.frozen.add("b")
    for _ in range(40):
        for core in (a, b):
            core.now_ns += 600 * SECOND  # who comes and goes more often is kept away
        serving(b)
    heard, real = (core.core.state.identities.epoch_of("alpha") for core in (a, b))
    assert real > heard + 20, "it has registered more often than anybody was told"
    a.feed(RevokeOrdered(1, "alpha"))
    instances.frozen.clear()
    instances.advance(4 * SECOND)
    for core in (a, b):
        assert shown(core, "alpha") is NodeState.OFFLINE
        come(core)
        assert is_refused(core)
