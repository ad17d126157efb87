"""Enrolment in the manager's core: from the introduction to the end of the certificate."""

from hashlib import sha256
from typing import Any

from manager_harness import SECOND, START_NS, WALL_OFFSET_NS, Harness, registration

from pointsman_sched.core.events import Alarm, Answer, EnrolOrdered, RevokeOrdered
from pointsman_sched.core.joining.certified import key_of
from pointsman_sched.core.joining.introductions import TOKEN_LASTS_NS, Wish
from pointsman_sched.core.joining.revocations import take_revocations, told_revocations
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.control_messages import Enrol, Enrolled, Leave, Registered, Renew
from pointsman_wire.link import Connection
from pointsman_wire.messages import Error, Message
from pointsman_wire.order_messages import Introduction, Revoked
from pointsman_wire.preamble import Secured
from pointsman_wire.secure.grants import Grant

NOW_S = (START_NS + WALL_OFFSET_NS) // SECOND
LIFE_S = 1_000
NOBODY = Secured()


class Signs:
    """An authority whose requests are the names of keys, and whose certificates say it all."""

    pin = "sha256:pin"
    address = advertised = "10.0.0.9:7443"
    lasts_s = LIFE_S

    def __init__(self, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared

    def sign(self, request: bytes, grant: Grant, now_s: int) -> bytes | None:
        digest = self.key_digest(request)
        if digest is None:
            return None
        return f"{grant.name}/{grant.pool}/{now_s}/{digest.hex()}/{grant.bounds}".encode()

    def key_digest(self, request: bytes) -> bytes | None:
        return sha256(request).digest() if request.startswith(b"key") else None


def fleet() -> Harness:
    return Harness(authority=Signs())


def order(h: Harness, event: EnrolOrdered | RevokeOrdered) -> Message:
    """What the operator is told of an order."""
    (answer,) = (command for command in h.feed(event) if isinstance(command, Answer))
    assert answer.ticket == event.ticket
    return answer.message


def introduce(h: Harness, name: str = "alpha", pool: str = "east") -> str:
    answer = order(h, EnrolOrdered(1, Wish(name=name, pool=pool)))
    assert isinstance(answer, Introduction)
    assert (answer.pin, answer.address) == (Signs.pin, Signs.address)
    return answer.secret


def enrol(h: Harness, secret: str, request: bytes = b"key 1", **fields: Any) -> Connection:
    wish = {"name": "alpha", "pool": "east", **fields}
    connection = h.dial(secured=NOBODY)
    h.say(connection, Enrol(secret=secret, request=request, **wish))
    return connection


def certificate(name: str = "alpha", request: bytes = b"key 1", **fields: Any) -> Secured:
    given = {"pool": "east", "begins_at_s": NOW_S, "ends_at_s": NOW_S + LIFE_S, **fields}
    return Secured(name=name, key_digest=sha256(request).digest(), **given)


def join(h: Harness, secured: Secured | None, **fields: Any) -> Connection:
    connection = h.dial(secured=secured)
    h.say(connection, registration(**{"node_id": "", **fields}))
    return connection


def enrolled() -> Harness:
    h = fleet()
    enrol(h, introduce(h))
    assert [answer.name for answer in h.sent(Enrolled)] == ["alpha"]
    return h


def count(h: Harness, counter: Counter) -> int:
    return h.memory.stats.read().counters[counter.name.lower()]


def is_unauthorized(h: Harness) -> bool:
    return h.refusal()[0] == "UNAUTHORIZED"


# ---- E1: nobody joins over TLS without a certificate


def test_e1_who_shows_no_certificate_does_not_register_over_tls() -> None:
    h = fleet()
    join(h, NOBODY, node_id="alpha")
    assert is_unauthorized(h)
    assert "enrol" in h.refusal()[1]
    assert count(h, Counter.CERTIFICATES_REFUSED) == 1


def test_e1_a_certificate_of_our_authority_that_nobody_enrolled_is_worth_nothing() -> None:
    h = fleet()
    join(h, certificate())
    assert is_unauthorized(h)


def test_on_the_plaintext_port_nodes_join_as_before() -> None:
    h = fleet()
    join(h, None, node_id="plain")
    assert [answer.node_id for answer in h.sent(Registered)] == ["plain"]


def test_nobody_enrols_in_plaintext_nor_where_there_is_no_tls() -> None:
    h = fleet()
    secret = introduce(h)
    connection = h.dial(secured=None)
    h.say(connection, Enrol(secret=secret, name="alpha", pool="east", request=b"key 1"))
    assert is_unauthorized(h)
    without = Harness()
    assert isinstance(order(without, EnrolOrdered(1, Wish(name="alpha"))), Error)


# ---- E4, E5: the certificate is the identity


def test_e5_a_node_is_who_its_certificate_says_and_its_pool_is_a_label() -> None:
    h = enrolled()
    join(h, certificate(), labels={"pool": "west", "rack": "7"})
    (answer,) = h.sent(Registered)
    assert (answer.node_id, answer.key) == ("alpha", "")
    assert dict(h.node("alpha").capability.labels) == {"pool": "east", "rack": "7"}


def test_e5_who_was_introduced_to_no_pool_cannot_declare_itself_into_one() -> None:
    h = fleet()
    enrol(h, introduce(h, pool=""), pool="")
    join(h, certificate(pool=""), labels={"pool": "west", "rack": "7"})
    assert dict(h.node("alpha").capability.labels) == {"rack": "7"}


def test_e5_what_a_node_may_declare_is_bound_by_its_certificate_and_stays_so_when_renewed() -> None:
    h = fleet()
    wish = Wish(name="alpha", pool="east", tenant="acme", labels=(("rack", "7"),))
    answer = order(h, EnrolOrdered(1, wish))
    assert isinstance(answer, Introduction)
    enrol(h, answer.secret)
    (first,) = h.sent(Enrolled)
    assert first.certificate.endswith(b"pointsman:bounds?tenant=acme&label=rack%3D7")
    shown = certificate(tenant="acme", labels=(("rack", "7"),))
    greedy = {"rack": "8", "vault": "gold", "pool": "west"}
    connection = join(h, shown, tenant="rival", accept_public_jobs=True, labels=greedy)
    declared = h.node("alpha").capability
    assert (declared.tenant, declared.public) == ("acme", False)
    assert dict(declared.labels) == {"pool": "east", "rack": "7"}
    h.say(connection, Renew(request=b"key 1"))
    (renewed,) = h.sent(Enrolled)
    assert renewed.certificate.endswith(b"pointsman:bounds?tenant=acme&label=rack%3D7")


def test_bounds_that_fit_no_certificate_are_refused_to_the_operator() -> None:
    wish = Wish(name="alpha", labels=tuple((f"label-{n}", "x" * 60) for n in range(8)))
    assert isinstance(order(fleet(), EnrolOrdered(1, wish)), Error)


def test_e5_a_message_cannot_name_another_node_or_pool() -> None:
    h = enrolled()
    join(h, certificate(), node_id="beta")
    assert h.refusal()[0] == "NODE_ID_CONFLICT"
    join(h, certificate(), pool_hints=["west"])
    assert is_unauthorized(h)


def test_e5_who_only_says_the_key_of_a_certificate_does_not_have_it() -> None:
    h = enrolled()
    for key in (key_of(sha256(b"key 1").digest()), "", "k" * 64):
        join(h, None, node_id="alpha", key=key)
        assert h.refusal()[0] == "NODE_ID_CONFLICT"


def test_e5_another_key_needs_a_new_introduction_which_ends_the_old_one() -> None:
    h = enrolled()
    join(h, certificate())
    join(h, certificate(request=b"key 2"))
    assert is_unauthorized(h)
    enrol(h, introduce(h), request=b"key 2")
    assert h.state("alpha") is NodeState.OFFLINE
    join(h, certificate(request=b"key 1"))
    assert is_unauthorized(h)
    join(h, certificate(request=b"key 2"))
    assert h.sent(Registered)


def test_an_enrolled_node_outlives_the_manager_and_its_own_farewell() -> None:
    h = enrolled()
    connection = join(h, certificate())
    h.say(connection, Leave())
    h.start()
    h.settle()
    join(h, certificate())
    assert h.sent(Registered)
    join(h, None, node_id="alpha")
    assert h.refusal()[0] == "NODE_ID_CONFLICT"


def test_e4_a_certificate_is_renewed_for_its_key_and_for_no_other() -> None:
    h = enrolled()
    connection = join(h, certificate())
    h.now_ns += 2 * SECOND
    h.say(connection, Renew(request=b"key 2"))
    assert not h.sent(Enrolled)
    assert h.sent(Error)
    h.say(connection, Renew(request=b"key 1"))
    (answer,) = h.sent(Enrolled)
    assert answer.certificate.startswith(f"alpha/east/{NOW_S + 2}/".encode())
    assert count(h, Counter.CERTIFICATES_RENEWED) == 1


def test_e4_what_is_not_renewed_works_to_its_end_alarms_at_90_percent_and_then_is_over() -> None:
    h = enrolled()
    connection = join(h, certificate())
    alarms: list[Alarm] = []
    for second in range(1, LIFE_S + 1):
        h.now_ns = START_NS + second * SECOND
        commands = h.beat(connection)
        alarms += [command for command in commands if isinstance(command, Alarm)]
        assert bool(alarms) is (second >= 900), second
        if second < LIFE_S:
            assert not h.sent(Error), second
    assert is_unauthorized(h)
    assert len(alarms) == 1
    assert "alpha" in alarms[0].words
    assert count(h, Counter.CERTIFICATES_OVERDUE) == 1
    assert h.state("alpha") is NodeState.SUSPECT


def test_e4_a_resumed_connection_cannot_bring_a_certificate_that_is_over() -> None:
    h = enrolled()
    join(h, certificate(begins_at_s=NOW_S - 100, ends_at_s=NOW_S))
    assert is_unauthorized(h)
    join(h, certificate(begins_at_s=NOW_S + 1))
    assert is_unauthorized(h)


# ---- E6: revocation


def test_e6_a_revoked_node_is_ended_in_the_same_turn_and_never_comes_back() -> None:
    h = enrolled()
    connection = h.dial(secured=certificate())
    h.say(connection, registration(node_id=""))
    assert order(h, RevokeOrdered(7, "alpha")) == Revoked(node_id="alpha", was_here=True)
    assert is_unauthorized(h)
    assert h.state("alpha") is NodeState.OFFLINE
    for _ in range(2):
        join(h, certificate())
        assert is_unauthorized(h)
        h.start()
    assert count(h, Counter.CERTIFICATES_REFUSED) == 2


def test_e6_who_is_revoked_can_be_introduced_anew() -> None:
    h = enrolled()
    h.feed(RevokeOrdered(7, "alpha"))
    enrol(h, introduce(h), request=b"key 9")
    join(h, certificate(request=b"key 9"))
    assert h.sent(Registered)


def test_e6_who_was_introduced_anew_stays_when_an_older_revocation_is_told_again() -> None:
    """Another instance tells of it for long, as it cannot know who has heard."""
    h = enrolled()
    h.feed(RevokeOrdered(7, "alpha"))
    told = told_revocations(h.core.state)
    enrol(h, introduce(h), request=b"key 9")
    take_revocations(h.core.state, "b", told)
    join(h, certificate(request=b"key 9"))
    assert h.sent(Registered)
    take_revocations(h.core.state, "b", told)
    assert h.node("alpha").is_live
    assert h.core.state.identities.has_key("alpha", key_of(sha256(b"key 9").digest()))


def test_who_was_never_here_cannot_be_revoked() -> None:
    h = fleet()
    answer = order(h, RevokeOrdered(7, "nobody"))
    assert isinstance(answer, Error)
    assert answer.error.code == "NOT_FOUND"


# ---- E7: five ways to misuse an introduction


def refused(h: Harness, secret: str, request: bytes = b"key 1", **fields: Any) -> bool:
    before = count(h, Counter.ENROLMENTS_REFUSED)
    enrol(h, secret, request, **fields)
    is_counted = count(h, Counter.ENROLMENTS_REFUSED) == before + 1
    return is_unauthorized(h) and is_counted and not h.sent(Enrolled)


def test_e7_a_replayed_introduction_is_refused_and_counted() -> None:
    h = fleet()
    secret = introduce(h)
    enrol(h, secret)
    assert h.sent(Enrolled)
    assert refused(h, secret)


def test_e7_an_introduction_that_is_used_again_for_another_key_is_refused_and_counted() -> None:
    h = fleet()
    secret = introduce(h)
    enrol(h, secret)
    assert refused(h, secret, b"key 2")
    join(h, certificate(request=b"key 2"))
    assert is_unauthorized(h)


def test_e7_an_introduction_that_is_over_by_a_second_is_refused_and_counted() -> None:
    h = fleet()
    secret = introduce(h)
    h.advance(TOKEN_LASTS_NS + SECOND)
    assert refused(h, secret)


def test_e7_an_introduction_for_another_pool_is_refused_and_counted() -> None:
    h = fleet()
    assert refused(h, introduce(h), pool="west")


def test_e7_an_introduction_for_another_name_is_refused_and_counted() -> None:
    h = fleet()
    assert refused(h, introduce(h), name="beta")
