"""The first 16 bytes of a connection: who shall own it, or what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_wire.limits import PROTOCOL_VERSION
from pointsman_wire.preamble import (
    MAGIC,
    PREAMBLE_BYTES,
    NotPointsman,
    Preamble,
    PreambleError,
    Role,
    WrongVersion,
    decode_preamble,
    encode_preamble,
)

# Never changed after a release: old clients send these.
ON_RECORD = {
    (Role.SESSION, None): "ab504d4e 01 01 0100 00000000 00000000",
    (Role.SESSION, 0xDEADBEEF): "ab504d4e 01 01 0000 efbeadde 00000000",
    (Role.TRUNK, 1): "ab504d4e 01 02 0000 01000000 00000000",
    (Role.CONTROL, None): "ab504d4e 01 03 0100 00000000 00000000",
    (Role.LANE, 0): "ab504d4e 01 04 0000 00000000 00000000",
}


@pytest.mark.parametrize(("role", "key"), ON_RECORD)
def test_the_bytes_of_a_preamble_are_those_on_record(role: Role, key: int | None) -> None:
    assert encode_preamble(role, key) == bytes.fromhex(ON_RECORD[role, key])


@given(st.sampled_from(Role), st.none() | st.integers(0, 2**32 - 1))
def test_a_preamble_says_what_it_was_made_from(role: Role, key: int | None) -> None:
    data = encode_preamble(role, key)
    assert len(data) == PREAMBLE_BYTES
    assert decode_preamble(data + b"and frames") == Preamble(role, key)


def test_key_zero_is_not_any_key() -> None:
    assert decode_preamble(encode_preamble(Role.LANE, 0)).key == 0


@pytest.mark.parametrize("size", range(PREAMBLE_BYTES))
def test_a_part_of_a_preamble_is_refused(size: int) -> None:
    with pytest.raises(PreambleError, match=f"{size} came"):
        decode_preamble(encode_preamble(Role.SESSION)[:size])


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        bytes(16),
    ],
)
def test_another_protocol_is_told_from_ours(start: bytes) -> None:
    with pytest.raises(NotPointsman, match="binary protocol"):
        decode_preamble(start)


def test_the_magic_is_no_text_and_no_start_of_tls() -> None:
    assert MAGIC[0] >= 0x80
    with pytest.raises(UnicodeDecodeError):
        MAGIC.decode()


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1, 255])
def test_another_version_is_refused_with_both_versions(version: int) -> None:
    data = bytearray(encode_preamble(Role.SESSION))
    data[4] = version
    with pytest.raises(WrongVersion, match=rf"version {version} .* version {PROTOCOL_VERSION} "):
        decode_preamble(bytes(data))


@pytest.mark.parametrize("role", [0, 5, 255])
def test_an_unknown_role_is_refused(role: int) -> None:
    data = bytearray(encode_preamble(Role.SESSION))
    data[5] = role
    with pytest.raises(PreambleError, match=f"role {role} is unknown"):
        decode_preamble(bytes(data))


def test_flags_and_reserved_bytes_nobody_knows_yet_are_ignored() -> None:
    data = bytearray(encode_preamble(Role.TRUNK, 3))
    data[6:8] = b"\xfe\xff"
    data[12:16] = b"\xff" * 4
    assert decode_preamble(bytes(data)) == Preamble(Role.TRUNK, 3)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_preamble_or_a_preamble_error(data: bytes) -> None:
    try:
        decoded = decode_preamble(data)
    except PreambleError as error:
        reason = str(error)
    else:
        reason = decoded.role.name
    assert reason
