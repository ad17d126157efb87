"""Introductions alone, on a clock of our own: good once, for one name and pool, not for long."""

import secrets
from hmac import compare_digest
from pathlib import Path

import msgspec
import pytest

from pointsman.secure.elsewhere import sound
from pointsman_sched.core.joining import open_secrets
from pointsman_sched.core.joining.identities import Refusal
from pointsman_sched.core.joining.introductions import (
    TOKEN_LASTS_NS,
    Claim,
    Introductions,
    Wish,
)
from pointsman_sched.core.joining.open_secrets import OPEN_MAX
from pointsman_sched.core.joining.pairing import ALPHABET
from pointsman_sched.manager.authority import reachable, told_to_others
from pointsman_sched.options import parse_options
from pointsman_shm.config import Config
from pointsman_shm.tls.config import TlsConfig
from pointsman_wire.errors import Code

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
TOKEN = Wish(name="alpha", pool="east")
CODE = Wish(name="alpha", pool="east", is_code=True)


class Desk:
    """Introductions, and the clock."""

    def __init__(self) -> None:
        self.introductions = Introductions(secrets.token_bytes)
        self.now_ns = 0

    def issue(self, wish: Wish = TOKEN) -> str:
        secret = self.introductions.issue(wish, self.now_ns)
        assert secret is not None
        return secret

    def claim(
        self, secret: str, name: str = "alpha", pool: str = "east", address: str = "10.0.0.1"
    ) -> Wish | Refusal:
        claim = Claim(secret=secret, name=name, pool=pool, address=address)
        return self.introductions.redeem(claim, self.now_ns)


def is_refused(answer: Wish | Refusal, code: Code = Code.UNAUTHORIZED) -> bool:
    return isinstance(answer, Refusal) and answer.code is code


@pytest.mark.parametrize("wish", [TOKEN, CODE], ids=["token", "code"])
def test_e2_an_introduction_is_good_once(wish: Wish) -> None:
    desk = Desk()
    secret = desk.issue(wish)
    assert desk.claim(secret) == wish
    assert is_refused(desk.claim(secret))


def test_e2_a_token_has_128_bits_and_is_kept_only_as_a_digest() -> None:
    desk = Desk()
    secret = desk.issue()
    digits = secret.removeprefix("enrol-")
    assert len(bytes.fromhex(digits)) == 16
    kept = [value for known in desk.introductions._open for value in (known.digest, known.purpose)]
    assert not any(digits in repr(value) or bytes.fromhex(digits) == value for value in kept)


def test_e2_a_secret_is_compared_with_all_that_are_open_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How long it takes tells neither how much of it is right nor which one it is."""
    desk = Desk()
    known = [desk.issue() for _ in range(5)]
    compared = list[bytes]()

    def compare(kept: bytes, shown: bytes) -> bool:
        compared.append(kept)
        return compare_digest(kept, shown)

    monkeypatch.setattr(open_secrets, "compare_digest", compare)
    for secret in (known[0], known[-1], "enrol-" + "0" * 32):
        compared.clear()
        desk.claim(secret, "beta")
        assert len({*compared}) == 5


@pytest.mark.parametrize(
    ("wish", "lasts_ns"),
    [
        (TOKEN, 5 * MINUTE),
        (CODE, 10 * MINUTE),
        (Wish(name="alpha", pool="east", lasts_ns=MINUTE), MINUTE),
        (Wish(name="alpha", pool="east", lasts_ns=24 * 60 * MINUTE), 30 * MINUTE),
        (Wish(name="alpha", pool="east", is_code=True, lasts_ns=60 * MINUTE), 10 * MINUTE),
    ],
)
def test_e2_e7_an_introduction_is_over_to_the_nanosecond(wish: Wish, lasts_ns: int) -> None:
    desk = Desk()
    early, late = desk.issue(wish), desk.issue(wish)
    desk.now_ns = lasts_ns - 1
    assert desk.claim(early) == wish
    desk.now_ns = lasts_ns
    assert is_refused(desk.claim(late))


@pytest.mark.parametrize(("name", "pool"), [("beta", "east"), ("alpha", "west"), ("alpha", "")])
def test_e2_e7_another_name_or_pool_is_refused_in_the_same_words(name: str, pool: str) -> None:
    desk = Desk()
    secret = desk.issue()
    wrong = desk.claim(secret, name, pool)
    assert is_refused(wrong)
    assert wrong == desk.claim("enrol-" + "0" * 32)
    assert desk.claim(secret) == TOKEN


def test_e3_a_code_is_eight_letters_that_nobody_confuses_and_read_as_people_type() -> None:
    desk = Desk()
    code = desk.issue(CODE)
    assert len(code) == 8
    assert set(code) <= set(ALPHABET)
    assert desk.claim(f" {code[:4].lower()}-{code[4:]} ") == CODE


def test_e3_five_wrong_tries_burn_a_code_and_no_token() -> None:
    desk = Desk()
    code, token = desk.issue(CODE), desk.issue()
    other = desk.issue(CODE)
    for guess in range(5):
        assert is_refused(desk.claim(f"0000000{guess}"))
    assert is_refused(desk.claim(code))
    assert desk.claim(token) == TOKEN
    assert desk.claim(code, address="10.0.0.2") == CODE, "others guessed: not this address"
    for guess in range(20):
        assert is_refused(desk.claim(f"000000{guess:02}", address=f"10.0.1.{guess}"))
    assert is_refused(desk.claim(other, address="10.0.0.2"))


def test_e3_a_right_code_for_a_wrong_name_is_a_wrong_try() -> None:
    desk = Desk()
    code = desk.issue(CODE)
    for _ in range(5):
        assert is_refused(desk.claim(code, "beta"))
    assert is_refused(desk.claim(code))


def test_e3_tries_at_codes_are_few_a_minute_by_address_and_in_all() -> None:
    desk = Desk()
    for _ in range(10):
        assert is_refused(desk.claim("00000000"))
    code = desk.issue(CODE)
    assert is_refused(desk.claim(code), Code.RATE_LIMITED)
    assert desk.claim(code, address="10.0.0.2") == CODE
    for other in range(100 - 10):
        assert is_refused(desk.claim("00000000", address=f"10.0.1.{other}"))
    code = desk.issue(CODE)
    assert is_refused(desk.claim(code, address="10.0.2.1"), Code.RATE_LIMITED)
    token = desk.issue()
    assert desk.claim(token) == TOKEN  # nobody guesses at 128 bits
    desk.now_ns += MINUTE
    assert desk.claim(code, address="10.0.2.1") == CODE


def test_open_introductions_are_bounded_and_lapsed_ones_make_room() -> None:
    desk = Desk()
    for _ in range(OPEN_MAX):
        desk.issue()
    assert desk.introductions.issue(TOKEN, desk.now_ns) is None
    desk.now_ns = TOKEN_LASTS_NS
    assert desk.issue()


@pytest.mark.parametrize("everywhere", ["0.0.0.0:7443", "[::]:7443"])
def test_nodes_are_told_a_name_of_a_port_that_listens_at_all_addresses(everywhere: str) -> None:
    """What is printed beside an introduction is typed on another host."""
    named = TlsConfig(enabled=True, names=("server.example.org", "10.0.0.1"))
    assert reachable(everywhere, named) == "server.example.org:7443"
    host, _, port = reachable(everywhere, TlsConfig(enabled=True)).rpartition(":")
    assert host not in ("", "0.0.0.0", "[::]")
    assert port == "7443"
    assert reachable("10.0.0.1:7443", named) == "10.0.0.1:7443"


@pytest.mark.parametrize(
    ("listens", "advertise", "told"),
    [
        ("10.0.0.1:7400", None, "10.0.0.1:7400"),
        ("127.0.0.1:7400", None, ""),
        ("[::1]:7400", None, ""),
        ("localhost:7400", None, ""),
        ("127.0.0.1:7400", "127.0.0.1", "127.0.0.1:7400"),
        ("10.0.0.1:7400", "jobs.example.org", "jobs.example.org:7400"),
        ("10.0.0.1:7400", "jobs.example.org:80", "jobs.example.org:80"),
        ("10.0.0.1:7400", "[fd00::1]", "[fd00::1]:7400"),
        ("10.0.0.1:7400", "[fd00::1]:80", "[fd00::1]:80"),
    ],
)
def test_other_instances_send_nobody_to_a_loopback_address_that_was_not_named(
    listens: str, advertise: str | None, told: str
) -> None:
    """On their hosts it is somebody else's."""
    address = reachable(listens, TlsConfig(), advertise)
    assert told_to_others(address, advertise) == told


def test_a_port_at_an_address_of_ipv6_is_told_as_clients_and_nodes_take_it(tmp_path: Path) -> None:
    here = ["--state-dir", str(tmp_path / "state"), "--runtime-dir", str(tmp_path / "run")]
    words = ["--workers", "1", "--host", "fd00::7", "--port", "7400", *here]
    options = parse_options("pointsman_sched.manager", words)
    told = told_to_others(reachable(options.address, TlsConfig()), None)
    assert sound([told]) == ("[fd00::7]:7400",)


@pytest.mark.parametrize("words", ["", "a b", "http://a", "a/b", "u@a", "a:b", "[x]", "a:123456"])
def test_what_is_no_place_is_not_advertised(words: str) -> None:
    for section in ("server", "tls"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.toml.decode(f'[{section}]\nadvertise = "{words}"', type=Config)
