"""Pairing codes: issued for a node, good for one session, hard to guess, soon gone (E3)."""

import pytest
from manager_harness import SECOND, Harness, registration

from pointsman_sched.core.events import Answer, PairOrdered, TellWorker, WorkerSaid
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.joining.open_secrets import OPEN_MAX
from pointsman_sched.core.joining.pairing import (
    ALPHABET,
    USED_MAX,
    Claim,
    PairingCodes,
    read,
    spell,
)
from pointsman_shm.uplink import PairingAnswered, PairingAsked
from pointsman_wire.control_messages import Leave, Registered
from pointsman_wire.errors import Code
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import PairingCode

MINUTE = 60 * SECOND


class Desk:
    """The codes alone, with entropy that counts."""

    def __init__(self) -> None:
        self.drawn = 0
        self.codes = PairingCodes(self.entropy)
        self.now_ns = 0

    def entropy(self, size: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")

    def issue(self, node_id: str = "n1") -> str:
        code = self.codes.issue(node_id, self.now_ns)
        assert code is not None
        return code

    def redeem(self, code: str, session: str = "s", address: str = "10.0.0.1") -> str | Refusal:
        return self.codes.redeem(Claim(code, "", session, address), self.now_ns)

    def refusal(self, code: str, session: str = "s", address: str = "10.0.0.1") -> Code:
        found = self.redeem(code, session, address)
        assert isinstance(found, Refusal), found
        return found.code


WRONG = "ZZZZZZZZ"


def test_forty_bits_are_eight_characters_that_cannot_be_confused() -> None:
    assert spell(bytes(5)) == "00000000"
    assert spell(b"\xff" * 5) == WRONG
    assert spell(bytes([0b00000_000, 0b01_00010_0, 0b0011_0010, 0b0_00101_00, 0b110_00111])) == (
        "01234567"
    )
    assert len(ALPHABET) == 32
    assert not set("ILOU") & set(ALPHABET)


@pytest.mark.parametrize("typed", ["7k3m-9qx2", " 7K3M 9QX2", "7K3M9QX2", "7k-3m-9q-x2"])
def test_a_code_is_read_however_a_person_types_it(typed: str) -> None:
    assert read(typed) == "7K3M9QX2"
    assert read("ilo1") == "1101"


def test_a_code_names_its_node_for_one_session_which_may_come_again() -> None:
    desk = Desk()
    code = desk.issue("pc-17")
    assert desk.redeem(code, "s-1") == "pc-17"
    assert desk.refusal(code, "s-2") == Code.INVALID_PAIRING_CODE
    assert desk.redeem(code.lower(), "s-1") == "pc-17"
    desk.now_ns += 11 * MINUTE
    assert desk.redeem(code, "s-1") == "pc-17"
    assert desk.codes.open_count == 0


def test_a_code_lasts_ten_minutes() -> None:
    desk = Desk()
    code = desk.issue()
    desk.now_ns = 10 * MINUTE - 1
    assert desk.redeem(code) == "n1"
    late = desk.issue()
    desk.now_ns += 10 * MINUTE
    assert desk.refusal(late, "other") == Code.INVALID_PAIRING_CODE


def test_e3_the_fifth_wrong_try_burns_every_open_code_for_who_guesses_and_for_nobody_else() -> None:
    desk = Desk()
    early = desk.issue("n1")
    for _ in range(3):
        assert desk.refusal(WRONG) == Code.INVALID_PAIRING_CODE
    late = desk.issue("n2")
    desk.refusal(WRONG)
    desk.refusal(WRONG)
    assert desk.refusal(early) == Code.INVALID_PAIRING_CODE
    assert desk.redeem(late) == "n2"
    assert desk.redeem(early, address="10.0.0.2") == "n1"


def test_e3_a_machine_with_a_network_of_addresses_guesses_as_one() -> None:
    desk = Desk()
    code = desk.issue()
    for number in range(5):
        desk.refusal(WRONG, address=f"2001:db8:1:2::{number:x}")
    assert desk.refusal(code, address="2001:db8:1:2:ffff::1") == Code.INVALID_PAIRING_CODE
    assert desk.redeem(code, address="2001:db8:1:3::1") == "n1"


def test_e3_twenty_five_wrong_tries_burn_a_code_for_everybody() -> None:
    desk = Desk()
    code = desk.issue()
    for number in range(25):
        desk.refusal(WRONG, address=f"10.0.1.{number}")
    assert desk.refusal(code) == Code.INVALID_PAIRING_CODE
    assert desk.codes.open_count == 0


def test_four_wrong_tries_burn_nothing_and_a_slip_of_the_finger_is_none() -> None:
    desk = Desk()
    code = desk.issue()
    for typed in (WRONG, WRONG, WRONG, WRONG, "7K3M", "", "7K3M9QX22"):
        assert desk.refusal(typed) == Code.INVALID_PAIRING_CODE
    assert desk.redeem(code) == "n1"


def test_ten_wrong_tries_a_minute_are_all_that_an_address_has() -> None:
    desk = Desk()
    for _ in range(10):
        assert desk.refusal(WRONG) == Code.INVALID_PAIRING_CODE
    code = desk.issue()
    found = desk.redeem(code)
    assert isinstance(found, Refusal)
    assert (found.code, found.retry_after_ms) == (Code.RATE_LIMITED, 60_001)
    assert desk.redeem(code, address="10.0.0.2") == "n1"
    again = desk.issue()
    desk.now_ns += MINUTE
    assert desk.redeem(again) == "n1"


def test_a_hundred_wrong_tries_a_minute_are_all_that_there_are() -> None:
    desk = Desk()
    for number in range(100):
        assert desk.refusal(WRONG, address=f"10.0.1.{number}") == Code.INVALID_PAIRING_CODE
    code = desk.issue()
    assert desk.refusal(code, address="10.0.2.1") == Code.RATE_LIMITED
    desk.now_ns += MINUTE
    assert desk.redeem(code, address="10.0.2.1") == "n1"


def test_tables_are_bounded() -> None:
    desk = Desk()
    codes = [desk.issue() for _ in range(OPEN_MAX)]
    assert desk.codes.issue("n1", desk.now_ns) is None
    assert desk.redeem(codes[0]) == "n1"
    assert desk.codes.issue("n1", desk.now_ns) is not None
    desk = Desk()
    first = desk.issue()
    assert desk.redeem(first, "s-first") == "n1"
    for number in range(USED_MAX):
        assert desk.redeem(desk.issue(), f"s-{number}") == "n1"
    assert desk.refusal(first, "s-first") == Code.INVALID_PAIRING_CODE


def test_only_hashes_are_kept() -> None:
    desk = Desk()
    code = desk.issue()
    kept = [getattr(entry, name) for entry in desk.codes._open for name in type(entry).__slots__]
    assert code not in kept
    assert {len(value) for value in kept if isinstance(value, bytes)} == {32}


# ---- through the manager


def ordered(h: Harness, node_id: str) -> PairingCode | Error:
    (answer,) = [c for c in h.feed(PairOrdered(7, node_id)) if isinstance(c, Answer)]
    assert answer.ticket == 7
    assert isinstance(answer.message, PairingCode | Error)
    return answer.message


def asked(h: Harness, code: str, number: int = 1) -> PairingAnswered:
    question = PairingAsked(number=number, code=code, tenant="", session_id="s-1", address="a")
    (told,) = [c for c in h.feed(WorkerSaid(1, question)) if isinstance(c, TellWorker)]
    assert told.worker_index == 1
    assert isinstance(told.message, PairingAnswered)
    assert told.message.number == number
    return told.message


def test_an_operator_gets_a_code_and_a_worker_the_node_that_it_stands_for() -> None:
    h = Harness()
    h.make_ready(registration("pc-17"))
    issued = ordered(h, "pc-17")
    assert isinstance(issued, PairingCode)
    assert (len(issued.code), issued.code[4], issued.expires_in_s) == (9, "-", 600.0)
    assert asked(h, issued.code).node_id == "pc-17"
    wrong = asked(h, WRONG, 2)
    assert (wrong.node_id, wrong.code) == ("", "INVALID_PAIRING_CODE")


def test_no_code_is_issued_for_a_node_that_nobody_knows() -> None:
    h = Harness()
    refused = ordered(h, "nobody")
    assert isinstance(refused, Error)
    assert refused.error.code == Code.NOT_FOUND


# ---- a node that leaves


def test_a_node_that_leaves_gives_its_id_free_and_one_that_is_lost_does_not() -> None:
    """I12: one key at a time owns an id."""
    h = Harness()
    lost = h.make_ready(registration("lost"))
    h.lose(lost)
    h.join(registration("lost", key="k" * 64))
    assert h.refusal()[0] == Code.NODE_ID_CONFLICT

    h.say(h.make_ready(registration("gone")), Leave(reason="moving house"))
    h.join(registration("gone", key="k" * 64))
    (answer,) = h.sent(Registered)
    assert (answer.node_id, answer.epoch, answer.key) == ("gone", 2, "")
    h.join(registration("gone", key="x" * 64))
    assert h.refusal()[0] == Code.NODE_ID_CONFLICT


def test_an_id_stays_free_over_a_restart_of_the_manager_and_its_epoch_goes_on() -> None:
    h = Harness()
    h.say(h.make_ready(registration("gone")), Leave())
    h.settle()
    h.start()
    h.keys.clear()
    h.join(registration("gone"))
    (answer,) = h.sent(Registered)
    assert answer.epoch == 2
    assert answer.key
