"""What bounds handshakes, and the rule of who must prove himself, on a clock of our own."""

import pytest

from pointsman_shm.tls.exposure import exposure_fault, needs_certificate, needs_token
from pointsman_workers.shell.secure.allowance import HandshakeAllowance


def test_x2_no_second_begins_more_handshakes_than_allowed() -> None:
    allowance = HandshakeAllowance(per_s_max=200, under_way_max=10_000, now_s=0.0)
    begun = []
    for step in range(5_000):  # a flood: an attempt every millisecond
        now_s = step / 1_000
        if allowance.take(now_s):
            begun.append(now_s)
            allowance.give_back()
    assert 200 + 4.9 * 200 <= len(begun) <= 200 + 5 * 200
    late = [at_s for at_s in begun if at_s >= 1.5]
    assert all(
        sum(at_s <= other < at_s + 1 for other in late) <= 201 for at_s in late[:: len(late) // 20]
    )


def test_x2_handshakes_that_never_end_are_bounded_and_free_their_place_when_they_do() -> None:
    allowance = HandshakeAllowance(per_s_max=100, under_way_max=3, now_s=0.0)
    assert [allowance.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    allowance.give_back()
    assert [allowance.take(0.0), allowance.take(0.0)] == [True, False]


def test_looking_for_somebody_who_is_not_there_costs_nothing() -> None:
    allowance = HandshakeAllowance(per_s_max=1, under_way_max=1, now_s=0.0)
    for _ in range(3):
        assert allowance.take(0.0)
        allowance.was_not_needed()
    assert [allowance.take(0.0), allowance.take(0.0)] == [True, False]


def test_a_clock_that_stands_still_or_goes_back_earns_nothing() -> None:
    allowance = HandshakeAllowance(per_s_max=1, under_way_max=9, now_s=10.0)
    assert allowance.take(10.0)
    assert not allowance.take(10.0)
    assert not allowance.take(3.0)


def test_x1_only_plaintext_of_this_machine_is_open() -> None:
    assert not needs_token(is_tls=False, loopback="open")
    assert needs_token(is_tls=False, loopback="required")
    assert needs_token(is_tls=True, loopback="open")
    assert needs_certificate(is_tls=True, loopback="open")
    assert needs_certificate(is_tls=False, loopback="required")
    assert not needs_certificate(is_tls=False, loopback="open")


@pytest.mark.parametrize(
    ("is_loopback", "is_wished", "is_refused"),
    [(True, False, False), (True, True, False), (False, True, False), (False, False, True)],
)
def test_x1_plaintext_beyond_this_machine_must_be_wished(
    is_loopback: bool, is_wished: bool, is_refused: bool
) -> None:
    fault = exposure_fault(host="10.0.0.1", is_loopback=is_loopback, is_insecure_wished=is_wished)
    assert bool(fault) is is_refused
    assert not is_refused or ("tls.enabled" in fault and "--insecure-plaintext" in fault)
