"""A lane ticket proves one registration and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.state_files import TICKET_KEY_SIZE
from pointsman_wire.tickets import TICKET_BYTES, is_lane_ticket, lane_ticket

KEY = bytes(range(TICKET_KEY_SIZE))
OTHER_KEY = bytes(reversed(KEY))
REGISTRATION = ("studio", 5, 2, 7)
registrations = st.tuples(
    st.text(max_size=8), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)
)


def test_a_ticket_is_the_same_in_every_process() -> None:
    ticket = lane_ticket(KEY, REGISTRATION)
    assert len(ticket) == TICKET_BYTES
    assert ticket.hex() == "89f8f6e0dbf3d108a8bc12c7cab95c2a"
    assert is_lane_ticket(ticket, lane_ticket(KEY, REGISTRATION))


@given(registrations, registrations)
def test_another_registration_has_another_ticket(
    one: tuple[str, int, int, int], other: tuple[str, int, int, int]
) -> None:
    same = lane_ticket(KEY, one) == lane_ticket(KEY, other)
    assert same == (one == other)


def test_what_stands_in_one_field_cannot_pass_for_another() -> None:
    assert lane_ticket(KEY, ("a", 11, 1, 1)) != lane_ticket(KEY, ("a", 1, 11, 1))
    assert lane_ticket(KEY, ("a1", 1, 1, 1)) != lane_ticket(KEY, ("a", 11, 1, 1))
    assert lane_ticket(KEY, ("a\x001", 1, 1, 1)) != lane_ticket(KEY, ("a", 1, 1, 1))


def test_another_key_makes_another_ticket() -> None:
    assert not is_lane_ticket(lane_ticket(OTHER_KEY, REGISTRATION), lane_ticket(KEY, REGISTRATION))


def test_a_ticket_of_any_size_can_be_compared() -> None:
    expected = lane_ticket(KEY, REGISTRATION)
    for presented in (b"", expected[:-1], expected + b"\0", b"x" * 100_000):
        assert not is_lane_ticket(presented, expected)
