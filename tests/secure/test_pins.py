"""Pins: read as they are spelt, found in real certificates, and never in what is none."""

import ssl
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_wire.secure.certificates import (
    Issued,
    Life,
    is_pair,
    make_authority,
    make_request,
    make_server,
    request_key,
    sign_request,
)
from pointsman_wire.secure.grants import Grant, read_bounds
from pointsman_wire.secure.pins import (
    PinError,
    key_digest_of,
    public_key_of,
    read_pin,
    spell_pin,
)

NOW_S = 1_800_000_000
AUTHORITY = make_authority("test", NOW_S)


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def test_a_pin_is_read_as_it_was_spelt() -> None:
    digest = sha256(b"key").digest()
    assert read_pin(spell_pin(digest)) == digest
    assert read_pin(f"sha256:{digest.hex()}") == digest


@pytest.mark.parametrize("text", ["", "sha256:", "sha1:" + "00" * 32, "00" * 32, "sha256:zz"])
def test_what_is_no_pin_is_refused_in_words(text: str) -> None:
    with pytest.raises(PinError, match="sha256:"):
        read_pin(text)


def test_the_key_of_a_certificate_is_found_without_a_library() -> None:
    _, request = make_request(None, "one")
    made = sign_request(AUTHORITY, request, Grant(name="one", pool="pool"), Life(NOW_S, 60))
    assert made is not None
    assert public_key_of(der(made)) == request_key(request)


def test_a_new_certificate_for_the_same_key_keeps_the_pin() -> None:
    first = make_server(AUTHORITY, ("localhost",), NOW_S)
    again = make_server(AUTHORITY, ("example.org", "10.0.0.1"), NOW_S + 60, first.key)
    assert key_digest_of(der(again.certificate)) == key_digest_of(der(first.certificate))
    other = make_server(AUTHORITY, ("localhost",), NOW_S)
    assert key_digest_of(der(other.certificate)) != key_digest_of(der(first.certificate))


@given(cut=st.integers(0, 200), flipped=st.integers(0, 60), noise=st.integers(0, 255))
def test_damaged_certificates_raise_nothing_else(cut: int, flipped: int, noise: int) -> None:
    damaged = bytearray(der(AUTHORITY.certificate))
    damaged[flipped] = noise
    for content in (bytes(damaged), bytes(damaged[:cut])):
        try:
            public_key_of(content)
        except PinError:
            continue


@pytest.mark.parametrize("request_der", [b"", b"no request", b"\x30\x82\xff\xff", bytes(5_000)])
def test_what_is_no_request_is_not_signed(request_der: bytes) -> None:
    assert sign_request(AUTHORITY, request_der, Grant(name="one"), Life(NOW_S, 60)) is None


def test_a_request_that_somebody_changed_is_not_signed() -> None:
    _, request = make_request(None, "one")
    changed = request[:-1] + bytes([request[-1] ^ 1])
    assert sign_request(AUTHORITY, changed, Grant(name="one"), Life(NOW_S, 60)) is None


def test_an_authority_that_was_put_together_of_two_is_found_out() -> None:
    assert is_pair(AUTHORITY)
    assert not is_pair(Issued(make_authority("another", NOW_S).key, AUTHORITY.certificate))


def test_e5_bounds_that_this_version_does_not_understand_are_not_taken_for_none() -> None:
    assert read_bounds("pointsman:bounds?tenant=acme") == ("acme", ())
    wrong = ("https://example.org/", "pointsman:bounds?hours=9-17", "pointsman:bounds?tenant")
    for uri in (*wrong, "pointsman:bounds?tenant=" + "x" * 600):
        with pytest.raises(ValueError, match=r"bound|bad query"):
            read_bounds(uri)
