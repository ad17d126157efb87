"""N13: whatever bytes come, the decoders answer with a frame, a message, or their own errors."""

import sys
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire_samples import UNIONS, samples, union_of

from pointsman_wire.framing import (
    NAME_LENGTH_MAX,
    REASON_LENGTH_MAX,
    FrameDecoder,
    FrameError,
    HeaderDecoder,
    MessageError,
    encode_frame,
)
from pointsman_wire.messages import META_DEPTH_MAX, META_VALUES_MAX, Message, meta_fault
from pointsman_wire.session_messages import Submit, ToWorker

DECODERS: list[HeaderDecoder[Message]] = [HeaderDecoder(union) for union in UNIONS.values()]
FROM_CLIENT: HeaderDecoder[Message] = HeaderDecoder(ToWorker)
SAMPLES = list(samples().values())
SUBMIT_WITH = b"\x82\xa4type\xa6submit"


def header(**fields: Any) -> bytes:
    return msgspec.msgpack.encode(fields)


def decode_or_reason(decoder: HeaderDecoder[Message], data: bytes) -> Message | str:
    try:
        return decoder.decode(data)
    except MessageError as error:
        return error.reason


def refusal(data: bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        FROM_CLIENT.decode(data)
    return caught.value


@given(st.lists(st.binary(max_size=200), max_size=8))
@example([b"GET / HTTP/1.1\r\n\r\n"])
@example([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_random_bytes_are_frames_or_a_frame_error(pieces: list[bytes]) -> None:
    decoder = FrameDecoder(16 * 1024)
    taken = 0
    try:
        for piece in pieces:
            taken += sum(8 + len(head) + len(body) for head, body in decoder.feed(piece))
    except FrameError:
        return
    assert taken <= sum(map(len, pieces))


@given(st.binary(max_size=200))
def test_random_headers_are_messages_or_a_message_error(data: bytes) -> None:
    for decoder in DECODERS:
        outcome = decode_or_reason(decoder, data)
        assert isinstance(outcome, Message) or 0 < len(outcome) <= REASON_LENGTH_MAX


@given(st.sampled_from(SAMPLES), st.integers(0), st.binary(min_size=1, max_size=4))
def test_a_header_with_a_few_wrong_bytes_is_a_message_or_a_message_error(
    message: Message, at: int, wrong: bytes
) -> None:
    good = msgspec.msgpack.encode(message)
    at %= len(good)
    bad = good[:at] + wrong + good[at + len(wrong) :]
    decoder: HeaderDecoder[Message] = HeaderDecoder(union_of(message))
    assert decode_or_reason(decoder, bad)


@pytest.mark.parametrize("name", sorted(samples()))
def test_a_header_cut_short_is_a_message_error(name: str) -> None:
    message = samples()[name]
    good = msgspec.msgpack.encode(message)
    decoder: HeaderDecoder[Message] = HeaderDecoder(union_of(message))
    for end in range(len(good)):
        with pytest.raises(MessageError):
            decoder.decode(good[:end])


NO_MESSAGES = {
    "nothing": b"",
    "not msgpack": b"\xc1",
    "a list": b"\x91\x01",
    "a map without a type": header(request_id="r"),
    "a type that is a number": header(type=5),
    "a type that is not text": b"\x81\xa4type\xa2\xff\xfe",
    "a hundred thousand levels": b"\x91" * 10**5 + b"\x00",
    "a hundred thousand levels in a field nobody knows": SUBMIT_WITH
    + b"\xa1x"
    + b"\x91" * 10**5
    + b"\x00",
    "a million levels in meta": SUBMIT_WITH + b"\xa4meta\x81\xa1x" + b"\x91" * 10**6 + b"\x00",
    "four billion list items": SUBMIT_WITH + b"\xa4meta\x81\xa1x\xdd\xff\xff\xff\xff",
    "four billion map items": SUBMIT_WITH + b"\xa4meta\xdf\xff\xff\xff\xff",
    "text of four gigabytes": SUBMIT_WITH + b"\xaarequest_id\xdb\xff\xff\xff\xff",
    "text that is not UTF-8": SUBMIT_WITH + b"\xaarequest_id\xa2\xff\xfe",
    "a key that is not UTF-8": SUBMIT_WITH + b"\xa4meta\x81\xa2\xff\xfe\x01",
    "two types": b"\x82\xa4type\xa6submit\xa4type\xa6cancel",
    "bytes after the map": header(type="submit") + b"x",
    "not a number": header(type="submit", timeout_s=float("nan")),
    "an endless time": header(type="submit", timeout_s=float("inf")),
    "a negative number": header(type="submit", session_number=-1),
    "a number of 64 bits": header(type="submit", session_number=2**63),
    "a fraction for a number": header(type="submit", session_number=1.5),
    "text for a number": header(type="submit", session_number="1"),
    "too many services": header(type="submit", services=["x"] * 257),
    "an id that is too long": header(type="submit", request_id="x" * 129),
}


@pytest.mark.parametrize("case", NO_MESSAGES)
def test_a_header_that_is_no_message_is_refused_in_words(case: str) -> None:
    error = refusal(NO_MESSAGES[case])
    assert error.reason
    assert len(error.reason) <= REASON_LENGTH_MAX


def test_a_twice_named_field_counts_as_told_last() -> None:
    twice = b"\x83\xa4type\xa6submit\xaarequest_id\xa1a\xaarequest_id\xa1b"
    assert FROM_CLIENT.decode(twice) == Submit(request_id="b")


def test_an_unknown_message_is_named_and_not_echoed_at_length() -> None:
    error = refusal(header(type="teleport"))
    assert error.name == "teleport"
    assert "known are session_init, submit" in error.reason
    long = refusal(header(type="x" * 1_000_000))
    assert len(long.name) == NAME_LENGTH_MAX
    assert len(long.reason) <= REASON_LENGTH_MAX


def test_a_message_of_the_other_direction_is_as_unknown() -> None:
    assert refusal(header(type="result")).name == "result"


def test_a_refusal_names_the_field() -> None:
    error = refusal(header(type="submit", timeout_s=-1.0))
    assert error.name == "submit"
    assert "$.timeout_s" in error.reason


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if level % 2 else {"k": value}
    return {"meta": value}


NO_META = {
    "nested too deep": (nested(META_DEPTH_MAX + 1), "deep"),
    "nested as deep as decoding goes": (nested(900), "deep"),
    "too many values": ({"x": [[0] * 100] * 101}, "more than"),
    "a number as a key inside": ({"x": {1: 2}}, "keys are text"),
    "a list as a key inside": ({"x": {(1,): 2}}, "keys are text"),
    "a value of an extension type": ({"x": msgspec.msgpack.Ext(5, b"abc")}, "cannot travel"),
}


@pytest.mark.parametrize("case", NO_META)
def test_meta_that_cannot_be_passed_on_is_refused(case: str) -> None:
    meta, word = NO_META[case]
    error = refusal(header(type="submit", meta=meta))
    assert (error.name, word in error.reason) == ("submit", True)
    assert word in meta_fault(meta)


def test_what_no_map_is_is_no_meta() -> None:
    assert meta_fault([1]) == "meta is a list, not a map"
    assert meta_fault({1: 2}) == "meta has a key of type int; keys are text"


def test_meta_at_its_bounds_is_read_and_can_be_written_again_from_deep_inside() -> None:
    for meta in (nested(META_DEPTH_MAX), {"x": [0] * (META_VALUES_MAX - 1)}, {}):
        message = FROM_CLIENT.decode(header(type="submit", meta=meta))
        room = sys.getrecursionlimit() - 400
        assert encode_from(message, room) == encode_frame(message)


def encode_from(message: Message, depth: int) -> bytes:
    return encode_from(message, depth - 1) if depth else encode_frame(message)
