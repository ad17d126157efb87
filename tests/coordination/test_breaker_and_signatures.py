"""The breaker's states, who may have said what, and what a server is told by its own words."""

import re

import pytest

from pointsman_wire.coordination.breaker import Breaker, State
from pointsman_wire.coordination.keys import Keys, bucket_of, packed
from pointsman_wire.coordination.reach.greeting import Address, complaint, read_greeting
from pointsman_wire.coordination.requests import RequestKey
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES
from pointsman_wire.coordination.settings import NO_SECRET, RedisSettings, Secret, redis_settings
from pointsman_wire.coordination.signing import HEAD_BYTES, Signer
from pointsman_wire.coordination.terms import GAP_MS, MEMBERS_MAX

KEY = Secret("0123456789abcdef")
INFO = (
    b"# Server\r\nredis_version:7.0.15\r\nrun_id:aaaa\r\n# Replication\r\nrole:master\r\n"
    b"master_replid:bbbb\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n"
)
HERE = Address("127.0.0.1", 6379)


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_call_try() -> None:
    breaker = Breaker(failures_max=3, open_ns=100)
    for _ in range(2):
        breaker.failed(0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0)
    assert breaker.state(0) is State.CLOSED
    breaker.failed(10)
    assert (breaker.state(109), breaker.lets_through(109)) == (State.OPEN, False)
    assert (breaker.state(110), breaker.lets_through(110)) == (State.HALF_OPEN, True)
    assert breaker.lets_through(111) is False  # one is on its way
    breaker.failed(112)
    assert breaker.lets_through(211) is False
    assert breaker.lets_through(212) is True
    breaker.succeeded()
    assert (breaker.state(213), breaker.lets_through(213)) == (State.CLOSED, True)


def test_d2_only_what_was_signed_for_that_receiver_by_that_sender_is_believed() -> None:
    """D2: who can write Redis cannot put words into an instance's mouth."""
    signer = Signer(KEY)
    entry = signer.signed(b"frames", sender="a/0", receiver="b/1")
    assert signer.checked(entry, sender="a/0", receiver="b/1") == b"frames"
    assert signer.checked(entry, sender="a/0", receiver="b/2") is None
    assert signer.checked(entry, sender="c/0", receiver="b/1") is None
    assert Signer(Secret("another key, long")).checked(entry, sender="a/0", receiver="b/1") is None
    for at in range(len(entry)):
        changed = entry[:at] + bytes([entry[at] ^ 1]) + entry[at + 1 :]
        assert signer.checked(changed, sender="a/0", receiver="b/1") is None
    for length in range(HEAD_BYTES + 1):
        assert signer.checked(entry[:length], sender="a/0", receiver="b/1") is None
    assert signer.checked(entry, sender="a/0b", receiver="/1") is None, (
        "each part ends where it does"
    )
    assert signer.checked(entry[:HEAD_BYTES] + b"1frames", sender="a/0", receiver="b/") is None
    empty = signer.signed(b"", sender="a/0", receiver="b/1")
    assert signer.checked(empty, sender="a/0", receiver="b/1") == b""


def test_d2_a_key_that_could_be_guessed_is_refused_with_how_to_make_one() -> None:
    with pytest.raises(ValueError, match="has 15 bytes, fewer than 16; make one with `openssl"):
        Signer(Secret("x" * 15))


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    """A6: whatever logs the settings logs no secret."""
    section: dict[str, object] = {"url": "redis://x", "sentinels": [], "password_file": "/p"}
    made = redis_settings(
        section, password=Secret("hunter2"), sentinel_password=NO_SECRET, cluster_key=KEY
    )
    assert (made.url, made.password.reveal()) == ("redis://x", "hunter2")
    assert made == RedisSettings(url="redis://x", password=Secret("hunter2"), cluster_key=KEY)
    assert "hunter2" not in f"{made!r} {made} {made.password}"
    assert KEY.reveal() not in repr(made)


def test_a_server_of_the_right_kind_will_do() -> None:
    greeting = read_greeting(INFO)
    assert (greeting.role, greeting.version, greeting.policy) == (
        "master",
        (7, 0, 15),
        "noeviction",
    )
    assert complaint(greeting, HERE) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"7.0.15", b"6.0.16", "version 6.0.16; 6.2 or newer is needed"),
        (b"redis_version:7.0.15", b"", "version 0; 6.2 or newer"),
        (b"noeviction", b"allkeys-lru", "maxmemory-policy is allkeys-lru.*redis-cli -h 127.0.0.1"),
        (b"maxmemory_policy:noeviction", b"", "maxmemory-policy is not told"),
    ],
)
def test_a_server_of_the_wrong_kind_is_told_what_to_do(
    old: bytes, new: bytes, message: str
) -> None:
    found = complaint(read_greeting(INFO.replace(old, new)), HERE)
    assert found is not None
    assert re.search(message, found)


def test_a_promotion_and_a_restart_are_each_another_reign() -> None:
    """R5: the replication id changes when a replica is promoted, the run id at every start."""
    reigns = {
        read_greeting(INFO).reign,
        read_greeting(INFO.replace(b"aaaa", b"cccc")).reign,
        read_greeting(INFO.replace(b"bbbb", b"cccc")).reign,
    }
    assert len(reigns) == 3


@pytest.mark.parametrize(
    ("host", "port", "is_local"),
    [
        ("127.8.9.1", 1, True),
        ("::1", 1, True),
        ("localhost", 1, True),
        ("/run/redis.sock", 0, True),
        ("10.0.0.1", 1, False),
        ("redis.example.org", 1, False),
    ],
)
def test_what_is_on_this_host_is_known(host: str, port: int, is_local: bool) -> None:
    assert Address(host, port).is_local is is_local


def test_the_scripts_count_as_the_terms_say() -> None:
    bucket = SCRIPT_FILES["touch"].text.decode()
    assert f"local GAP_MS = {GAP_MS}\n" in bucket
    assert f"local MEMBERS_MAX = {MEMBERS_MAX}\n" in bucket


def test_d3_scripts_name_keys_only_by_keys() -> None:
    """D3: what a command of a script works on is one of KEYS, or a parameter that was."""
    works_on = re.compile(r"redis\.call\('[A-Z]+', (\w+)")
    for name, script in SCRIPT_FILES.items():
        named = set(works_on.findall(script.text.decode()))
        assert named <= {"KEYS", "name"}, name


@pytest.mark.parametrize("number", range(20))
def test_all_names_of_a_request_at_once_are_those_that_are_asked_for_singly(number: int) -> None:
    keys, key = Keys("fleet"), RequestKey("acme", "s-1", f"r-{number}")
    tag = f"fleet:{{b{bucket_of(key):02d}}}:"
    names = keys.request(key)
    assert (names.bucket, names.kept) == (f"{tag}bucket", f"{tag}kept")
    assert names.binding == keys.binding(key)
    assert names.binding.startswith(f"{tag}job:")
    assert names.packed == packed(key)
